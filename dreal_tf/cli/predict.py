"""The verb `predict`."""

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from dreal_tf import api
from dreal_tf.cli.options import DataRecipe, Json, Plugins, RunDataDir
from dreal_tf.cli.output import csv_lines, next_command, result, say, say_skipped, shown


def predict(
    model: Annotated[Path, Argument(help="Run directory, .keras file or exported folder.")],
    images: Annotated[list[Path], Argument(help="Image files and folders.")],
    top: Annotated[int, Option(help="Number of classes for each image.")] = 1,
    data: DataRecipe = None,
    data_dir: RunDataDir = None,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Predict the classes of images.

    Prints CSV with image, class and probability.
    """
    progress = partial(shown, description="Predicting")
    predicted = api.predict(model, images, top=top, data=data, data_dir=data_dir, progress=progress)
    say_skipped(predicted.skipped)
    count = len(predicted.predictions)
    say(f"{count} image{'s' * (count != 1)}, {len(predicted.skipped)} skipped.")
    rows = ((image, *named) for image, classes in predicted.predictions for named in classes)
    result(predicted.as_dict(), as_json, csv_lines(["image", "class", "probability"], rows))
    next_command(f"dreal-tf predict {shlex.quote(str(model))} IMAGES --top 5 --json")
