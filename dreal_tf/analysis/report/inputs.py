"""Whether a report can be made of a run, and beside which other; said before TensorFlow is loaded."""

import csv
import os
from pathlib import Path

from dreal_tf.analysis.sources import check_images
from dreal_tf.errors import InputError
from dreal_tf.training.run_directory import RunDirectory

# What of a recipe says which test images there are; the last three of generated images alone.
SAME = ("name", "image_size")
SAME_GENERATED = (*SAME, "shape", "classes", "images")
TEST = ("test", "query", "gallery")  # The splits of splits.csv that scores are of.
NOTE = "numbers.json"  # In a report's folder: its results, and the sign that the folder is a report's.


def check_inputs(run, against=None, out=None, images=2000):
    """Refuses what no report can be made of; writes nothing.

    Args:
        run: str or path of a run directory.
        against: str or path of another, or None.
        out: str or path of the page to be written, or None for `report.html` in the run.
        images: int. Test images that attention is measured on.
    Returns:
        Path of the page, and path of the folder beside it.
    Raises:
        InputError: if a run is missing, unfinished, without history or without attention, if the two
            are one, of other data or scored on other images, or if something else lies where the report would.
    """
    check_images(images)
    ours = _checked_run(run)
    if ours.read_recipe().attention.kind == "none":
        raise InputError(
            f"Expected a run whose network has attention. Received: {str(ours.path)!r}, trained with "
            "attention.kind='none'. Name one that has, and this one with --against."
        )
    if against is not None:
        other = _checked_run(against)
        if other.path.resolve() == ours.path.resolve():
            raise InputError(
                f"Expected another run to compare with. Received: --against {str(other.path)!r}, which "
                "is the run itself. Name its baseline, trained with --baseline."
            )
        _check_same_data(ours, other)
    page = Path(out) if out is not None else ours.path / "report.html"
    return page, _checked_folder(page)


def _checked_run(path):
    run = RunDirectory(path)
    run.read_recipe()
    run.read_metrics()  # Refuses a run that has not ended.
    rows = run.history.read_text(encoding="utf-8").splitlines() if run.history.is_file() else []
    if len(rows) < 2:  # The first names the columns.
        found = "which is empty" if run.history.is_file() else "which is not there"
        raise InputError(
            f"Expected the history of a run, a row an epoch. Received: {str(run.history)!r}, {found}. "
            "Copy the whole run directory, or train it again with --fresh."
        )
    return run


def _check_same_data(ours, other):
    data, other_data = ours.read_recipe().data, other.read_recipe().data
    fields = SAME_GENERATED if data.name == "generated" else SAME
    differ = [f for f in fields if getattr(data, f) != getattr(other_data, f)]
    names = [run.class_names for run in (ours, other)]
    if not differ and None not in names and names[0] != names[1]:
        shown = [", ".join(some[:5]) + (", …" if some[5:] else "") for some in names]
        raise InputError(
            f"Expected a run on the same classes to compare with. Received: {len(names[1])} classes "
            f"({shown[1]}) in {str(other.path)!r}, {len(names[0])} ({shown[0]}) in "
            f"{str(ours.path)!r}. Name one that was trained on the same data."
        )
    if differ:
        said = ", ".join(f"data.{f}={getattr(other_data, f)!r}" for f in differ)
        own = ", ".join(f"data.{f}={getattr(data, f)!r}" for f in differ)
        raise InputError(
            f"Expected a run on the same data to compare with. Received: {said} in "
            f"{str(other.path)!r}, {own} in {str(ours.path)!r}. Name one that was trained on the same "
            "data."
        )
    if ours.recorded_splits and other.recorded_splits:
        _check_same_test_images(ours, other)


def _test_images(run):
    """The SHA-256 of the images that scores are of, by path."""
    with run.splits.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return {row["path"]: row["sha256"] for row in csv.DictReader(file) if row.get("split") in TEST}


def _check_same_test_images(ours, other):
    images, other_images = _test_images(ours), _test_images(other)
    both = images.keys() & other_images.keys()
    # Without a hash the path has to do.
    changed = [n for n in both if images[n] and other_images[n] and images[n] != other_images[n]]
    differ = [*(images.keys() ^ other_images.keys()), *changed]
    if differ:
        raise InputError(
            f"Expected a run with the same test images to compare with. Received: {str(other.path)!r}, "
            f"whose splits.csv differs from that of {str(ours.path)!r} in {len(differ)} of them, such as "
            f"{min(differ)!r}. Train one of the two again on the files of the other, with --fresh."
        )


def _checked_folder(page):
    """The folder of figures; what lies there already must be an earlier report's."""
    if page.suffix.lower() not in (".html", ".htm"):
        raise InputError(
            f"Expected a page to write, such as report.html. Received: {str(page)!r}. End --out with "
            ".html."
        )
    if not page.parent.is_dir() or page.is_dir() or not os.access(page.parent, os.W_OK):
        found = "whose folder does not exist, or cannot be written"
        raise InputError(
            f"Expected a file in a folder that can be written. Received: {str(page)!r}, "
            f"{'a folder' if page.is_dir() else found}. Choose another --out."
        )
    folder = page.with_suffix("")
    if (folder.exists() or page.exists()) and not (folder / NOTE).is_file():
        there = folder if folder.exists() else page
        raise InputError(
            f"Expected a new place for the report, or that of an earlier one. Received: {str(there)!r}, "
            "which is something else. Choose another --out, or move it away."
        )
    return folder
