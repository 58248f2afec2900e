"""Modules that help, harm, do nothing and are chance by construction; every number against NumPy."""

import numpy as np
import pytest
from planted import actions_of, log_p_of, planted_data, planted_images, planted_network

from dreal_tf import audit
from dreal_tf.analysis.audited_network import calibration_images
from dreal_tf.method.formulas import relative_gain, reward

NOTHING, HARMS, HELPS, NOISE = "conv2_1/nothing", "conv3_1/harms", "conv3_2/helps", "conv4_1/noise"
IMAGES = 600


@pytest.fixture(scope="module")
def data():
    return planted_data(test=IMAGES)


@pytest.fixture(scope="module")
def result(data):
    return audit(planted_network(), images=IMAGES, data=data)


@pytest.fixture(scope="module")
def expected(data):
    """By (baseline, group): differences and right answers in both arms; all images, any order."""
    images, labels = planted_images(IMAGES)
    calibration = actions_of(calibration_images(data))
    own = actions_of(images)
    log_p, right = log_p_of(images, labels, own)
    groups = [(m,) for m in own] + [(HARMS, HELPS), tuple(own)]
    known = {}
    for group in groups:
        flat = {m: np.repeat(own[m].mean(1, keepdims=True), own[m].shape[1], 1) for m in group}
        held = {m: np.broadcast_to(calibration[m].mean(0), own[m].shape) for m in group}
        for baseline, replaced in (("mean", flat), ("static", held)):
            without, right_without = log_p_of(images, labels, own | replaced)
            known[baseline, group] = log_p - without, right, right_without, labels
    return known


def test_what_helps_and_what_harms_has_the_right_sign_whatever_the_baseline(result):
    assert list(result["modules"]) == [NOTHING, HARMS, HELPS, NOISE]
    assert result["images"] == IMAGES and 0.6 < result["accuracy"] < 1
    for baseline in ("mean", "static"):
        helping, harming = (result["modules"][m][baseline] for m in (HELPS, HARMS))
        assert 0.1 < helping["low"] < helping["value"] < helping["high"]
        assert helping["accuracy_drop"] > 0.05 and helping["p_value"] < 1e-4
        assert harming["low"] < harming["value"] < harming["high"] < -0.02
        assert harming["accuracy_drop"] < 0 and harming["harmed"] > 0.4


def test_what_does_nothing_is_worth_nothing_to_the_last_bit(result):
    for baseline in ("mean", "static"):
        assert result["modules"][NOTHING][baseline] == {
            **{"value": 0.0, "low": 0.0, "high": 0.0, "accuracy_drop": 0.0, "p_value": 1.0},
            **{"helped": 0.0, "harmed": 0.0, "untouched": 1.0},
        }


def test_a_note_names_what_does_nothing(result):
    assert result["notes"] == [
        f"The same action for every image: {NOTHING}. Pruning these modules changes no prediction."
    ]


def test_printed_it_is_a_table_of_the_modules(result):
    lines = repr(result).splitlines()
    assert lines[0] == f"Audit on {IMAGES} images, accuracy {result['accuracy']:.3f}"
    assert [line.split()[0] for line in lines[2:6]] == [NOTHING, HARMS, HELPS, NOISE]
    for line, module in zip(lines[2:6], result["modules"].values(), strict=True):
        for baseline in ("mean", "static"):
            assert "{value:+.4f} [{low:+.4f}, {high:+.4f}]".format(**module[baseline]) in line
    assert lines[6:] == result["notes"]
    assert all(module in result._repr_html_() for module in result["modules"])


def test_pure_chance_is_worth_nothing_although_it_moves_many_answers(result, expected):
    for baseline in ("mean", "static"):
        noise = result["modules"][NOISE][baseline]
        assert noise["low"] < 0 < noise["high"] < 0.06
        assert noise["helped"] > 0.1 and noise["harmed"] > 0.1
        # The reward, which is for climbing, would call it harmful, and on right answers helpful.
        differences, right, _, _ = expected[baseline, (NOISE,)]
        gain = np.asarray(relative_gain(np.float32(differences), np.zeros(IMAGES, "float32")))
        rewards = np.asarray(reward(gain, right))
        assert rewards.mean() < -0.1 and rewards[right].mean() > 0.01


