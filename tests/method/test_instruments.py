"""Instruments: alignment and estimates against NumPy; critics whose gradients are known, in audits and logs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import (
    ACTORS,
    Pairwise,
    TwoModules,
    compiled,
    log_softmax,
    precision,
    small_data,
    small_network,
)

from dreal_tf.analysis.audit_critic import measure_critic
from dreal_tf.layers import intervene
from dreal_tf.method.critics import Critic
from dreal_tf.method.instruments import Instruments, alignment, bootstrap_mean, perturbation_along, r2
from dreal_tf.method.metrics import InstrumentMetrics, ModuleR2
from dreal_tf.method.types import CriticOutput


def vectors(*rows):
    return np.float32(rows).reshape(len(rows), 1, 1, -1)


def test_cosines_worked_by_hand():
    dq_da = vectors([1, 0], [0, 2], [-3, 0], [3, 4])
    true = vectors([5, 0], [1, 0], [1, 0], [4, 3])
    cosines, mask = alignment(dq_da, true)
    np.testing.assert_allclose(cosines, [1, 0, -1, 24 / 25], atol=1e-6)
    assert mask.numpy().all()


def test_lengths_do_not_matter_however_small():
    for scale in (1e-30, 1e-18, 1e18, 1e30):
        cosines, mask = alignment(scale * vectors([3, 4]), vectors([1, 0]) / scale)
        assert float(cosines[0]) == pytest.approx(0.6, abs=1e-6) and mask.numpy().all()


def test_what_has_no_true_direction_is_left_out():
    true = vectors([0, 0], [np.nan, 1], [np.inf, 1], [0, 1])
    _, mask = alignment(np.ones_like(true), true)
    assert mask.numpy().tolist() == [False, False, False, True]


def test_a_silent_or_broken_critic_has_no_alignment():
    dq_da = vectors([0, 0], [np.nan, 1], [1, -np.inf])
    cosines, mask = alignment(dq_da, np.ones_like(dq_da))
    assert cosines.numpy().tolist() == [0, 0, 0] and mask.numpy().all()


def log_p(network, images, labels, module=None, change=None):
    """In float64, with `change` added to one module's action."""

    def decide(actor, index, state, action):
        return action + change if actor.modules()[index] == module else action

    with intervene(decide):
        return log_softmax(network(images)["logits"])[np.arange(len(labels)), labels]


@pytest.mark.parametrize("form", ["channel", "two steps"])
def test_cosines_equal_those_with_finite_differences(form):
    images, labels = small_data(6)
    model = compiled(small_network(ACTORS[form], blocks=2), critic="comparative")
    random = np.random.default_rng(0)
    for variable in model.critic.trainable_variables:  # Its heads start at zero.
        variable.assign(random.normal(size=variable.shape))
    parts = model.trajectory_network, model.trajectory, model.critic, model.reward_estimator
    instruments = Instruments(*parts)
    gradients = instruments.action_gradients(images, labels)
    cosines, mask = (part.numpy() for part in instruments.alignments(gradients))
    step = 2e-3  # Short, so that few units are switched on or off on the way.
    for position, module in enumerate(model.trajectory.modules):
        shape = gradients.true[position].shape[1:]
        numerical = np.zeros((6, int(np.prod(shape))))
        for entry in range(numerical.shape[1]):
            change = np.zeros(numerical.shape[1], "float32")
            change[entry] = step
            change = change.reshape(1, *shape)
            ends = [log_p(parts[0], images, labels, module, s * change) for s in (1, -1)]
            numerical[:, entry] = (ends[0] - ends[1]) / (2 * step)
        ours = np.float64(gradients.dq_da[position]).reshape(6, -1)
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(numerical, axis=1)
        there = np.linalg.norm(numerical, axis=1) > 1e-3
        expected = (ours * numerical).sum(axis=1) / np.maximum(lengths, 1e-12)
        np.testing.assert_allclose(cosines[there, position], expected[there], atol=0.03)
        assert mask[there, position].all() and there.any()
    assert np.ptp(cosines) > 0.1


RANDOM = np.random.default_rng(0)


def test_explained_variance_is_what_numpy_says():
    measured, noise = RANDOM.normal(3, 2, 500), RANDOM.normal(0, 1, 500)
    expected = 1 - np.mean(noise**2) / np.std(measured) ** 2
    assert r2(measured, measured + noise) == pytest.approx(expected)
    assert r2(measured, np.full(500, measured.mean())) == pytest.approx(0, abs=1e-12)
    assert r2(measured, measured) == 1


def test_nothing_to_explain_is_said():
    assert r2([], []) is None
    assert r2([-1, -1], [0, 3]) is None
    assert r2([1, 2, np.inf, 0], [1, 2, 0, np.nan]) == 1


