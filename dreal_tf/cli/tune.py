"""The verb `tune`."""

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf import api
from dreal_tf.cli.options import Changes, DataDir, Json, Plugins, RecipeName
from dreal_tf.cli.output import next_command, result, say
from dreal_tf.cli.train import resolve
from dreal_tf.experiments.search import default_search_folder
from dreal_tf.experiments.space import load_space


def tune(
    recipe: RecipeName,
    space: Annotated[
        str, typer.Option(help="Search space: attention, method, optimizer, or a .py file.")
    ],
    trials: Annotated[
        int, typer.Option(min=1, help="Number of trials, besides the runs without the method.")
    ] = 20,
    tuner: Annotated[
        str, typer.Option(help="Search algorithm: random, bayesian or hyperband.")
    ] = "bayesian",
    objective: Annotated[
        str, typer.Option(help="Logged validation quantity to optimise.")
    ] = "val_accuracy",
    patience: Annotated[
        Optional[int],
        typer.Option(
            min=1, help="End a trial after so many epochs without a better value. [default: never]"
        ),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(help="Folder of the search. [default: searches/<recipe>_<space>_<tuner>_seed<N>]"),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Shrink recipe and space to seconds a trial.")
    ] = False,
    changes: Changes = None,
    data_dir: DataDir = None,
    strategy: Annotated[
        str, typer.Option(help="Strategy of each trial: auto, none, mirrored or tpu.")
    ] = "auto",
    seed: Annotated[
        Optional[int], typer.Option(help="Seed of the runs and the search. [default: the recipe's]")
    ] = None,
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
