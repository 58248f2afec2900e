"""The verb `prune`."""

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Option

from dreal_tf import api
from dreal_tf.cli.options import Json, Plugins, Run, RunDataDir
from dreal_tf.cli.output import aligned, next_command, result, say, shown, training_callbacks

FIGURES = {
    "accuracy": ".4f",
    "cross_entropy": ".4f",
    "parameters": ",",
    "multiply_adds": ",",
    "milliseconds": ".3f",
}


def prune(
    run: Run,
    threshold: Annotated[
        float | None,
        Option(
            help="Keep a module whose value is above it with 95 % confidence, in nats. [default: 0]"
        ),
    ] = None,
    keep: Annotated[
        int | None, Option(help="Keep this number of modules instead, those of greatest value.")
    ] = None,
    epochs: Annotated[int, Option(help="Epochs of fine-tuning.")] = 0,
    images: Annotated[int, Option(help="Maximum number of validation images to measure on.")] = 2000,
    out: Annotated[Path | None, Option(help="New run directory. [default: RUN_pruned]")] = None,
    data_dir: RunDataDir = None,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Make a new run without the modules that contribute nothing."""
    with training_callbacks() as callbacks:
        pruned = api.prune(
            run,
            threshold=threshold,
            keep=keep,
            epochs=epochs,
            images=images,
            out=out,
            data_dir=data_dir,
            progress=partial(shown, description="Measuring modules on validation images"),
            callbacks=callbacks,
        )
    lines = prune_lines(pruned.modules, pruned.before, pruned.after)
    result(pruned.as_dict(), as_json, lines)
    if pruned.out is None:
        say(f"Nothing to prune; nothing was written. {least_valuable(pruned.modules)}")
        next_command(f"dreal-tf audit {shlex.quote(str(run))}")
        return
    say(
        f"Measured on {pruned.images} validation images, values in nats [95 %]. {cost_line(pruned.cost, epochs)} "
        "Accuracy and cross-entropy (nats) are of the test split, parameters the trainable ones."
    )
    say(accuracy_line(pruned.difference))
    say(f"Run directory: {pruned.out}")
    next_command(f"dreal-tf export {shlex.quote(pruned.out)} --out DIR")


def cost_line(cost, epochs=0):
    """The change of log p without the removed modules.

    Args:
        cost: dict, see `dreal_tf.deployment.results.PruneResult`.
        epochs: int, of fine-tuning.
    Example:
        >>> cost_line({"value": 0.5, "low": 0.25, "high": 0.75})
        "Without all removed modules, the label's log p changes by -0.5000 [-0.7500, -0.2500]."
    """
    change, low, high = (f"{round(-cost[part], 4) + 0.0:+.4f}" for part in ("value", "high", "low"))
    when = " before fine-tuning" if epochs else ""
    return f"Without all removed modules, the label's log p changes by {change} [{low}, {high}]{when}."


def accuracy_line(difference):
    """The change of accuracy with its interval, which tells whether the modules were free.

    Args:
        difference: dict, see `dreal_tf.analysis.audit.accuracy_difference`.
    Example:
        >>> print(accuracy_line({"mean": -0.011, "low": -0.0221, "high": 0.0}))
        Accuracy on the test split: -1.10 points (95 % interval -2.21 to +0.00); a loss of up to 2.21 points cannot be excluded.
    """
    mean, low, high = (100 * difference[part] for part in ("mean", "low", "high"))
    line = f"Accuracy on the test split: {mean:+.2f} points (95 % interval {low:+.2f} to {high:+.2f})"
    undecided = f"; a loss of up to {-low:.2f} points cannot be excluded" if low < 0 <= high else ""
    return f"{line}{undecided}."


def prune_lines(modules, before, after):
    """The result as aligned lines: one for each module, then the figures before and after.

    Args:
        modules, before, after: dicts, see `dreal_tf.deployment.results.PruneResult`.
    Returns:
        List of str.
    Example:
        >>> module = {"done": "folded", "reason": "in bn now", "value": 0.0, "low": 0.0, "high": 0.0}
        >>> for line in prune_lines({"a/se": module}, {"parameters": 1200}, {"parameters": 1000}):
        ...     print(line)
        module  value   [95 %]            done    why
        a/se    0.0000  [0.0000, 0.0000]  folded  in bn now
        <BLANKLINE>
                    before  after
        parameters  1,200   1,000
    """
    rows = [("module", "value", "[95 %]", "done", "why")]
    for module, decision in modules.items():
        value, low, high = (f"{decision[part]:.4f}" for part in ("value", "low", "high"))
        rows.append((module, value, f"[{low}, {high}]", decision["done"], decision["reason"]))
    lines = aligned(rows)
    if after:
        rows = [("", "before", "after")]
        for name, form in FIGURES.items():
            if name in before and name in after:
                rows.append((name, format(before[name], form), format(after[name], form)))
        lines += ["", *aligned(rows)]
    return lines


def least_valuable(modules):
    """A sentence that names the least valuable module.

    Args:
        modules: dict by module, see `dreal_tf.deployment.results.PruneResult`.
    Example:
        >>> least_valuable({"a/se": {"low": 0.5}, "b/se": {"low": 0.25}})
        'A --threshold above 0.2500 would remove b/se, the least valuable module.'
    """
    module = min(modules, key=lambda name: modules[name]["low"])
    low = modules[module]["low"]
    return f"A --threshold above {low:.4f} would remove {module}, the least valuable module."
