"""Arguments and options that several verbs share."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf.training.plugins import load_plugins


def _load_plugins(paths):
    load_plugins(paths or ())
    return paths


Run = Annotated[Path, typer.Argument(help="Run directory.")]
RecipeName = Annotated[str, typer.Argument(help="Bundled name, .py recipe, or recipe.json of a run.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="Shrink the recipe to seconds.")]
Changes = Annotated[
    Optional[list[str]],
    typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the recipe; repeatable."),
]
DataDir = Annotated[Optional[str], typer.Option(help="Folder of the data. [default: the recipe's]")]
RunDataDir = Annotated[Optional[str], typer.Option(help="Folder of the data. [default: the run's]")]
DataRecipe = Annotated[
    Optional[str], typer.Option(help="Recipe of the data that a .keras file was trained on.")
]
TestImages = Annotated[int, typer.Option(help="Maximum number of test images to measure on.")]
Plugins = Annotated[
    Optional[list[str]],
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        help="File that defines `module:name`; repeatable.",
        callback=_load_plugins,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
