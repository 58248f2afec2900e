"""Pieces of the experiments, and their figures."""

import numpy as np
import pytest
from support import logits_loss, moved, values

from dreal_tf import DREAL
from dreal_tf.experiments.studies.experiments import unseen_images
from dreal_tf.experiments.studies.figures import accuracy_points, alignment_bars, climb_curves
from dreal_tf.experiments.studies.held_out import draw_held_out
from dreal_tf.experiments.studies.reinitialise import reinitialise
from dreal_tf.experiments.studies.table import summary
from dreal_tf.training.builder import build_data, build_network
from dreal_tf.training.recipe_files import load_recipe

RECIPE = load_recipe("digits_resnet8_se").replace({"backbone.width": 0.25, "dreal.stages": "conv3"})


def test_attention_is_drawn_anew_by_its_own_initialisers_and_by_the_seed():
    network = build_network(RECIPE, (8, 8, 1), 10)
    model = DREAL(network, stages=["conv3"])
    model.compile(loss=logits_loss())
    for variable in network.variables:
        variable.assign(np.full(variable.shape, 7.0, variable.dtype))
    before = values(network.variables)
    reinitialise(model, RECIPE, seed=3)
    theta = model.trajectory.variables
    assert moved(before, network.variables) == {v.path for v in theta}  # conv3's, nobody else's.
    first = values(theta)
    for variable, value in zip(theta, first, strict=True):
        assert np.all(value == 0) if "bias" in variable.path else np.ptp(value) > 0
    reinitialise(model, RECIPE, seed=3)
    assert not moved(first, theta)
    reinitialise(model, RECIPE, seed=4)
    assert moved(first, theta) == {v.path for v in theta if "bias" not in v.path}


@pytest.mark.parametrize(
    ("kind", "kept", "drawn"),
    [
        ("cbam", set(), {"squeeze/kernel", "convolve/kernel", "norm/gamma", "norm/moving_mean"}),
        ("non_local", {"g/kernel", "w_z/kernel", "norm/gamma", "norm/moving_mean"}, {"phi/kernel"}),
        ("emanet", {"restore/kernel", "shared_bases", "norm/beta"}, {"project/kernel"}),
    ],
)
def test_what_only_uses_an_action_stays_as_it_was_trained(kind, kept, drawn):
    recipe = RECIPE.replace({"attention.kind": kind, "attention.stages": "conv3", "backbone.width": 1})
    network = build_network(recipe, (8, 8, 1), 10)
    model = DREAL(network)
    model.compile(loss=logits_loss())
    for variable in network.variables:
        variable.assign(np.full(variable.shape, 7.0, variable.dtype))
    before = values(network.variables)
    reinitialise(model, recipe, seed=3)
    changed = {path.split("/", 1)[1] for path in moved(before, network.variables)}
    assert drawn <= changed and not kept & changed


def test_held_out_images_are_test_images_drawn_by_the_seed_with_their_labels():
    data = build_data(RECIPE)
    whole = draw_held_out(data, 10**6, seed=0)
    images = np.concatenate([batch.numpy() for batch, _ in data.test])
    labels = np.concatenate([batch.numpy() for _, batch in data.test])
    assert len(whole.labels) == data.sizes["test"]
    rows = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    drawn = draw_held_out(data, 50, seed=1)
    assert len({image.tobytes() for image in drawn.images}) == 50
    assert [rows[image.tobytes()] for image in drawn.images] == drawn.labels.tolist()
    np.testing.assert_array_equal(drawn.images, draw_held_out(data, 50, seed=1).images)
    assert not np.array_equal(drawn.images, draw_held_out(data, 50, seed=2).images)
    order = np.random.default_rng(1).permutation(len(labels))[:50]
    np.testing.assert_array_equal(drawn.labels, labels[order])


def test_unseen_images_are_those_of_validation_mixed_anew_each_time():
    data = build_data(RECIPE)
    unseen = unseen_images(data, batch_size=32, seed=0)
    assert unseen.steps_per_epoch == data.sizes["validation"] // 32
    known = {image.numpy().tobytes() for batch, _ in data.validation for image in batch}
    orders = []
    for _ in range(2):
        batches = [batch.numpy() for batch, _ in unseen.train]
        assert [len(batch) for batch in batches] == [32] * unseen.steps_per_epoch
        orders.append([image.tobytes() for batch in batches for image in batch])
        assert len(set(orders[-1])) == len(orders[-1]) and set(orders[-1]) <= known
    assert orders[0] != orders[1]


def rows():
    random = np.random.default_rng(0)
    for seed in range(3):
        for arm in ("comparative", "kept"):
            start = 0.75 if arm == "kept" else 0.6
            yield {
                "arm": arm,
                "seed": seed,
                "seconds": 1.0,
                "accuracy@trained": 0.75,
                "accuracy@start": start,
                "accuracy@5": start + 0.1 * random.random(),
                "accuracy@10": start + 0.1 * random.random(),
                "accuracy": random.random(),
                "alignment/conv2_1/se": random.random(),
                "alignment/conv3_1/se": -random.random(),
            }


def test_climb_curves_draw_means_bands_and_both_levels():
    data = list(rows())
    axes = climb_curves(data).axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    of_arm = [r for r in data if r["arm"] == "comparative"]
    found = [summary([r[f"accuracy@{m}"] for r in of_arm]) for m in ("start", 5, 10)]
    line = lines["comparative"]
    np.testing.assert_allclose(line.get_xdata(), [0, 5, 10])
    np.testing.assert_allclose(line.get_ydata(), [s.mean for s in found])
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(max(s.high for s in found))
    assert band[:, 1].min() == pytest.approx(min(s.low for s in found))
    assert lines["trained network"].get_ydata()[0] == pytest.approx(0.75)
    assert lines["attention drawn anew"].get_ydata()[0] == pytest.approx(0.6)  # Kept ones not counted.


def test_alignment_bars_stand_for_means_with_whiskers():
    data = list(rows())
    axes = alignment_bars(data).axes[0]
    bars = [patch.get_height() for patch in axes.patches]
    expected = [
        np.mean([r[f"alignment/{m}/se"] for r in data if r["arm"] == arm])
        for arm in ("comparative", "kept")
        for m in ("conv2_1", "conv3_1")
    ]
    np.testing.assert_allclose(bars, expected)
    found = summary([r["alignment/conv2_1/se"] for r in data if r["arm"] == "comparative"])
    whisker = axes.collections[0].get_segments()[0]
    np.testing.assert_allclose(whisker[:, 1], [found.low, found.high])
    alone = alignment_bars([data[0]]).axes[0]
    assert len(alone.patches) == 2 and not alone.collections  # One seed has no whisker.


def test_accuracy_points_show_every_seed():
    data = list(rows())
    axes = accuracy_points(data).axes[0]
    shown = axes.collections[0].get_offsets()[:, 0]
    np.testing.assert_allclose(shown, [r["accuracy"] for r in data if r["arm"] == "comparative"])
