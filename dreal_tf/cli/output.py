"""What a command prints, and where: results to standard output, the rest to standard error."""

import importlib
import json
import logging
import os
import re
import sys
import tempfile

from rich.console import Console
from rich.progress import track

# Informational lines of TensorFlow's C++ side, which no setting keeps off standard error.
_NOISE = re.compile(
    rb"^(WARNING: All log messages before absl|I0000 |E0000 .*(cuInit|factory for plugin cu)"
    rb"|W0000 .*computation placer already registered)"
)


def import_quietly(module):
    """Imports a module; what it writes to standard error is passed on but for known noise.

    Args:
        module: str, dotted name.
    Returns:
        The module.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            return importlib.import_module(module)
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            for line in caught:
                if not _NOISE.match(line):
                    sys.stderr.write(line.decode(errors="replace"))


console = Console(stderr=True, highlight=False)


def say(text):
    """A line for the person at the terminal, on standard error."""
    console.print(text, markup=False, soft_wrap=True)


class SayHandler(logging.Handler):
    """Says what the package logs, above a progress bar if there is one."""

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
    """Passes on items while a bar, gone at the end, shows how far it is.

    Args:
        items: iterable.
        description: str, what is done with them.
        total: int, their number; None: what `len` says of them, if anything.
    """
    return track(items, description, total, console=console, transient=True)


def left_out(broken):
    """Says which images could not be read.

    Args:
        broken: dict from the path of an image to why.
    Returns:
        List of dicts, ready for JSON.
    """
    for path, why in broken.items():
        say(f"Left out: {path}: {why}.")
    return [{"image": path, "reason": why} for path, why in broken.items()]


def next_command(command):
    """The last line: what to do next."""
    say(f"Next: {command}")


def metric_lines(metrics):
    """Metrics as aligned lines: name, value; what holds more than one value is left out."""
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