def test_every_number_is_numpys(result, expected):
    parts = [((m,), result["modules"][m]) for m in result["modules"]]
    parts += [
        ((HARMS, HELPS), result["stages"]["conv3"]),
        (tuple(result["modules"]), result["attention"]),
    ]
    for group, both in parts:
        for baseline in ("mean", "static"):
            differences, right, right_without, _ = expected[baseline, group]
            value = both[baseline]
            assert value["value"] == pytest.approx(differences.mean(), abs=1e-5)
            assert value["accuracy_drop"] == pytest.approx(right.mean() - right_without.mean())
            assert value["helped"] == pytest.approx((differences > 1e-3).mean())
            assert value["harmed"] == pytest.approx((differences < -1e-3).mean())
            half = 1.96 * differences.std(ddof=1) / np.sqrt(IMAGES)
            assert value["high"] - value["low"] == pytest.approx(2 * half, rel=0.1, abs=1e-6)
    assert result["accuracy"] == pytest.approx(expected["mean", (NOISE,)][1].mean())


def test_a_stage_is_its_modules_ablated_together(result):
    assert [m["stage"] for m in result["modules"].values()] == ["conv2", "conv3", "conv3", "conv4"]
    assert result["stages"]["conv4"]["mean"] == result["modules"][NOISE]["mean"]
    apart = sum(result["modules"][m]["mean"]["value"] for m in (HARMS, HELPS))
    assert abs(result["stages"]["conv3"]["mean"]["value"] - apart) > 0.003


def test_classes_sum_to_the_whole(result, expected):
    assert result["class_images"] == {"down": IMAGES // 2, "up": IMAGES // 2}
    for module in result["modules"]:
        for baseline in ("mean", "static"):
            differences, _, _, labels = expected[baseline, (module,)]
            total = 0.0
            for label, name in enumerate(result["class_images"]):
                value = result["classes"][name][module][baseline]
                assert set(value) == {"value", "low", "high"}
                assert value["value"] == pytest.approx(differences[labels == label].mean(), abs=1e-5)
                total += value["value"] * result["class_images"][name] / IMAGES
            assert total == pytest.approx(result["modules"][module][baseline]["value"], abs=1e-12)


def test_probabilities_give_what_logits_give(result, data):
    again = audit(planted_network(softmax=True), images=IMAGES, data=data)
    for module, both in result["modules"].items():
        for baseline in ("mean", "static"):
            assert again["modules"][module][baseline] == pytest.approx(both[baseline], abs=1e-5)


def test_fewer_images_are_drawn_by_the_seed(result, data):
    network = planted_network()
    some, same, others = (audit(network, 50, data, seed=seed) for seed in (0, 0, 1))
    assert some == same and some["images"] == 50
    assert some["modules"][HELPS]["mean"] != others["modules"][HELPS]["mean"]


def test_as_a_frame_it_has_a_row_for_each_part_class_and_reference_action(result):
    frame = result.to_pandas()
    assert len(frame) == 2 * (4 + 3 + 1 + 2 * 4)
    row = frame.query(
        "part == 'module' and name == @HELPS and `class` == 'up' and baseline == 'static'"
    )
    value = result["classes"]["up"][HELPS]["static"]
    assert row[["value", "low", "high"]].values.tolist() == [list(value.values())]
    assert row["images"].tolist() == [IMAGES // 2] and row["helped"].isna().all()
    row = frame.query("part == 'stage' and name == 'conv3' and baseline == 'mean'").iloc[0]
    assert row["p_value"] == result["stages"]["conv3"]["mean"]["p_value"] and row["class"] == ""
