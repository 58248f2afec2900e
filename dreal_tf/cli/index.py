"""`dreal-tf index`."""

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf import api
from dreal_tf.cli.output import next_command, result, say_skipped, shown


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
    built = api.index(
        model,
        images,
        out=out,
        approximate=approximate,
        data=data,
        data_dir=data_dir,
        progress=partial(shown, description="Embedding"),
    )
    say_skipped(built.skipped)
    counts = f"{built.images} images, {built.dimensions} dimensions, {len(built.skipped)} skipped."
    result(built.as_dict(), as_json, [f"{out}: {counts}"])
    next_command(f"dreal-tf search {shlex.quote(str(out))} IMAGE")
