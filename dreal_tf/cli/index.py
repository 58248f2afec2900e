"""The verbs `index` and `search`."""

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from dreal_tf import api
from dreal_tf.cli.options import DataRecipe, Json, Plugins, RunDataDir
from dreal_tf.cli.output import csv_lines, next_command, result, say_skipped, shown


def index(
    model: Annotated[Path, Argument(help="Run directory or .keras file.")],
    images: Annotated[list[Path], Argument(help="Image files and folders.")],
    out: Annotated[Path, Option(help="New folder for the index.")],
    approximate: Annotated[
        bool, Option("--approximate", help="Build a graph by faiss, for a million images and more.")
    ] = False,
    data: DataRecipe = None,
    data_dir: RunDataDir = None,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Embed images and index them for `search`."""
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
    counts = f"{built.images} image{'s' * (built.images != 1)}, {built.dimensions} dimensions, {len(built.skipped)} skipped."
    result(built.as_dict(), as_json, [f"{out}: {counts}"])
    next_command(f"dreal-tf search {shlex.quote(str(out))} IMAGE")


def search(
    index: Annotated[Path, Argument(help="Folder that `dreal-tf index` wrote.")],
    images: Annotated[list[Path], Argument(help="Queries: image files and folders.")],
    top: Annotated[int, Option(help="Number of images to find for each query.")] = 10,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Find the nearest images of an index.

    Prints CSV with query, rank, image and cosine distance.
    """
    matches = api.search(index, images, top=top, progress=partial(shown, description="Searching"))
    say_skipped(matches.skipped)
    rows = (
        (query, rank, *match)
        for query, nearest in matches.queries
        for rank, match in enumerate(nearest, start=1)
    )
    result(matches.as_dict(), as_json, csv_lines(["query", "rank", "image", "distance"], rows))
    next_command(f"dreal-tf search {shlex.quote(str(index))} IMAGES --top 50 --json")
