"""The arms of a study against one of them, seed by seed."""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from dreal_tf.experiments.studies.rows import KEYS
from dreal_tf.experiments.studies.table import aligned_lines, number_said, summary


class Difference(NamedTuple):
    """A quantity of an arm less that of another, over the seeds that both have.

    Attributes:
        seeds: int. How many there are.
        mean: float.
        low, high: float. 95 % interval of the mean by Student's t; nan of a single seed.
        p_value: float. Two-sided exact sign-flip test of a mean of 0: the share of the 2^seeds ways
            to flip signs that give a mean at least as far from 0.
    """

    seeds: int
    mean: float
    low: float
    high: float
    p_value: float


def paired_difference(values, others):
    """What a quantity gains, pair by pair.

    Args:
        values, others: sequences of float of one length, at least 1: the same seeds in order.
    Returns:
        `Difference`.
    Example:
        >>> found = paired_difference([3.0, 4.0, 5.0], [2.0, 2.0, 2.0])
        >>> found.mean, found.p_value  # All signs as they are, or all flipped: 2 of 8 ways.
        (2.0, 0.25)
    """
    differences = np.asarray(values, float) - np.asarray(others, float)
    found = summary(differences)
    return Difference(found.seeds, found.mean, found.low, found.high, _sign_flip(differences))


def comparisons(rows, against):
    """Every quantity of every other arm, less that of one arm.

    Args:
        rows: sequence of dicts, see `dreal_tf.experiments.studies.rows`.
        against: str, the arm that the others are compared with.
    Returns:
        Dict of dicts of `Difference`, by arm and quantity. What the two have no seed in common for
        is left out. Quantities of single modules are, too: their names hold a "/".
    Example:
        >>> rows = [{"arm": a, "seed": s, "seconds": 1.0, "accuracy": v + s}
        ...     for a, v in (("plain", 0.5), ("taught", 0.75)) for s in (0, 1)]
        >>> comparisons(rows, "plain")["taught"]["accuracy"].mean
        0.25
    """
    of_seed = {row["seed"]: row for row in rows if row["arm"] == against}
    found = {}
    for arm in dict.fromkeys(row["arm"] for row in rows if row["arm"] != against):
        pairs = [(r, of_seed[r["seed"]]) for r in rows if r["arm"] == arm and r["seed"] in of_seed]
        names = dict.fromkeys(n for row, _ in pairs for n in row if n not in KEYS and "/" not in n)
        found[arm] = {}
        for name in names:
            both = [(row[name], other[name]) for row, other in pairs if name in row and name in other]
            if both:
                found[arm][name] = paired_difference(*zip(*both, strict=True))
    return found


def comparison_lines(rows, against):
    """The comparisons as Markdown, a table for each quantity.

    Args:
        rows, against: see `comparisons`.
    Returns:
        List of str; empty where nothing can be compared.
    Example:
        >>> rows = [{"arm": a, "seed": 0, "seconds": 1.0, "accuracy": v}
        ...     for a, v in (("plain", 0.5), ("taught", 0.75))]
        >>> for line in comparison_lines(rows, "plain"):
        ...     print(line)
        ## accuracy, less that of plain, seed by seed
        <BLANKLINE>
        | arm    | seeds |   mean | 95 % interval | sign-flip p |
        |--------|------:|-------:|--------------:|------------:|
        | taught |     1 | 0.2500 |             - |      1.0000 |
        <BLANKLINE>
    """
    found = comparisons(rows, against)
    lines = []
    for name in dict.fromkeys(name for quantities in found.values() for name in quantities):
        cells = [["arm", "seeds", "mean", "95 % interval", "sign-flip p"]]
        for arm, quantities in found.items():
            if name in quantities:
                cells.append([arm, *_said(quantities[name])])
        lines += [f"## {name}, less that of {against}, seed by seed", "", *aligned_lines(cells), ""]
    return lines


def _said(found):
    interval = f"{number_said(found.low)} to {number_said(found.high)}" if found.seeds > 1 else "-"
    return str(found.seeds), number_said(found.mean), interval, f"{found.p_value:.4f}"


def _sign_flip(differences):
    if len(differences) == 1:
        return 1.0  # Both ways are as far from 0.
    flipped = {"permutation_type": "samples", "n_resamples": math.inf}
    return float(stats.permutation_test((differences,), np.mean, **flipped).pvalue)
