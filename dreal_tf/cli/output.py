"""The output of a command: results on standard output, everything else on standard error."""

import contextlib
import csv
import io
import json
import logging
import os
import re
import sys
import tempfile
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    track,
)
from rich.table import Table

from dreal_tf.data.files import csv_cell

WIDTH = 80  # Largest width of a table (characters).

# Informational lines of TensorFlow's C++ code, which no setting keeps off standard error.
_NOISE = re.compile(
    rb"^(WARNING: All log messages before absl|I0000 |E0000 .*(cuInit|factory for plugin cu)"
    rb"|W0000 .*computation placer already registered)"
)


class QuietTensorFlow(MetaPathFinder):
    """On `sys.meta_path`, it keeps known noise off standard error while TensorFlow is imported."""

    def find_spec(self, name, path=None, target=None):
        """The ordinary spec of TensorFlow, whose loader filters standard error; None for other modules."""
        is_filtered = name == "tensorflow" and not is_verbose()
        spec = PathFinder.find_spec(name, path, target) if is_filtered else None
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_quietly(module):
                with _without_noise():
                    execute(module)

            spec.loader.exec_module = execute_quietly
        return spec


@contextlib.contextmanager
def _without_noise():
    sys.stderr.flush()
    standard_error = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(standard_error, 2)
            os.close(standard_error)
            caught.seek(0)
            for line in caught:
                if not _NOISE.match(line):
                    sys.stderr.write(line.decode(errors="replace"))


console = Console(stderr=True, highlight=False)  # Quiet with --quiet.
LOG = logging.getLogger("dreal_tf")


def set_verbosity(level):
    """Sets how much a command says.

    Args:
        level: `logging.WARNING` with --quiet: no progress; `logging.DEBUG` with --verbose; else `logging.INFO`.
    """
    LOG.setLevel(level)
    console.quiet = level >= logging.WARNING


def is_verbose():
    """Whether the command was given --verbose."""
    return LOG.level == logging.DEBUG


def say(text, essential=False):
    """Prints a line for the user, on standard error; with --quiet only essential ones."""
    shown_on = Console(stderr=True, highlight=False) if essential and console.quiet else console
    # An escape character in a name would command the terminal.
    shown_on.print(str(text).replace("\x1b", "\\x1b"), markup=False, soft_wrap=True)


class SayHandler(logging.Handler):
    """Prints the package's log messages, above a progress bar if one is shown."""

    def emit(self, record):
        say(self.format(record), essential=record.levelno >= logging.WARNING)


def result(values, as_json, lines):
    """Prints the result of a verb, on standard output.

    Args:
        values: dict, printed as one JSON object if `as_json`.
        as_json: bool.
        lines: iterable of str, printed otherwise.
    """
    if as_json:
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def shown(items, description="Measuring", total=None):
    """Yields items while a bar shows progress; the bar disappears at the end.

    Args:
        items: iterable.
        description: str, such as "Measuring".
        total: int, their number; None for their `len`.
    """
    return track(items, description, total, console=console, transient=True)


@contextlib.contextmanager
def training_callbacks():
    """Callbacks that show progress on standard error and handle interrupts.

    It yields an iterator, so that Keras is imported only when training begins.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=console, transient=True)

    def callbacks():
        from dreal_tf.cli.progress import DeferInterrupts, EpochProgress

        yield EpochProgress(bar)
        yield DeferInterrupts()

    try:
        yield callbacks()
    finally:
        if bar.live.is_started:
            bar.stop()


def say_skipped(reasons):
    """Lists the images that could not be read.

    Args:
        reasons: dict from the path of an image to the reason.
    """
    for path, reason in reasons.items():
        say(f"Skipped: {path}: {reason}.")


def next_command(command):
    """Prints the last line, the next command."""
    say(f"Next: {command}")


def metric_lines(metrics):
    """Metrics as aligned lines, name and value, and those of modules as a table; dicts are omitted.

    Example:
        >>> for line in metric_lines({"accuracy": 0.5, "gain/a": 0.25, "gain/b": 0.5, "reward/b": 1.0}):
        ...     print(line)
        accuracy  0.5000
        <BLANKLINE>
        module    gain  reward
        a       0.2500       -
        b       0.5000  1.0000
    """
    values = {
        name: f"{value:.4f}" if isinstance(value, float) else str(value)
        for name, value in metrics.items()
        if not isinstance(value, dict)
    }
    of_modules = [name.split("/", 1) for name in values if "/" in name]
    lines = aligned((name, value) for name, value in values.items() if "/" not in name)
    if of_modules:
        quantities, modules = (list(dict.fromkeys(part)) for part in zip(*of_modules, strict=True))
        rows = [[m, *(values.get(f"{quantity}/{m}", "-") for quantity in quantities)] for m in modules]
        lines += ["", *table_lines(["module", *quantities], rows)]
    return lines


def aligned(rows):
    """Rows of a table as lines with aligned columns, of any width.

    Args:
        rows: iterable of sequences of str, all equally long.
    Returns:
        List of str.
    Example:
        >>> aligned([("module", "value"), ("conv2_1/se", "0.5")])
        ['module      value', 'conv2_1/se  0.5']
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [[cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in rows]
    return ["  ".join(row).rstrip() for row in cells]


def table_lines(headings, rows):
    """A table as lines of at most 80 characters: the first column left-aligned, the others right.

    Args:
        headings: sequence of str.
        rows: iterable of sequences of str, as long as the headings. Long cells are wrapped.
    Returns:
        List of str.
    Example:
        >>> table_lines(["module", "value"], [["conv2_1/se", "0.5"]])
        ['module      value', 'conv2_1/se    0.5']
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if position else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    # Without markup, because names of classes and modules may contain brackets.
    Console(file=text, width=WIDTH, markup=False, emoji=False, highlight=False).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def csv_lines(columns, rows):
    """Rows as lines of CSV, floats with six decimals, and names as `csv_cell` writes them.

    The csv module writes them, because pandas refuses paths that are not UTF-8.

    Args:
        columns: sequence of str.
        rows: iterable of sequences.
    Returns:
        List of str.
    Example:
        >>> csv_lines(["image", "class", "probability"], [("a, b.png", "cat", 0.75)])
        ['image,class,probability', '"a, b.png",cat,0.750000']
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([f"{cell:.6f}" if isinstance(cell, float) else csv_cell(cell) for cell in row])
    return text.getvalue().splitlines()
