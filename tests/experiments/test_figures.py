"""Figures of studies show the numbers of their rows."""

import numpy as np
import pytest

from dreal_tf.experiments.comparison import summary
from dreal_tf.experiments.figures import accuracy_points, actor_only_curves, alignment_bars


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


def test_actor_only_curves_draw_means_bands_and_both_levels():
    data = list(rows())
    axes = actor_only_curves(data).axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    of_arm = [r for r in data if r["arm"] == "comparative"]
    expected = [summary([r[f"accuracy@{m}"] for r in of_arm]) for m in ("start", 5, 10)]
    line = lines["comparative"]
    np.testing.assert_allclose(line.get_xdata(), [0, 5, 10])
    np.testing.assert_allclose(line.get_ydata(), [s.mean for s in expected])
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(max(s.high for s in expected))
    assert band[:, 1].min() == pytest.approx(min(s.low for s in expected))
    assert lines["trained network"].get_ydata()[0] == pytest.approx(0.75)
    assert lines["attention re-initialised"].get_ydata()[0] == pytest.approx(
        0.6
    )  # Kept ones not counted.


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
    over_seeds = summary([r["alignment/conv2_1/se"] for r in data if r["arm"] == "comparative"])
    whisker = axes.collections[0].get_segments()[0]
    np.testing.assert_allclose(whisker[:, 1], [over_seeds.low, over_seeds.high])
    alone = alignment_bars([data[0]]).axes[0]
    assert len(alone.patches) == 2 and not alone.collections  # One seed has no whisker.


def test_accuracy_points_show_every_seed():
    data = list(rows())
    axes = accuracy_points(data).axes[0]
    shown = axes.collections[0].get_offsets()[:, 0]
    np.testing.assert_allclose(shown, [r["accuracy"] for r in data if r["arm"] == "comparative"])