def test_sums_give_what_arrays_give_however_they_are_cut():
    measured, predicted = RANDOM.normal(-0.8, 0.3, 60), RANDOM.normal(-0.8, 0.3, 60)
    modules = np.arange(60) % 3
    mask = RANDOM.random(60) < 0.7
    whole, cut = (ModuleR2(["a", "b", "c"], "r2") for _ in range(2))
    whole.update_state(np.float32(measured), np.float32(predicted), modules, mask)
    for part in np.array_split(RANDOM.permutation(60), 4):
        values = np.float32(measured[part]), np.float32(predicted[part])
        cut.update_state(*values, modules[part], mask[part])
    for position, module in enumerate("abc"):
        here = mask & (modules == position)
        expected = r2(measured[here], predicted[here])
        for metric in (whole, cut):
            assert float(metric.result()[f"r2/{module}"]) == pytest.approx(expected, abs=1e-4)


def test_rounding_of_sums_is_no_variance():
    metric = ModuleR2(["a"], "r2")
    rewards = np.full(1000, -0.1, "float32")
    metric.update_state(rewards, rewards + 0.5, np.zeros(1000, int), np.ones(1000, bool))
    assert float(metric.result()["r2/a"]) == 0


def test_alignment_in_two_batches_is_that_of_one():
    cosines = np.float32(RANDOM.uniform(-1, 1, (40, 2)))
    there, mask = RANDOM.random((40, 2)) < 0.8, np.float32(RANDOM.random(40) < 0.8)
    one, two = InstrumentMetrics(["a", "b"]), InstrumentMetrics(["a", "b"])
    one.add_alignment(cosines, there, mask)
    for half in (slice(0, 13), slice(13, 40)):
        two.add_alignment(cosines[half], there[half], mask[half])
    for position, module in enumerate("ab"):
        values = np.float64(cosines[there[:, position] & (mask > 0), position])
        half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
        expected = {
            f"alignment/{module}": values.mean(),
            f"alignment_low/{module}": values.mean() - half,
            f"alignment_high/{module}": values.mean() + half,
            f"alignment_positive/{module}": (values > 0).mean(),
        }
        for name, value in expected.items():
            for metric in (one, two):
                assert float(metric.result()[name]) == pytest.approx(value, abs=1e-5), name


def test_nothing_measured_is_logged_as_0():
    metric = InstrumentMetrics(["a"])
    metric.add_alignment(np.float32([[np.nan]]), np.array([[True]]), np.float32([1]))
    metric.add_direction(np.float32([np.inf]), np.int32([0]), np.float32([1]))
    assert {float(value) for value in metric.result().values()} == {0}
    metric.add_direction(np.float32([0.5]), np.int32([0]), np.float32([1]))
    assert float(metric.result()["direction/a"]) == 0.5
    metric.reset_state()
    assert {float(value) for value in metric.result().values()} == {0}
    assert int(metric.batches_done()) == 0


def test_the_bootstrap_agrees_with_the_normal_interval_where_values_are_many():
    values = RANDOM.normal(0.2, 1, 4000)
    interval, half = bootstrap_mean(values), 1.96 / np.sqrt(4000)
    assert interval["mean"] == pytest.approx(values.mean())
    assert interval["mean"] - interval["low"] == pytest.approx(half, rel=0.15)
    assert interval["high"] - interval["mean"] == pytest.approx(half, rel=0.15)
    assert interval == bootstrap_mean(values) != bootstrap_mean(values, seed=1)
    assert bootstrap_mean([])["low"] is None


IMAGES, LABELS = small_data(40)
QUANTITIES = ("alignment", "alignment_low", "alignment_high", "alignment_positive")
QUANTITIES += ("r2", "r2_right", "r2_held", "direction")
WHOLE = dict(instrument_fraction=1.0, validation_fraction=1.0, eager=True)


@keras.saving.register_keras_serializable("tests")
class BlindCritic(Critic):
    """Reads the states and never the actions."""

    def build(self, module_specs, classes):
        """Nothing to make."""

    def call(self, modules, privileged, samples=None):
        return CriticOutput(
            tf.stack([tf.reduce_mean(s.state, axis=[1, 2, 3]) for s in modules], axis=1)
        )

    def loss(self, output, samples):
        return tf.constant(0.0)


def evaluated(model, batch=40, images=IMAGES, labels=LABELS):
    logs = model.evaluate(images, labels, batch_size=batch, verbose=0, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())
    return logs


