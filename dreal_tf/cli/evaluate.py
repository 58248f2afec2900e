"""The verb `evaluate`."""

import shlex
from typing import Annotated

from typer import Option

from dreal_tf import api
from dreal_tf.cli.options import Json, Plugins, Run, RunDataDir
from dreal_tf.cli.output import metric_lines, next_command, result
from dreal_tf.training.run_directory import RunDirectory


def evaluate(
    run: Run,
    data_dir: RunDataDir = None,
    metric: Annotated[
        str | None, Option(help="Distance between embeddings, cosine or euclidean. [default: cosine]")
    ] = None,
    flip: Annotated[
        bool, Option("--flip", help="Average the embeddings of each image and its mirror image.")
    ] = False,
    expansion: Annotated[int, Option(help="Number of nearest images that expand a query.", min=0)] = 0,
    rerank: Annotated[bool, Option("--rerank", help="Re-rank by k-reciprocal neighbours.")] = False,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Print the metrics of a run's best weights on the test split.

    --metric, --flip, --expansion and --rerank apply to runs on identities only.
    """
    metrics = api.evaluate(
        run, data_dir=data_dir, metric=metric, flip=flip, expansion=expansion, rerank=rerank
    )
    result(metrics, as_json, metric_lines(metrics))
    recipe = RunDirectory(run).read_recipe()
    other = "--baseline" if recipe.dreal.enabled else "--set dreal.enabled=true"
    if recipe.attention.kind == "none":
        other = "--set attention.kind=se --set dreal.enabled=true"
    next_command(f"dreal-tf train {shlex.quote(str(run / 'recipe.json'))} {other}")
