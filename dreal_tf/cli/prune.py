"""`dreal-tf prune`."""

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf.cli.output import aligned, import_quietly, next_command, result, say, shown
from dreal_tf.deployment.pruning_request import check_request

FIGURES = {
    "accuracy": ".4f",
    "loss": ".4f",
    "parameters": ",",
    "multiply_adds": ",",
    "milliseconds": ".3f",
}


def prune(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    threshold: Annotated[
        Optional[float],
        typer.Option(help="A module stays if it is known to be worth more, in nats. [default: 0]"),
    ] = None,
    keep: Annotated[
        Optional[int], typer.Option(help="How many modules stay instead, those worth most.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of fine-tuning.")] = 0,
    images: Annotated[int, typer.Option(help="Validation images to judge on, at most.")] = 2000,
    out: Annotated[
        Optional[Path], typer.Option(help="New run directory. [default: RUN_pruned]")
    ] = None,
    data_dir: Annotated[
        Optional[str], typer.Option(help="Folder of the data. [default: the run's]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
):
    """Take the modules that earn nothing out of a run's network: a new run, and what it costs."""
    request = check_request(run, threshold, keep, epochs, images, out)  # Before TensorFlow is loaded.
    pruning = import_quietly("dreal_tf.deployment.prune")
    terminal = import_quietly("dreal_tf.cli.progress")
    progress = terminal.EpochProgress()
    interrupts = terminal.DeferInterrupts()

    say(f"Judging the modules of {run} on validation images.")
    with progress:
        found = pruning.prune(
            *(run, threshold, keep, epochs, images, out, data_dir, shown),
            callbacks=[progress, interrupts],
        )
    result(found, as_json, prune_lines(found))
    if found["out"] is None:
        say(f"Nothing to prune; nothing was written. {least(found['modules'])}")
        next_command(f"dreal-tf audit {shlex.quote(str(run))}")
        return
    cost = found["cost"]
    say(
        f"Judged on {found['images']} validation images, values in nats [95 %]; all that went costs "
        f"{cost['value']:.4f} [{cost['low']:.4f}, {cost['high']:.4f}] together"
        f"{', before fine-tuning' if epochs else ''}. Accuracy and loss are of the test split."
    )
    say(f"Run directory: {request.out.path}")
    next_command(f"dreal-tf export {shlex.quote(str(request.out.path))} --out DIR")


def prune_lines(found):
    """What was done as aligned lines: one a module, then the figures before and after.

    Args:
        found: dict, see `dreal_tf.prune`.
    Returns:
        List of str.
    Example:
        >>> module = {"done": "folded", "reason": "in bn now", "value": 0.0, "low": 0.0, "high": 0.0}
        >>> for line in prune_lines({"modules": {"a/se": module}, "before": {"parameters": 1200},
        ...                          "after": {"parameters": 1000}}):
        ...     print(line)
        module  value   [95 %]            done    why
        a/se    0.0000  [0.0000, 0.0000]  folded  in bn now
        <BLANKLINE>
                    before  after
        parameters  1,200   1,000
    """
    rows = [("module", "value", "[95 %]", "done", "why")]
    for module, judged in found["modules"].items():
        value, low, high = (f"{judged[part]:.4f}" for part in ("value", "low", "high"))
        rows.append((module, value, f"[{low}, {high}]", judged["done"], judged["reason"]))
    lines = aligned(rows)
    if found["after"]:
        rows = [("", "before", "after")]
        for name, form in FIGURES.items():
            if name in found["before"]:
                rows.append((name, *(format(found[part][name], form) for part in ("before", "after"))))
        lines += ["", *aligned(rows)]
    return lines


def least(modules):
    """Which module is worth least, as a sentence.

    Args:
        modules: dict of what was judged by module, see `dreal_tf.prune`.
    Example:
        >>> least({"a/se": {"low": 0.5}, "b/se": {"low": 0.25}})
        'A --threshold above 0.2500 would put b/se, worth least, to the choice.'
    """
    module = min(modules, key=lambda name: modules[name]["low"])
    low = modules[module]["low"]
    return f"A --threshold above {low:.4f} would put {module}, worth least, to the choice."
