"""What the rows of a study come to: mean, spread and interval of each quantity, by arm."""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from dreal_tf.experiments.studies.rows import KEYS


class Summary(NamedTuple):
    """A quantity over the seeds of an arm.

    Attributes:
        seeds: int. How many there are.
        mean: float.
        deviation: float. Standard deviation between seeds (n - 1); nan of a single one.
        low, high: float. 95 % interval of the mean by Student's t; nan of a single seed.
    """

    seeds: int
    mean: float
    deviation: float
    low: float
    high: float


def summary(values):
    """Mean, spread and interval of a few values.

    Args:
        values: sequence of float, at least one.
    Returns:
        `Summary`.
    Example:
        >>> found = summary([1.0, 2.0, 3.0])
        >>> found.mean, found.deviation, round(found.high - found.mean, 3)
        (2.0, 1.0, 2.484)
    """
    values = np.asarray(values, float)
    count, mean = len(values), float(values.mean())
    if count == 1:
        return Summary(1, mean, math.nan, math.nan, math.nan)
    deviation = float(values.std(ddof=1))
    half = float(stats.t.ppf(0.975, count - 1)) * deviation / math.sqrt(count)
    return Summary(count, mean, deviation, mean - half, mean + half)


def summaries(rows):
    """Every measured quantity of every arm.

    Args:
        rows: sequence of dicts, see `dreal_tf.experiments.studies.rows`.
    Returns:
        Dict of dicts of `Summary`, by arm and quantity, both in the order of the rows.
    Example:
        >>> rows = [{"arm": "a", "seed": s, "seconds": 1.0, "accuracy": 0.5 + s} for s in (0, 1)]
        >>> summaries(rows)["a"]["accuracy"].mean
        1.0
    """
    found = {}
    for arm in dict.fromkeys(row["arm"] for row in rows):
        of_arm = [row for row in rows if row["arm"] == arm]
        names = dict.fromkeys(name for row in of_arm for name in row if name not in KEYS)
        columns = {name: [row[name] for row in of_arm if name in row] for name in names}
        found[arm] = {name: summary(values) for name, values in columns.items()}
    return found


def table_lines(rows):
    """A table per arm, as Markdown that reads well as it is.

    Args:
        rows: see `summaries`.
    Returns:
        List of str.
    Example:
        >>> for line in table_lines([{"arm": "a", "seed": 0, "seconds": 1.0, "accuracy": 0.5}]):
        ...     print(line)
        ## a
        <BLANKLINE>
        | quantity | seeds |   mean | deviation | 95 % interval |
        |----------|------:|-------:|----------:|--------------:|
        | accuracy |     1 | 0.5000 |         - |             - |
        <BLANKLINE>
    """
    lines = []
    for arm, quantities in summaries(rows).items():
        cells = [["quantity", "seeds", "mean", "deviation", "95 % interval"]]
        for name, found in quantities.items():
            spread = (
                number_said(found.deviation),
                f"{number_said(found.low)} to {number_said(found.high)}",
            )
            spread = ("-", "-") if found.seeds == 1 else spread
            cells.append([name, str(found.seeds), number_said(found.mean), *spread])
        lines += [f"## {arm}", "", *aligned_lines(cells)]
        lines.append("")
    return lines


def aligned_lines(cells):
    """A Markdown table whose columns are aligned: the first to the left, numbers to the right.

    Args:
        cells: list of rows of str, the first being the headings.
    Returns:
        List of str.
    Example:
        >>> aligned_lines([["arm", "mean"], ["a", "0.5"]])
        ['| arm | mean |', '|-----|-----:|', '| a   |  0.5 |']
    """
    first, *others = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for name, *numbers in cells:
        aligned = [cell.rjust(width) for cell, width in zip(numbers, others, strict=True)]
        lines.append(f"| {' | '.join([name.ljust(first), *aligned])} |")
    rule = ["-" * (first + 2), *("-" * (width + 1) + ":" for width in others)]
    return [lines[0], f"|{'|'.join(rule)}|", *lines[1:]]


def plain_lines(cells):
    """A Markdown table for pages, where nobody reads it as it is.

    Args:
        cells: list of rows of str, the first being the headings.
    Returns:
        List of str.
    Example:
        >>> plain_lines([["arm", "mean"], ["a", "0.5"]])
        ['| arm | mean |', '|---|---|', '| a | 0.5 |']
    """
    headings, *lines = [f"| {' | '.join(row)} |" for row in cells]
    return [headings, "|" + "---|" * len(cells[0]), *lines]


def number_said(value):
    """Four decimals, or as many as a small number needs to be told from 0.

    Example:
        >>> number_said(0.5), number_said(0.00012)
        ('0.5000', '1.20e-04')
    """
    return f"{value:.4f}" if value == 0 or not abs(value) < 1e-3 else f"{value:.2e}"