@pytest.mark.parametrize("form", ACTORS)
def test_the_true_gradient_is_aligned_with_itself_and_beats_random_signs(form):
    model = compiled(small_network(ACTORS[form]), critic="direct", **WHOLE)
    measured = measure_critic(model, IMAGES, LABELS)
    logs = evaluated(model)
    for module in model.trajectory.modules:
        alignment, direction = measured["alignment"][module], measured["direction"][module]
        for name in ("mean", "low", "high", "positive"):
            assert alignment[name] == pytest.approx(1, abs=1e-5)
        assert direction["low"] > 0 and direction["mean"] > 0
        assert direction["along"] - direction["random"] == pytest.approx(direction["mean"], abs=1e-6)
        assert logs[f"alignment/{module}"] == pytest.approx(1, abs=1e-5)
        assert logs[f"direction/{module}"] > 0


@pytest.mark.parametrize("form", ACTORS)
def test_a_critic_with_zero_heads_is_silent(form):
    model = compiled(small_network(ACTORS[form]), critic="comparative", **WHOLE)
    measured = measure_critic(model, IMAGES, LABELS)
    for module in model.trajectory.modules:
        assert measured["alignment"][module] == {"mean": 0, "low": 0, "high": 0, "positive": 0}
        assert all(value <= 0 for value in measured["differences"][module].values())
        assert measured["direction"][module]["mean"] == 0


def test_images_without_a_true_direction_are_left_out_of_the_alignment():
    """Every fourth image is blank: its states are 0, so no action changes its answer."""
    images = IMAGES * (np.arange(40) % 4 > 0)[:, None, None, None]
    model = compiled(small_network(), critic="direct", **WHOLE)
    measured, logs = measure_critic(model, images, LABELS), evaluated(model, images=images)
    for module in model.trajectory.modules:
        assert measured["alignment"][module] == pytest.approx(
            {"mean": 1, "low": 1, "high": 1, "positive": 1}, abs=1e-5
        )
        assert logs[f"alignment/{module}"] == pytest.approx(1, abs=1e-5)


def test_where_no_image_has_a_true_direction_there_is_no_alignment():
    """With a logits kernel of 0 no action changes any answer."""
    network = small_network()
    network.get_layer("logits").kernel.assign(np.zeros((4, 3)))
    model = compiled(network, critic="direct", **WHOLE)
    measured, logs = measure_critic(model, IMAGES, LABELS), evaluated(model)
    for module in model.trajectory.modules:
        assert measured["alignment"][module] == dict.fromkeys(("mean", "low", "high", "positive"))
        assert logs[f"alignment/{module}"] == 0


def test_a_critic_that_ignores_the_action_loses_nothing_when_it_is_held():
    model = compiled(small_network(TwoModules()), critic=BlindCritic(), **WHOLE)
    measured, logs = measure_critic(model, IMAGES, LABELS), evaluated(model)
    for module in model.trajectory.modules:
        assert measured["r2"][module]["held"] == pytest.approx(measured["r2"][module]["all"])
        assert logs[f"r2_held/{module}"] == pytest.approx(logs[f"r2/{module}"])
        assert measured["alignment"][module]["mean"] == 0


def test_a_critic_that_reads_the_action_does():
    model = compiled(small_network(), critic="direct", **WHOLE)
    measured = measure_critic(model, IMAGES, LABELS)
    assert any(abs(e["held"] - e["all"]) > 1e-3 for e in measured["r2"].values())


@pytest.mark.parametrize("critic", ["paper", "direct"])
def test_logs_and_audit_agree_on_the_same_images(critic):
    model = compiled(small_network(), critic=critic, **WHOLE)
    measured, logs = measure_critic(model, IMAGES, LABELS), evaluated(model)
    for module in model.trajectory.modules:
        alignment, r2 = measured["alignment"][module], measured["r2"][module]
        pairs = {
            "alignment": alignment["mean"],
            "alignment_positive": alignment["positive"],
            "r2": r2["all"],
            "r2_held": r2["held"],
            "r2_right": r2["right"] or 0,
        }
        for name, value in pairs.items():
            assert logs[f"{name}/{module}"] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    assert any(logs[f"r2/{module}"] != 0 for module in model.trajectory.modules)


def test_several_batches_are_judged_as_one():
    model = compiled(small_network(), critic="paper", **WHOLE | dict(eager=False))
    whole, cut = evaluated(model), evaluated(model, batch=16)
    for name in ("alignment", "alignment_low", "alignment_positive", "r2", "r2_right"):
        for module in model.trajectory.modules:
            key = f"{name}/{module}"
            assert cut[key] == pytest.approx(whole[key], rel=1e-4, abs=1e-5), key


def test_every_module_gets_its_turn_in_small_batches():
    """One image of every fourth batch is tested, and one of its modules perturbed."""
    model = compiled(small_network(blocks=2), critic="direct", instrument_fraction=1 / 16)
    logs = evaluated(model, batch=2)
    assert all(logs[f"direction/{module}"] != 0 for module in model.trajectory.modules)
    assert logs == evaluated(model, batch=2)  # The same draws each time.


