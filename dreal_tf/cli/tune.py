"""`dreal-tf tune`."""

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf.cli.output import import_quietly, next_command, result, say
from dreal_tf.cli.train import resolve
from dreal_tf.experiments.tuning import Search
from dreal_tf.experiments.tuning.directory import SearchDirectory
from dreal_tf.experiments.tuning.files import load_space


def tune(
    recipe: Annotated[str, typer.Argument(help="Bundled name, .py recipe, or recipe.json of a run.")],
    space: Annotated[
        str, typer.Option(help="What to search: attention, method, optimizer, or a .py space.")
    ],
    trials: Annotated[
        int, typer.Option(min=1, help="Trials, beside the runs without the method.")
    ] = 20,
    tuner: Annotated[str, typer.Option(help="random, bayesian or hyperband.")] = "bayesian",
    objective: Annotated[
        str, typer.Option(help="Logged quantity of validation data to make best.")
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
    strategy: Annotated[str, typer.Option(help="Of each trial: auto, none, mirrored or tpu.")] = "auto",
    seed: Annotated[
        Optional[int], typer.Option(help="Seed of runs and search. [default: recipe's]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results as one JSON object.")] = False,
):
    """Search for a recipe's best settings; repeated, it goes on with the search in --out."""
    resolved = resolve(recipe, smoke, changes or [], seed=seed, data_dir=data_dir)
    search = Search(resolved, load_space(space, smoke), tuner, objective, patience, strategy)
    out = out or default_folder(resolved, space, tuner)
    search.check()
    SearchDirectory(out).check(search.settings())
    found = import_quietly("dreal_tf.experiments.tuning.runner").tune(search, out, trials, say)
    if found is None:
        say("This worker is done; the chief has the results.")
        return
    table = import_quietly("dreal_tf.experiments.tuning.results").table_lines(found, resolved.name)
    result(found, as_json, table)
    say(f"Trials, table and figure: {out}")
    say(f"TensorBoard: tensorboard --logdir {shlex.quote(str(out / 'tensorboard'))}")
    next_command(f"dreal-tf train {shlex.quote(str(out / 'best' / 'recipe.json'))}")


def default_folder(recipe, space, tuner):
    """Where a search goes when nothing is said.

    Args:
        recipe: `dreal_tf.Recipe`.
        space: str, name or path.
        tuner: str.
    Returns:
        Path.
    Example:
        >>> print(default_folder(resolve("digits_resnet8_se"), "method", "random").as_posix())
        searches/digits_resnet8_se_method_random_seed0
    """
    return Path("searches") / f"{recipe.name}_{Path(space).stem}_{tuner}_seed{recipe.run.seed}"
