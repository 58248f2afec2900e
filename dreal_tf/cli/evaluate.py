"""`dreal-tf evaluate`."""

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf import api
from dreal_tf.cli.output import metric_lines, next_command, result
from dreal_tf.training.run_directory import RunDirectory


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    data_dir: Annotated[
        Optional[str], typer.Option(help="Folder of the data. [default: the run's]")
    ] = None,
    metric: Annotated[
        Optional[str],
        typer.Option(help="For runs on identities: cosine or euclidean. [default: cosine]"),
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="For those: embed each image and its mirror image.")
    ] = False,
    expansion: Annotated[
        int, typer.Option(help="For those: number of first matches that join a query.", min=0)
    ] = 0,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="For those: re-rank by k-reciprocal neighbours.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics as one JSON object.")] = False,
):
    """Print the metrics of a run's best weights on the test split."""
    metrics = api.evaluate(
        run, data_dir=data_dir, metric=metric, flip=flip, expansion=expansion, rerank=rerank
    )
    result(metrics, as_json, metric_lines(metrics))
    recipe = RunDirectory(run).read_recipe()
    other = "--baseline" if recipe.dreal.enabled else "--set dreal.enabled=true"
    if recipe.attention.kind == "none":
        other = "--set attention.kind=se --set dreal.enabled=true"
    path = shlex.quote(str(run / "recipe.json"))
    next_command(f"dreal-tf train {path} {other}")
