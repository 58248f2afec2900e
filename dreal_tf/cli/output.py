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

# Informational lines of TensorFlow's C++ side, which no setting keeps off standard error.
_NOISE = re.compile(
    rb"^(WARNING: All log messages before absl|I0000 |E0000 .*(cuInit|factory for plugin cu)"
    rb"|W0000 .*computation placer already registered)"
)


class QuietTensorFlow(MetaPathFinder):
    """While on `sys.meta_path`, keeps known noise off standard error when TensorFlow is imported."""

    def find_spec(self, name, path=None, target=None):
        """The ordinary spec of TensorFlow, whose loader filters standard error; None for other modules."""
        spec = PathFinder.find_spec(name, path, target) if name == "tensorflow" else None
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


console = Console(stderr=True, highlight=False)


def say(text):
    """A line for the person at the terminal, on standard error."""
    console.print(text, markup=False, soft_wrap=True)


class SayHandler(logging.Handler):
    """Prints the package's log messages, above a progress bar if there is one."""

    def emit(self, record):
        say(self.format(record))


def result(values, as_json, lines):
    """The result of a verb, on standard output.

    Args:
        values: dict, printed as one JSON object where `as_json`.
        as_json: bool.
        lines: iterable of str, printed otherwise.
    """
    if as_json:
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def shown(items, description="Measuring", total=None):
    """Passes on items while a bar shows progress; the bar disappears at the end.

    Args:
        items: iterable.
        description: str, such as "Measuring".
        total: int, their number; None: their `len`, if they have one.
    """
    return track(items, description, total, console=console, transient=True)


@contextlib.contextmanager
def training_callbacks():
    """Callbacks of a training at a terminal: progress on standard error, and interrupts.

    It gives an iterator, so that Keras is imported when training begins and not before.
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
    """Names the images that could not be read.

    Args:
        reasons: dict from the path of an image to the reason.
    """
    for path, reason in reasons.items():
        say(f"Skipped: {path}: {reason}.")


def next_command(command):
    """The last line: what to do next."""
    say(f"Next: {command}")


def metric_lines(metrics):
    """Metrics as aligned lines: name, value; dicts are omitted."""
    metrics = {name: value for name, value in metrics.items() if not isinstance(value, dict)}
    width = max(len(name) for name in metrics)
    for name, value in metrics.items():
        text = f"{value:.4f}" if isinstance(value, float) else str(value)
        yield f"{name:<{width}}  {text}"


def aligned(rows):
    """Rows of a table as lines, their cells below each other.

    Args:
        rows: sequence of sequences of str, all equally long.
    Returns:
        List of str.
    Example:
        >>> aligned([("module", "value"), ("conv2_1/se", "0.5")])
        ['module      value', 'conv2_1/se  0.5']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [[cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in rows]
    return ["  ".join(row).rstrip() for row in cells]


def csv_lines(columns, rows):
    """Rows as lines of CSV, floats with six decimals.

    By the csv module: pandas refuses paths that are not UTF-8.

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
        writer.writerow([f"{cell:.6f}" if isinstance(cell, float) else cell for cell in row])
    return text.getvalue().splitlines()
