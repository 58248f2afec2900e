"""`dreal-tf search`."""

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dreal_tf import api
from dreal_tf.cli.output import csv_lines, next_command, result, say_skipped, shown


def search(
    index: Annotated[Path, typer.Argument(help="Folder that `dreal-tf index` wrote.")],
    images: Annotated[list[Path], typer.Argument(help="Queries: image files, and folders of them.")],
    top: Annotated[int, typer.Option(help="Images to find for each query.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, not CSV.")] = False,
):
    """Find the nearest images: CSV of query, rank, image and cosine distance."""
    matches = api.search(index, images, top=top, progress=partial(shown, description="Searching"))
    say_skipped(matches.skipped)
    rows = (
        (query, rank, *match)
        for query, nearest in matches.queries
        for rank, match in enumerate(nearest, start=1)
    )
    result(matches.as_dict(), as_json, csv_lines(["query", "rank", "image", "distance"], rows))
    next_command(f"dreal-tf search {shlex.quote(str(index))} IMAGES --top 50 --json")
