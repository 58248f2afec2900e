"""`dreal-tf benchmark`."""

import shlex
from typing import Annotated, Optional

import typer

from dreal_tf.cli.output import import_quietly, next_command, result, say
from dreal_tf.cli.train import resolve
from dreal_tf.errors import check_at_least_one


def benchmark(
    recipe: Annotated[str, typer.Argument(help="Bundled name, .py recipe, or recipe.json of a run.")],
    smoke: Annotated[bool, typer.Option("--smoke", help="Shrink the recipe to seconds.")] = False,
    changes: Annotated[
        Optional[list[str]],
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field; repeatable."),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Turns of every arm.")] = 15,
    data_dir: Annotated[
        Optional[str], typer.Option(help="Folder of the data. [default: made-up images]")
    ] = None,
    strategy: Annotated[str, typer.Option(help="auto, none, mirrored or tpu.")] = "auto",
    memory: Annotated[bool, typer.Option(help="Measure memory too, in processes of its own.")] = True,
    processes: Annotated[int, typer.Option(help="Of every arm, whose median its memory is.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
):
    """Measure what the method costs against the plain network: time, memory, and where it goes."""
    check_at_least_one(rounds=rounds, processes=processes)
    resolved = resolve(recipe, smoke, changes or [])
    measuring = import_quietly("dreal_tf.analysis.benchmark")
    strategies = import_quietly("dreal_tf.training.strategies")
    with strategies.strategy_named(strategy).scope():
        found = measuring.benchmark(resolved, rounds, data_dir, processes * memory, say)
    lines = import_quietly("dreal_tf.analysis.benchmark")
    result(found, as_json, lines.benchmark_lines(found))
    next_command(f"dreal-tf train {shlex.quote(recipe)}")
