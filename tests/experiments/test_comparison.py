"""Statistics over seeds, and arms compared seed by seed."""

import itertools
import math

import numpy as np
import pytest

from dreal_tf.experiments.comparison import comparisons, seed_difference, summaries, summary


def rows_of(**arms):
    return [
        {"arm": arm, "seed": seed, "seconds": 1.0, "accuracy": value, "reward/conv2_1/se": value}
        for arm, values in arms.items()
        for seed, value in values.items()
    ]


@pytest.mark.parametrize("count", [2, 5, 8])
def test_sign_flips_are_counted_one_by_one(count):
    gains = np.random.default_rng(count).normal(0.5, 1.4, count)
    means = [np.mean(np.array(s) * gains) for s in itertools.product((1, -1), repeat=count)]
    expected = np.mean(np.abs(means) >= abs(gains.mean()) - 1e-12)
    difference = seed_difference(gains)
    assert difference.p_value == pytest.approx(expected)
    assert difference.mean == pytest.approx(gains.mean()) and difference.seeds == count


def test_eight_seeds_that_all_gain_give_the_least_possible_p():
    assert seed_difference(np.arange(8) + 1.0).p_value == pytest.approx(2 / 2**8)
    assert seed_difference(np.zeros(8)).p_value == 1.0
    assert seed_difference([3.0]).p_value == 1.0


def test_the_interval_is_students_of_the_differences():
    difference = seed_difference([1.0, 2.0, 3.0])
    # Mean 2, standard error 1 / sqrt(3), and 4.3027 is Student's t of 2 degrees.
    assert difference.low == pytest.approx(2 - 4.3027 / 3**0.5, abs=1e-4)
    assert difference.high == pytest.approx(2 + 4.3027 / 3**0.5, abs=1e-4)


def test_only_seeds_that_both_arms_have_are_compared():
    rows = rows_of(plain={0: 0.5, 1: 0.75}, taught={1: 1.0, 2: 9.0}, other={7: 1.0})
    differences = comparisons(rows, "plain")
    assert list(differences.index) == [("taught", "accuracy")]  # No single modules.
    assert differences.iloc[0][["seeds", "mean"]].tolist() == [1, 0.25]
    assert comparisons(rows_of(plain={0: 1.0}, other={1: 1.0}), "plain").empty
    assert comparisons(rows_of(other={1: 1.0}), "plain").empty


def test_summaries_are_those_of_numpy_and_of_the_t_table():
    values = np.random.default_rng(0).normal(size=5)
    over_seeds = summary(values)
    assert over_seeds.seeds == 5
    np.testing.assert_allclose(over_seeds.mean, np.mean(values))
    np.testing.assert_allclose(over_seeds.std, np.std(values, ddof=1))
    half = 2.776445 * np.std(values, ddof=1) / np.sqrt(5)  # Student's t: 4 degrees, 97.5 %.
    np.testing.assert_allclose(
        [over_seeds.low, over_seeds.high], np.mean(values) + np.array([-half, half]), rtol=1e-6
    )


def test_equal_values_have_an_interval_without_width():
    assert summary([0.25, 0.25])[1:] == (0.25, 0.0, 0.25, 0.25)


def test_one_seed_says_nothing_of_the_spread():
    one = summary([0.25])
    assert one.mean == 0.25 and all(map(math.isnan, (one.std, one.low, one.high)))


def test_a_measured_nan_is_not_a_missing_value():
    rows = rows_of(a={0: 0.5, 1: math.nan})
    rows.append({"arm": "a", "seed": 2, "seconds": 1.0})
    over_seeds = summaries(rows).loc[("a", "accuracy")]
    assert over_seeds["seeds"] == 2 and math.isnan(over_seeds["mean"])


def test_intervals_cover_the_truth_as_often_as_they_say():
    random = np.random.default_rng(1)
    intervals = [summary(3.0 + random.normal(size=3)) for _ in range(1000)]
    covered = [interval.low < 3.0 < interval.high for interval in intervals]
    assert abs(np.mean(covered) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 1000)
