"""Explained variance and intervals against NumPy; sums against arrays."""

import numpy as np
import pytest

from dreal_tf.method.instruments import bootstrap_mean, r2
from dreal_tf.method.metrics import InstrumentMetrics, ModuleR2

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
