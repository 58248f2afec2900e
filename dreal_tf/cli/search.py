"""`dreal-tf search`."""

import csv
import io
import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dreal_tf.cli.output import import_quietly, left_out, next_command, result, shown
from dreal_tf.errors import check_at_least_one


def search(
    index: Annotated[Path, typer.Argument(help="Folder that `dreal-tf index` wrote.")],
    images: Annotated[list[Path], typer.Argument(help="Queries: image files, and folders of them.")],
    top: Annotated[int, typer.Option(help="Images to find for each query.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, not CSV.")] = False,
):
    """Find the nearest images: CSV of query, rank, image and cosine distance."""
    check_at_least_one(top=top)
    image_index = import_quietly("dreal_tf.deployment.image_index")
    found, broken = image_index.ImageIndex(index).search(
        images, top, partial(shown, description="Searching")
    )
    skipped = left_out(broken)
    values = {
        "queries": [
            {
                "query": one.query,
                "images": [{"image": image, "distance": distance} for image, distance in one.images],
            }
            for one in found
        ],
        "skipped": skipped,
    }
    result(values, as_json, found_lines(found))
    next_command(f"dreal-tf search {shlex.quote(str(index))} IMAGES --top 50 --json")


def found_lines(found):
    """What was found as lines of CSV, one for each query and image, nearest first.

    Args:
        found: sequence of `dreal_tf.deployment.image_index.Found`.
    Returns:
        List of str.
    Example:
        >>> from dreal_tf.deployment.image_index import Found
        >>> found_lines([Found("a.png", [("b.png", 0.25)])])
        ['query,rank,image,distance', 'a.png,1,b.png,0.250000']
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["query", "rank", "image", "distance"])
    for one in found:
        for rank, (image, distance) in enumerate(one.images, start=1):
            writer.writerow([one.query, rank, image, f"{distance:.6f}"])
    return text.getvalue().splitlines()
