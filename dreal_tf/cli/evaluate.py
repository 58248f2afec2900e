"""`dreal-tf evaluate`."""

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf.cli.output import import_quietly, metric_lines, next_command, result
from dreal_tf.errors import InputError
from dreal_tf.training.run_directory import RunDirectory

METRICS = ("cosine", "euclidean")


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    data_dir: Annotated[
        Optional[str], typer.Option(help="Folder of the data. [default: the run's]")
    ] = None,
    metric: Annotated[
        Optional[str],
        typer.Option(help="Of runs on identities: cosine or euclidean. [default: cosine]"),
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Of those: embed each image and its mirror image.")
    ] = False,
    expansion: Annotated[
        int, typer.Option(help="Of those: images found first that join a query.", min=0)
    ] = 0,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Of those: re-rank by k-reciprocal neighbours.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics as one JSON object.")] = False,
):
    """Print the metrics of a run's best weights on the test split."""
    recipe = RunDirectory(run).read_recipe()  # Bad input is met before TensorFlow is loaded.
    if metric not in (None, *METRICS):
        raise InputError(
            f"Expected --metric {' or '.join(METRICS)}. Received: {metric!r}. Choose one of these."
        )
    ranking = {"metric": metric, "flip": flip, "expansion": expansion, "rerank": rerank}
    ranking = {name: value for name, value in ranking.items() if value}
    metrics = import_quietly("dreal_tf.training.train").evaluate(run, data_dir, ranking)
    result(metrics, as_json, metric_lines(metrics))
    other = "--baseline" if recipe.dreal.enabled else "--set dreal.enabled=true"
    if recipe.attention.kind == "none":
        other = "--set attention.kind=se --set dreal.enabled=true"
    path = shlex.quote(str(run / "recipe.json"))
    next_command(f"dreal-tf train {path} {other}")
