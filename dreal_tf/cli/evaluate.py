"""`dreal-tf evaluate`."""

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf.cli.output import metric_lines, next_command, result
from dreal_tf.cli.quiet import import_quietly
from dreal_tf.run_directory import RunDirectory


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    data_dir: Annotated[
        Optional[str], typer.Option(help="Folder of the data. [default: the run's]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics as one JSON object.")] = False,
):
    """Print the metrics of a run's best weights on the test split."""
    recipe = RunDirectory(run).read_recipe()  # Bad input is met before TensorFlow is loaded.
    metrics = import_quietly("dreal_tf.training").evaluate(run, data_dir)
    result(metrics, as_json, metric_lines(metrics))
    other = "--baseline" if recipe.dreal.enabled else "--set dreal.enabled=true"
    path = shlex.quote(str(run / "recipe.json"))
    next_command(f"dreal-tf train {path} {other}")
