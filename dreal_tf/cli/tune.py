"""The verb `tune`."""

import shlex
from pathlib import Path
from typing import Annotated

from typer import Option

from dreal_tf import api
from dreal_tf.cli.options import Changes, DataDir, Json, Plugins, RecipeName, Seed, Strategy
from dreal_tf.cli.output import next_command, result, say
from dreal_tf.cli.train import resolve
from dreal_tf.experiments.search import default_search_folder, load_space


def tune(
    recipe: RecipeName,
    space: Annotated[str, Option(help="Search space: attention, method, optimizer, or a .py file.")],
    trials: Annotated[
        int, Option(min=1, help="Number of trials, besides the runs without the method.")
    ] = 20,
    tuner: Annotated[str, Option(help="Search algorithm: random, bayesian or hyperband.")] = "bayesian",
    objective: Annotated[str, Option(help="Logged validation quantity to optimise.")] = "val_accuracy",
    patience: Annotated[
        int | None,
        Option(min=1, help="End a trial after so many epochs without a better value. [default: never]"),
    ] = None,
    out: Annotated[
        Path | None,
        Option(help="Folder of the search. [default: searches/<recipe>_<space>_<tuner>_seed<N>]"),
    ] = None,
    smoke: Annotated[
        bool, Option("--smoke", help="Shrink recipe and space to seconds a trial.")
    ] = False,
    changes: Changes = None,
    data_dir: DataDir = None,
    strategy: Strategy = "auto",
    seed: Seed = None,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Search for the best settings of a recipe.

    Repeat the command to continue the search in --out.
    """
    resolved = resolve(recipe, smoke, changes or [], seed=seed, data_dir=data_dir)
    out = out or default_search_folder(resolved, space, tuner)
    results = api.tune(
        resolved,
        space=load_space(space, smoke),
        trials=trials,
        tuner=tuner,
        objective=objective,
        patience=patience,
        out=out,
        strategy=strategy,
        say=say,
    )
    if results is None:
        say("This worker is done; the chief has the results.")
        return
    lines = [results.title(resolved.name), "", *results.runs_table().terminal(), results.note(), ""]
    result(results.to_json(), as_json, lines + results.trials_table(narrow=True).terminal())
    say(f"Trials, table and figure: {out}")
    say(f"TensorBoard: tensorboard --logdir {shlex.quote(str(out / 'tensorboard'))}")
    next_command(f"dreal-tf train {shlex.quote(str(out / 'best' / 'recipe.json'))}")
