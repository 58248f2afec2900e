"""Values, intervals and tests from arrays, against closed forms and counting."""

import math

import numpy as np
import pytest
from scipy import stats

from dreal_tf.analysis.audit import (
    accuracy_difference,
    bootstrap_intervals,
    mcnemar,
    values_by_class,
    values_of,
)

RANDOM = np.random.default_rng(0)


def chance(seed, images):
    """Differences of log p between two arms that a coin decides alike: long-tailed, of mean 0."""
    random = np.random.default_rng(seed)
    known = random.normal(0.5, 1.5, images)  # The rest of the network knows so much of the label.
    changes = random.choice([-1.0, 1.0], (2, images))
    own, without = (-np.log1p(np.exp(-(known + change))) for change in changes)
    return own - without


@pytest.mark.parametrize("images", [30, 400])
def test_the_interval_of_pure_chance_covers_0_as_often_as_it_says(images):
    columns = np.stack([chance(seed, images) for seed in range(200)], axis=1)
    covered = 0
    for seed in range(200):
        low, high = bootstrap_intervals(columns[:, [seed]], seed)
        covered += int(low[0] <= 0 <= high[0])
    # 200 draws with probability 0.95 give 181 to 198 hits with probability 0.999.
    assert 181 <= covered <= 198
    assert columns.std() > 0.5


def test_the_bootstrap_is_students_interval_where_values_are_normal():
    values = RANDOM.normal([0.2, -3.0], [1.0, 0.1], (3000, 2))
    low, high = bootstrap_intervals(values, resamples=4000)
    half = stats.t.ppf(0.975, 2999) * values.std(axis=0, ddof=1) / np.sqrt(3000)
    np.testing.assert_allclose(values.mean(axis=0) - low, half, rtol=0.06)
    np.testing.assert_allclose(high - values.mean(axis=0), half, rtol=0.06)


def test_all_columns_are_drawn_with_the_same_images():
    values = RANDOM.normal(size=(50, 1))
    low, high = bootstrap_intervals(np.concatenate([values, 2 * values, values + 1], axis=1), seed=3)
    np.testing.assert_allclose(low, low[0] * np.array([1, 2, 1]) + [0, 0, 1])
    np.testing.assert_allclose(high, high[0] * np.array([1, 2, 1]) + [0, 0, 1])
    other, _ = bootstrap_intervals(values, seed=4)
    assert other[0] != low[0]


def test_two_values_bound_their_interval():
    low, high = bootstrap_intervals(np.array([[0.0], [1.0]]))
    assert (low[0], high[0]) == (0.0, 1.0)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (3, 3), (9, 1), (40, 61), (0, 12)])
def test_mcnemar_counts_what_a_fair_coin_does(lost, gained):
    right = np.array([True] * lost + [False] * gained + [True] * 5 + [False] * 4)
    without = np.array([False] * lost + [True] * gained + [True] * 5 + [False] * 4)
    changed = lost + gained
    ways = [math.comb(changed, heads) for heads in range(changed + 1)]
    expected = sum(way for way in ways if way <= ways[lost]) / 2**changed
    assert mcnemar(right, without) == pytest.approx(expected)
    if changed:
        assert mcnemar(right, without) == pytest.approx(stats.binomtest(lost, changed).pvalue)


def test_shares_are_counted_with_the_tolerance():
    differences = np.array([[0.5, 0.0], [0.0009, 0.0], [-0.0009, 0.0], [-0.002, 0.0], [-9.0, 0.0]])
    right = np.array([True, True, False, False, True])
    without = np.stack([np.array([True, False, False, True, False]), right], axis=1)
    first, second = values_of(differences, right, without)
    assert (first["helped"], first["harmed"], first["untouched"]) == (0.2, 0.4, 0.4)
    assert first["value"] == pytest.approx(-8.502 / 5)
    assert first["accuracy_drop"] == pytest.approx(0.2) and first["p_value"] == 1.0
    assert second == {
        **{"value": 0.0, "low": 0.0, "high": 0.0, "accuracy_drop": 0.0, "p_value": 1.0},
        **{"helped": 0.0, "harmed": 0.0, "untouched": 1.0},
    }


def test_classes_are_measured_on_their_own_images():
    labels = np.array([4, 0, 4, 0, 4, 7])
    differences = np.stack([np.arange(6.0), -np.arange(6.0)], axis=1)
    values = values_by_class(differences, labels, seed=5)
    assert list(values) == [0, 4]  # One image alone says nothing of its spread.
    assert values[0][0]["value"] == 2.0 and values[4][1]["value"] == -2.0
    low, high = bootstrap_intervals(differences[labels == 4], seed=5)
    assert values[4][1] == {"value": -2.0, "low": low[1], "high": high[1]}


def test_the_difference_counts_what_only_one_gets_right():
    correct = np.array([True] * 12 + [False] * 4 + [True] * 84)
    other = np.array([False] * 12 + [True] * 4 + [True] * 84)
    difference = accuracy_difference(correct, other)
    assert difference["mean"] == pytest.approx(0.08)
    assert (difference["only_this"], difference["only_other"]) == (12, 4)
    # Twice the chance of at most 4 heads in 16 throws: 2 (1 + 16 + 120 + 560 + 1820) / 2^16.
    assert difference["p_value"] == pytest.approx(2 * 2517 / 65536)
    # The deviation of the differences is 0.392, so an interval of about ±1.96 · 0.0392.
    assert difference["low"] == pytest.approx(0.08 - 0.077, abs=0.01)
    assert difference["high"] == pytest.approx(0.08 + 0.077, abs=0.01)


def test_networks_that_answer_alike_do_not_differ():
    correct = np.array([True, False, True])
    difference = accuracy_difference(correct, correct)
    assert (difference["mean"], difference["low"], difference["high"], difference["p_value"]) == (
        0,
        0,
        0,
        1,
    )
