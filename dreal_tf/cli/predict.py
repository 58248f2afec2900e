"""`dreal-tf predict`."""

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf import api
from dreal_tf.cli.output import csv_lines, next_command, result, say, say_skipped, shown


def predict(
    model: Annotated[Path, typer.Argument(help="Run directory, .keras file or exported folder.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, and folders of them.")],
    top: Annotated[int, typer.Option(help="Classes to name for each image.")] = 1,
    data: Annotated[
        Optional[str], typer.Option(help="Recipe whose data a .keras file was trained on.")
    ] = None,
    data_dir: Annotated[
        Optional[str], typer.Option(help="Folder of that data, or a run's. [default: the recipe's]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, not CSV.")] = False,
):
    """Predict the classes of images: CSV of image, class and probability."""
    predicted = api.predict(
        model,
        images,
        top=top,
        data=data,
        data_dir=data_dir,
        progress=partial(shown, description="Predicting"),
    )
    say_skipped(predicted.skipped)
    say(f"{len(predicted.predictions)} images, {len(predicted.skipped)} skipped.")
    rows = ((image, *named) for image, classes in predicted.predictions for named in classes)
    lines = csv_lines(["image", "class", "probability"], rows)
    result(predicted.as_dict(), as_json, lines)
    next_command(f"dreal-tf predict {shlex.quote(str(model))} IMAGES --top 5 --json")
