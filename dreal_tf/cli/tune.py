"""`dreal-tf tune`."""

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf import api
from dreal_tf.cli.output import next_command, result, say
from dreal_tf.cli.train import resolve
from dreal_tf.experiments.search import default_search_folder, load_space


def tune(
    recipe: Annotated[str, typer.Argument(help="Bundled name, .py recipe, or recipe.json of a run.")],
    space: Annotated[
        str, typer.Option(help="Fields to search: attention, method, optimizer, or a .py space.")
    ],
    trials: Annotated[
        int, typer.Option(min=1, help="Number of trials; the runs without the method come on top.")
    ] = 20,
    tuner: Annotated[str, typer.Option(help="random, bayesian or hyperband.")] = "bayesian",
    objective: Annotated[
        str, typer.Option(help="Logged quantity of validation data to optimise.")
    ] = "val_accuracy",
    patience: Annotated[
        Optional[int],
        typer.Option(
            min=1, help="Epochs without a better value after which a trial ends. [default: none]"
        ),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(help="Folder. [default: searches/<recipe>_<space>_<tuner>_seed<N>]"),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Shrink recipe and space to seconds a trial.")
    ] = False,
    changes: Annotated[
        Optional[list[str]],
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field of all; repeatable."),
    ] = None,
    data_dir: Annotated[
        Optional[str], typer.Option(help="Folder of the data. [default: recipe's]")
    ] = None,
    strategy: Annotated[
        str, typer.Option(help="Strategy of each trial: auto, none, mirrored or tpu.")
    ] = "auto",
    seed: Annotated[
        Optional[int], typer.Option(help="Seed of runs and search. [default: recipe's]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results as one JSON object.")] = False,
):
    """Search for a recipe's best settings; repeat the command to continue the search in --out."""
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
