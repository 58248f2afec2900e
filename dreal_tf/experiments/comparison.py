"""Statistics over seeds, arms compared seed by seed, and their tables."""

import io
import math
import shutil
import statistics
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text
from scipy import stats

from dreal_tf.experiments.directory import KEYS

PUSH = "actor_grad_ratio"


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
        rows: sequence of dicts, see `dreal_tf.experiments.directory.parse_rows`.
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
        rows: sequence of dicts, see `dreal_tf.experiments.directory.parse_rows`.
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


FOLDED = 12  # Columns of the terminal that a folded column of a table needs.


class Table(NamedTuple):
    """A table of text.

    Attributes:
        cells: list of rows of str: first the headings; the first column holds names, the others numbers.
        title: str; empty for none.
    """

    cells: list
    title: str = ""

    def markdown(self):
        """The table as Markdown that also reads well as it is.

        Returns:
            List of str.
        Example:
            >>> for line in Table([["arm", "mean"], ["a", "0.5"]], "Accuracy").markdown():
            ...     print(line)
            ## Accuracy
            <BLANKLINE>
            | arm | mean |
            |-----|-----:|
            | a   |  0.5 |
        """
        first, *others = [max(map(len, column)) for column in zip(*self.cells, strict=True)]
        lines = []
        for name, *numbers in self.cells:
            aligned = [cell.rjust(width) for cell, width in zip(numbers, others, strict=True)]
            lines.append(f"| {' | '.join([name.ljust(first), *aligned])} |")
        rule = ["-" * (first + 2), *("-" * (width + 1) + ":" for width in others)]
        heading = [f"## {self.title}", ""] if self.title else []
        return [*heading, lines[0], f"|{'|'.join(rule)}|", *lines[1:]]

    def terminal(self):
        """The table in the width of the terminal, 80 columns if there is none.

        Its widest column is folded; if that is not enough, each row becomes a list of its cells.

        Returns:
            List of str.
        Example:
            >>> [max(map(len, Table([["name"], ["n" * 500]]).terminal())) <= 80]
            [True]
            >>> print("\\n".join(Table([["arm", "x" * 70, "y" * 70], ["a", "1", "2"]]).terminal()))
            a
              xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx  1
              yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy  2
        """
        columns = shutil.get_terminal_size((80, 24)).columns
        widths = [max(map(len, column)) + 3 for column in zip(*self.cells, strict=True)]
        if sum(widths) - max(widths) + FOLDED > columns:
            return self._as_lists()
        # Every terminal can show a box of ASCII.
        table = RichTable(title=self.title or None, title_justify="left", box=box.MARKDOWN)
        for position, heading in enumerate(self.cells[0]):
            justify = "right" if position else "left"
            table.add_column(heading.replace("`", ""), justify=justify, overflow="fold")
        for row in self.cells[1:]:
            table.add_row(*(Text(cell.replace("`", "")) for cell in row))
        shown = io.StringIO()
        Console(file=shown, width=columns).print(table)
        return [line.rstrip() for line in shown.getvalue().splitlines() if line.strip()]

    def _as_lists(self):
        (_, *headings), *rows = [[cell.replace("`", "") for cell in row] for row in self.cells]
        width = max(map(len, headings))
        lines = [self.title] if self.title else []
        for name, *values in rows:
            pairs = zip(headings, values, strict=True)
            lines += [name, *(f"  {heading:{width}}  {value}" for heading, value in pairs if value)]
        return lines


def summary_tables(rows):
    """A table of all quantities for each arm.

    Args:
        rows: sequence of dicts, see `dreal_tf.experiments.directory.parse_rows`.
    Returns:
        List of `Table`.
    Example:
        >>> (table,) = summary_tables([{"arm": "a", "seed": 0, "seconds": 1.0, "accuracy": 0.5}])
        >>> table.title, table.cells[1]
        ('a', ['accuracy', '1', '0.5000', '-', '-'])
    """
    tables = []
    for arm, quantities in summaries(rows).groupby(level="arm", sort=False):
        cells = [["quantity", "seeds", "mean", "std", "95 % interval"]]
        for (_, name), *values in quantities.itertuples(name=None):
            seeds, mean, std, low, high = values
            spread = (number_text(std), _range_text(low, high)) if seeds > 1 else ("-", "-")
            cells.append([name, str(seeds), number_text(mean), *spread])
        tables.append(Table(cells, arm))
    return tables


def comparison_tables(rows, against):
    """A table for each quantity: every other arm minus one arm, seed by seed.

    Args:
        rows, against: see `dreal_tf.experiments.comparison.comparisons`.
    Returns:
        List of `Table`; empty if the arms have no seed in common.
    Example:
        >>> rows = [{"arm": a, "seed": 0, "seconds": 1.0, "accuracy": v}
        ...     for a, v in (("plain", 0.5), ("taught", 0.75))]
        >>> (table,) = comparison_tables(rows, "plain")
        >>> table.title, table.cells[1]
        ('accuracy, less that of plain, seed by seed', ['taught', '1', '0.2500', '-', '1.0000'])
    """
    tables = []
    for quantity, arms in comparisons(rows, against).groupby(level="quantity", sort=False):
        cells = [["arm", "seeds", "mean", "95 % interval", "sign-flip p"]]
        for (arm, _), *values in arms.itertuples(name=None):
            seeds, mean, low, high, p_value = values
            interval = _range_text(low, high) if seeds > 1 else "-"
            cells.append([arm, str(seeds), number_text(mean), interval, f"{p_value:.4f}"])
        tables.append(Table(cells, f"{quantity}, less that of {against}, seed by seed"))
    return tables


