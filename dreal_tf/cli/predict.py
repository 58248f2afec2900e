"""`dreal-tf predict`."""

import csv
import io
import shlex
from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf.cli.output import import_quietly, left_out, next_command, result, say, shown
from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.training.recipe_files import load_recipe


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
    """Say what images show: CSV of image, class and probability."""
    if not model.exists():
        raise InputError(
            f"Expected a run, a .keras file or an export. Received: {str(model)!r}, which does not "
            "exist. Check the path."
        )
    check_at_least_one(top=top)
    recipe = load_recipe(data).reading(data_dir) if data else None
    prediction = import_quietly("dreal_tf.deployment.prediction")

    predictor = prediction.load_predictor(model, recipe, data_dir)
    predictions, broken = prediction.predict(
        predictor, images, top, partial(shown, description="Predicting")
    )
    skipped = left_out(broken)
    say(f"{len(predictions)} images, {len(broken)} left out.")
    classes = [
        [{"class": name, "probability": probability} for name, probability in found.classes]
        for found in predictions
    ]
    values = {
        "predictions": [
            {"image": found.image, "classes": named}
            for found, named in zip(predictions, classes, strict=True)
        ],
        "skipped": skipped,
    }
    result(values, as_json, csv_lines(predictions))
    next_command(f"dreal-tf predict {shlex.quote(str(model))} IMAGES --top 5 --json")


def csv_lines(predictions):
    """Predictions as lines of CSV, one for each image and class, likeliest first.

    Args:
        predictions: sequence of `dreal_tf.deployment.prediction.Prediction`.
    Returns:
        List of str.
    Example:
        >>> from dreal_tf.deployment.prediction import Prediction
        >>> csv_lines([Prediction("a, b.png", [("cat", 0.75)])])
        ['image,class,probability', '"a, b.png",cat,0.750000']
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "class", "probability"])
    for found in predictions:
        writer.writerows([found.image, name, f"{value:.6f}"] for name, value in found.classes)
    return text.getvalue().splitlines()
