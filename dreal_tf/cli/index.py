"""`dreal-tf index`."""

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf.cli.output import import_quietly, left_out, next_command, result, shown
from dreal_tf.training.recipe_files import load_recipe


def index(
    model: Annotated[Path, typer.Argument(help="Run directory, or .keras file.")],
    images: Annotated[list[Path], typer.Argument(help="Folders of images, and image files.")],
    out: Annotated[Path, typer.Option(help="Folder of the index; a new one.")],
    approximate: Annotated[
        bool,
        typer.Option("--approximate", help="For a million images and more: a graph, through faiss."),
    ] = False,
    data: Annotated[
        Optional[str], typer.Option(help="Recipe whose data a .keras file was trained on.")
    ] = None,
    data_dir: Annotated[
        Optional[str], typer.Option(help="Folder of that data, or a run's. [default: the recipe's]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
):
    """Embed a folder of images, to be searched."""
    recipe = load_recipe(data).reading(data_dir) if data else None
    image_index = import_quietly("dreal_tf.deployment.image_index")
    bar = partial(shown, description="Embedding")
    built = image_index.build_index(model, images, out, approximate, recipe, data_dir, bar)
    values = {"index": str(out)} | built | {"skipped": left_out(built["skipped"])}
    counts = f"{built['images']} images, {built['dimensions']} dimensions"
    line = f"{out}: {counts}, {len(built['skipped'])} left out."
    result(values, as_json, [line])
    next_command(f"dreal-tf search {shlex.quote(str(out))} IMAGE")