def results_table(study, rows):
    """One line for each arm: its accuracy, and seed by seed how much more that is than the arm `against`, if any.

    Args:
        study: `dreal_tf.Study` of "train"; `evaluated_on` names the images.
        rows: sequence of dicts, see `dreal_tf.experiments.directory.parse_rows`.
    Returns:
        `Table`: accuracy (for identities mAP) in percent, mean and standard deviation over seeds;
        its differences over the seeds, on test images also those of cross entropy or rank-1, with their
        95 % interval (Student's t) and the p of the exact sign-flip test; the push, which is the length of
        the actor loss's gradient over that of the task loss's on all attention weights in the last epoch,
        mean over seeds; the median of the training time.
    Example:
        >>> study = load_study("gain_cifar10_se", smoke=True).replace(arms={"a": {}, "b": {}}, against="a")
        >>> rows = [{"arm": arm, "seed": s, "seconds": 9.0, "accuracy": v + 0.001 * s,
        ...     "training_seconds": 5.0} for arm, v in (("a", 0.5), ("b", 0.75)) for s in (0, 1)]
        >>> for line in results_table(study, rows).markdown():
        ...     print(line)
        | arm | seeds | test accuracy |           points over `a` |     p | training |
        |-----|------:|--------------:|--------------------------:|------:|---------:|
        | `a` |     2 |  50.05 ± 0.07 |                           |       |      5 s |
        | `b` |     2 |  75.05 ± 0.07 | +25.00 (+25.00 to +25.00) | 0.500 |      5 s |
    """
    heading, quantity, compared = _criterion(study, rows)
    compared = compared if study.against else []
    cells = [["arm", "seeds", heading]]
    cells[0] += [text for *_, title in compared for text in (title, "p")]
    pushed = any(PUSH in row for row in rows)
    cells[0] += (["push"] if pushed else []) + ["training"]
    gains = {}
    if study.against:
        gains = {gain.Index: gain for gain in comparisons(rows, study.against).itertuples()}
    for arm in study.arms:
        of_arm = [row for row in rows if row["arm"] == arm]
        if not of_arm:
            continue
        percent = summary([100 * row[quantity] for row in of_arm])
        spread = "" if percent.seeds == 1 else f" ± {percent.std:.2f}"
        cells.append([f"`{arm}`", str(percent.seeds), f"{percent.mean:.2f}{spread}"])
        for name, unit, digits, _ in compared:
            gain = gains.get((arm, name))
            cells[-1] += [difference_text(gain, unit, digits), p_text(gain)]
        if pushed:
            ratios = [row[PUSH] for row in of_arm if PUSH in row]
            cells[-1].append(f"{100 * statistics.mean(ratios):.1f} %" if ratios else "")
        seconds = [row["training_seconds"] for row in of_arm if "training_seconds" in row]
        cells[-1].append(f"{statistics.median(seconds):.0f} s" if seconds else "")
    return Table(cells)


def _criterion(study, rows):
    """Heading and name of the main quantity, and the compared ones: name, unit, digits, heading."""
    over = f"over `{study.against}`"
    if any("mAP" in row for row in rows):
        rank = ("rank_1", 100, 2, f"rank-1, points {over}")
        return "mAP", "mAP", [("mAP", 100, 2, f"points {over}"), rank]
    if study.evaluated_on == "validation":
        name = "validation_accuracy"
        return "validation accuracy", name, [(name, 100, 2, f"points {over}")]
    compared = [("accuracy", 100, 2, f"points {over}")]
    if any("cross_entropy" in row for row in rows):
        compared.append(("cross_entropy", 1, 3, f"cross entropy, nats {over}"))
    return "test accuracy", "accuracy", compared


def difference_text(difference, unit=1, digits=2):
    """A mean difference with its interval; empty for None.

    Args:
        difference: `dreal_tf.experiments.comparison.SeedDifference`, or None.
        unit: number > 0 by which it is multiplied.
        digits: int, after the decimal point.
    Returns:
        str.
    Example:
        >>> difference_text(SeedDifference(2, 0.5, 0.25, 0.75, 0.5))
        '+0.50 (+0.25 to +0.75)'
    """
    if difference is None:
        return ""

    def signed(value):
        text = f"{unit * value:+.{digits}f}"
        return text if float(text) else text[1:]  # 0 has no sign.

    mean, low, high = map(signed, (difference.mean, difference.low, difference.high))
    return f"{mean} ({low} to {high})" if difference.seeds > 1 else mean


def p_text(difference):
    """The p of a `SeedDifference`; empty for None and for a single seed."""
    return "" if difference is None or difference.seeds == 1 else f"{difference.p_value:.3f}"


def number_text(value):
    """Four decimals, or the digits that tell a small number from 0.

    Example:
        >>> number_text(0.5), number_text(0.00012)
        ('0.5000', '1.20e-04')
    """
    return f"{value:.4f}" if value == 0 or not abs(value) < 1e-3 else f"{value:.2e}"


def _range_text(low, high):
    return f"{number_text(low)} to {number_text(high)}"