@pytest.mark.parametrize(
    ("fraction", "tried"),
    [
        pytest.param(1 / 16, 2 * 2, marks=pytest.mark.slow),
        (1 / 8, 2 * 4),
        pytest.param(1 / 3, 2 * 8, marks=pytest.mark.slow),
        (0.75, 5 * 6),
        pytest.param(1.0, 5 * 8, marks=pytest.mark.slow),
    ],
)
def test_a_share_of_the_images_is_tried_in_few_batches(fraction, tried):
    """Five batches of 8 images: every fourth or third gives all that is asked for, or each does."""
    model = compiled(small_network(blocks=2), critic="direct", instrument_fraction=fraction)
    evaluated(model, batch=8)
    counts = np.array(model.instrument_metrics.alignment.sums)[0]
    np.testing.assert_array_equal(counts, [tried] * 2)


def test_only_evaluation_logs_them():
    model = compiled(small_network(), actor_weight=0.5, instrument_fraction=0.5)
    fit = dict(batch_size=8, epochs=2, verbose=0, validation_data=(IMAGES[:13], LABELS[:13]))
    history = model.fit(IMAGES, LABELS, **fit).history
    expected = {f"{name}/{m}" for name in QUANTITIES for m in model.trajectory.modules}
    logged = {name for name in history if name.removeprefix("val_").split("/")[0] in QUANTITIES}
    assert logged == {f"val_{name}" for name in expected}
    assert expected <= set(model.test_on_batch(IMAGES, LABELS, return_dict=True))
    assert not expected & set(model.train_on_batch(IMAGES, LABELS, return_dict=True))


def test_a_fraction_of_0_turns_them_off():
    logs = evaluated(compiled(small_network(), instrument_fraction=0.0, eager=True))
    assert not [name for name in logs if name.split("/")[0] in QUANTITIES]
    for wrong in (-0.1, 1.5):
        with pytest.raises(ValueError, match="`instrument_fraction` must be from 0 to 1"):
            compiled(small_network(), instrument_fraction=wrong)


def test_images_without_weight_are_not_tried():
    model = compiled(small_network(), critic="direct", **WHOLE)
    weight = np.float32(np.arange(40) < 20)
    options = dict(batch_size=40, verbose=0, return_dict=True)
    logs = model.evaluate(IMAGES, LABELS, sample_weight=weight, **options)
    half = evaluated(model, images=IMAGES[:20], labels=LABELS[:20])
    for name in ("alignment", "r2", "r2_right", "r2_held"):
        for module in model.trajectory.modules:
            key = f"{name}/{module}"
            assert logs[key] == pytest.approx(half[key], rel=1e-3, abs=1e-4), key


def test_a_frozen_network_is_judged_all_the_same():
    network = small_network()
    network.trainable = False
    measured = measure_critic(compiled(network, critic="direct"), IMAGES, LABELS)
    assert all(a["mean"] == pytest.approx(1, abs=1e-5) for a in measured["alignment"].values())


@pytest.mark.parametrize("attention", [TwoModules(), Pairwise()], ids=["two steps", "pairwise"])
def test_half_precision(attention):
    with precision("mixed_bfloat16"):
        model = compiled(small_network(attention), critic="direct", **WHOLE)
        logs = evaluated(model)
    for module in model.trajectory.modules:
        assert logs[f"alignment/{module}"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("count", [1, pytest.param(3, marks=pytest.mark.slow), 37])
def test_replicas_with_uneven_or_no_shares_add_up(two_replicas, count):
    def logs():
        keras.utils.set_random_seed(0)
        settings = WHOLE | dict(critic="paper", eager=False)
        model = compiled(small_network(TwoModules()), **settings)
        return model, evaluated(model, 16, IMAGES[:count], LABELS[:count])

    model, one = logs()
    with two_replicas.scope():
        _, two = logs()
    for name in ("alignment", "alignment_high", "alignment_positive", "r2", "r2_right"):
        for module in model.trajectory.modules:
            key = f"{name}/{module}"
            assert two[key] == pytest.approx(one[key], rel=1e-3, abs=1e-4), key
    assert any(one[f"alignment/{module}"] != 0 for module in model.trajectory.modules)


def test_a_row_is_pushed_towards_what_is_praised_above_its_mean():
    direction = np.float32([[[5, 5.5, 4.5], [1, 1, 1]]])
    assert perturbation_along("pairwise", direction, 0.25).numpy().tolist() == [
        [[0, 0.25, -0.25], [0, 0, 0]]
    ]
    assert perturbation_along("channel", np.float32([[-2, np.nan, 0]]), 0.25).numpy().tolist() == [
        [-0.25, 0, 0]
    ]
