"""Statistics over seeds: mean and interval of each quantity, and arms compared seed by seed."""

import math
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from dreal_tf.experiments.rows import KEYS


class Summary(NamedTuple):
    """A quantity over the seeds of an arm.

    Attributes:
        seeds: int. Number of seeds.
        mean: float.
        std: float. Standard deviation between seeds (n - 1); nan with a single one.
        low, high: float. 95 % interval of the mean (Student's t); nan with a single seed.
    """

    seeds: int
    mean: float
    std: float
    low: float
    high: float


class SeedDifference(NamedTuple):
    """A quantity of an arm minus that of another arm, over the seeds that both have.

    Attributes:
        seeds: int. Number of seeds.
        mean: float.
        low, high: float. 95 % interval of the mean (Student's t); nan with a single seed.
        p_value: float. Two-sided exact sign-flip test of a mean of 0: the fraction of the 2^seeds
            sign patterns whose mean is at least as far from 0.
    """

    seeds: int
    mean: float
    low: float
    high: float
    p_value: float


def summary(values):
    """Mean, standard deviation and interval of a few values.

    Args:
        values: sequence of float, at least one.
    Returns:
        `Summary`.
    Example:
        >>> of_three = summary([1.0, 2.0, 3.0])
        >>> of_three.mean, of_three.std, round(of_three.high - of_three.mean, 3)
        (2.0, 1.0, 2.484)
    """
    values = np.asarray(values, float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # A single value, or values that are all equal.
        low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
        std = values.std(ddof=1)
    return Summary(len(values), float(values.mean()), float(std), float(low), float(high))


def seed_difference(differences):
    """Mean, interval and sign-flip test of paired differences.

    Args:
        differences: sequence of float, at least one: arm minus other arm, one for each seed.
    Returns:
        `SeedDifference`.
    Example:
        >>> gain = seed_difference([1.0, 2.0, 3.0])
        >>> gain.mean, gain.p_value  # All signs as they are, or all flipped: 2 of 8 patterns.
        (2.0, 0.25)
    """
    differences = np.asarray(differences, float)
    seeds, mean, _, low, high = summary(differences)
    if seeds == 1:
        return SeedDifference(seeds, mean, low, high, 1.0)  # Both patterns are as far from 0.
    test = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=math.inf
    )
    return SeedDifference(seeds, mean, low, high, float(test.pvalue))


def summaries(rows):
    """Every measured quantity of every arm.

    Args:
        rows: sequence of dicts, see `dreal_tf.experiments.rows.parse_rows`.
    Returns:
        `pandas.DataFrame` with the fields of `Summary` as columns, indexed by arm and quantity, both in
        the order of the rows.
    Example:
        >>> rows = [{"arm": "a", "seed": s, "seconds": 1.0, "accuracy": 0.5 + s} for s in (0, 1)]
        >>> float(summaries(rows).loc[("a", "accuracy"), "mean"])
        1.0
    """
    return _by_arm_and_quantity(_measurements(rows), summary, Summary._fields)


def comparisons(rows, against):
    """Every quantity of every other arm minus that of one arm, over the seeds that both have.

    Args:
        rows: sequence of dicts, see `dreal_tf.experiments.rows.parse_rows`.
        against: str, the arm that the others are compared with.
    Returns:
        `pandas.DataFrame` with the fields of `SeedDifference` as columns, indexed by arm and quantity.
        Quantities of single modules, whose names hold a "/", are not compared.
    Example:
        >>> rows = [{"arm": a, "seed": s, "seconds": 1.0, "accuracy": v + s}
        ...     for a, v in (("plain", 0.5), ("taught", 0.75)) for s in (0, 1)]
        >>> float(comparisons(rows, "plain").loc[("taught", "accuracy"), "mean"])
        0.25
    """
    measured = _measurements(rows)
    measured = measured[~measured["quantity"].str.contains("/", regex=False)]
    is_other = measured["arm"] == against
    pairs = measured[~is_other].merge(
        measured[is_other], on=["seed", "quantity"], suffixes=("", "_of_other")
    )
    differences = pairs.assign(value=pairs["value"] - pairs["value_of_other"])
    return _by_arm_and_quantity(differences, seed_difference, SeedDifference._fields)


def _measurements(rows):
    """The rows in long form: a line for each measured value."""
    lines = [
        (row["arm"], row["seed"], quantity, value)
        for row in rows
        for quantity, value in row.items()
        if quantity not in KEYS
    ]
    types = {"arm": str, "seed": int, "quantity": str, "value": float}
    return pd.DataFrame(lines, columns=list(types)).astype(types)


def _by_arm_and_quantity(measured, statistic, columns):
    groups = measured.groupby(["arm", "quantity"], sort=False)["value"]
    keys, values = [key for key, _ in groups], [statistic(group) for _, group in groups]
    return pd.DataFrame(
        values, pd.MultiIndex.from_tuples(keys, names=["arm", "quantity"]), list(columns)
    )
