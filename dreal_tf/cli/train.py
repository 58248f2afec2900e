"""The verb `train`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from dreal_tf import api
from dreal_tf.cli.options import Changes, DataDir, Json, Plugins, RecipeName, Seed, Smoke, Strategy
from dreal_tf.cli.output import (
    is_verbose,
    metric_lines,
    next_command,
    result,
    say,
    table_lines,
    training_callbacks,
)
from dreal_tf.errors import InputError
from dreal_tf.training.recipe_files import default_run_folder, resolve_recipe
from dreal_tf.training.run_directory import RunDirectory, recipe_differences


def train(
    recipe: RecipeName,
    baseline: Annotated[
        bool, Option("--baseline", help="Train the same recipe without the method.")
    ] = False,
    smoke: Smoke = False,
    changes: Changes = None,
    out: Annotated[
        Path | None, Option(help="Run directory. [default: runs/<recipe>[_baseline]_seed<N>]")
    ] = None,
    data_dir: DataDir = None,
    strategy: Strategy = "auto",
    seed: Seed = None,
    fresh: Annotated[bool, Option("--fresh", help="Move a run in --out aside and begin anew.")] = False,
    print_recipe: Annotated[
        bool, Option("--print-recipe", help="Print the resolved recipe as JSON and stop.")
    ] = False,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Train a recipe; continue an interrupted run in --out."""
    resolved = resolve(recipe, smoke, changes or [], baseline, seed, data_dir)
    if print_recipe:
        sys.stdout.write(resolved.to_json())
        return
    out = out or default_run_folder(resolved)
    run = RunDirectory(out)
    if run.finished and not fresh:
        say(f"{out} holds a finished run; it is left alone. --fresh begins anew.")
    elif run.started and not fresh:
        say(f"Continuing the run in {out}.")
    else:
        say(f"Training {resolved.name} into {out}.")
    with training_callbacks() as callbacks:
        trained = api.train(resolved, out=out, strategy=strategy, fresh=fresh, callbacks=callbacks)
    if trained is None:
        say("This worker is done; the chief has the metrics.")
        return
    result(trained, as_json, metric_lines(trained))
    if "method" in trained:  # Runs of earlier versions do not say.
        say(f"{trained['method']['line']} {_against_baseline(resolved, trained['accuracy'])}".strip())
    if is_verbose() and trained.get("method", {}).get("modules"):
        say("\n".join(_method_table(trained["method"]["modules"])))
    say(f"Run directory: {out}")
    next_command(f"dreal-tf evaluate {shlex.quote(str(out))}")


def _method_table(modules):
    """A row for each module: its actor gradient, a fraction of the task gradient, and its trust."""
    rows = []
    for name, values in modules.items():
        trust = "off" if values["trust"] is None else f"{values['trust']:.2f}"
        rows.append((name, f"{values['actor_grad_ratio']:.3f}", trust))
    return table_lines(["module", "actor gradient / task gradient", "trust"], rows)


def _against_baseline(recipe, accuracy):
    """The accuracy compared with that of the finished baseline of the recipe, if it has been run."""
    if not recipe.dreal.enabled or recipe.attention.kind == "none":
        return ""
    baseline = recipe.replace({"dreal.enabled": False})
    run = RunDirectory(default_run_folder(baseline))
    if not run.finished or recipe_differences(run.read_recipe(), baseline):
        return "Accuracy against the baseline: not compared; run with --baseline."
    difference = 100 * (accuracy - run.read_metrics()["accuracy"])
    return f"Accuracy against the baseline in {run.path}: {difference:+.2f} points, one pair of runs."


def resolve(recipe, smoke=False, changes=(), baseline=False, seed=None, data_dir=None):
    """The recipe that the options of the command line describe.

    Args:
        recipe: str, name or path.
        changes: sequence of str "path=value".
        smoke, baseline, seed, data_dir: see `dreal_tf.training.recipe_files.resolve_recipe`.
    Returns:
        `dreal_tf.Recipe`.
    Raises:
        InputError: if a name is unknown or a value is not valid.
    Example:
        >>> resolve("digits_resnet8_se", changes=["schedule.epochs=2"]).schedule.epochs
        2
    """
    fields = {}
    for change in changes:
        path, equals, value = change.partition("=")
        if not equals:
            raise InputError(
                f"Expected --set path=value. Received: {change!r}. Write for example "
                "--set schedule.epochs=5."
            )
        fields[path.strip()] = value
    return resolve_recipe(recipe, smoke, fields, baseline, seed, data_dir)
