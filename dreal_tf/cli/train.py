"""`dreal-tf train`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf import api
from dreal_tf.cli.output import metric_lines, next_command, result, say, training_callbacks
from dreal_tf.errors import InputError
from dreal_tf.training.recipe_files import default_run_folder, resolve_recipe
from dreal_tf.training.run_directory import RunDirectory


def train(
    recipe: Annotated[str, typer.Argument(help="Bundled name, .py recipe, or recipe.json of a run.")],
    baseline: Annotated[
        bool, typer.Option("--baseline", help="The same recipe without the method.")
    ] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="Shrink the recipe to seconds.")] = False,
    changes: Annotated[
        Optional[list[str]],
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field; repeatable."),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(help="Run directory. [default: runs/<recipe>[_baseline]_seed<N>]"),
    ] = None,
    data_dir: Annotated[
        Optional[str], typer.Option(help="Folder of the data. [default: recipe's]")
    ] = None,
    strategy: Annotated[str, typer.Option(help="auto, none, mirrored, multi_worker or tpu.")] = "auto",
    seed: Annotated[Optional[int], typer.Option(help="Seed of the run. [default: recipe's]")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Move a run found in --out aside; begin anew.")
    ] = False,
    print_recipe: Annotated[
        bool, typer.Option("--print-recipe", help="Print the resolved recipe as JSON and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics as one JSON object.")] = False,
):
    """Train a recipe; an interrupted run found in --out goes on."""
    resolved = resolve(recipe, smoke, changes or [], baseline, seed, data_dir)
    if print_recipe:
        sys.stdout.write(resolved.to_json())
        return
    out = out or default_run_folder(resolved)
    run = RunDirectory(out)
    if run.finished and not fresh:
        say(f"{out} holds a finished run; it is left alone. --fresh begins anew.")
    elif run.started and not fresh:
        say(f"Going on with the run in {out}.")
    else:
        say(f"Training {resolved.name} into {out}.")
    with training_callbacks() as callbacks:
        trained = api.train(resolved, out=out, strategy=strategy, fresh=fresh, callbacks=callbacks)
    if trained is None:
        say("This worker is done; the chief has the metrics.")
        return
    result(trained, as_json, metric_lines(trained))
    say(f"Run directory: {out}")
    next_command(f"dreal-tf evaluate {shlex.quote(str(out))}")


def resolve(recipe, smoke=False, changes=(), baseline=False, seed=None, data_dir=None):
    """The recipe that the options of the command line describe.

    Args:
        recipe: str, name or path.
        smoke: bool. Shrink it.
        changes: sequence of str "path=value".
        baseline: bool. Without the method.
        seed: int or None for the recipe's own.
        data_dir: path or None for the recipe's own. Kept whole, as the run may be read elsewhere.
    Returns:
        `dreal_tf.Recipe`.
    Raises:
        InputError: if something is unknown or does not fit.
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
