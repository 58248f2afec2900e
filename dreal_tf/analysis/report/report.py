"""Writes the report of a run: the page, and beside it every figure and all numbers."""

import json
import os
import tempfile
from pathlib import Path

from dreal_tf.analysis.inputs import NOTE
from dreal_tf.analysis.report.evidence import gather
from dreal_tf.analysis.report.maps import maps_section
from dreal_tf.analysis.report.mistakes import mistakes_section
from dreal_tf.analysis.report.modules import channels_section, modules_section
from dreal_tf.analysis.report.page import page_text
from dreal_tf.analysis.report.rankings import rankings_section
from dreal_tf.analysis.report.summary import (
    cost_section,
    environment_section,
    headline,
    recipe_section,
    summary_section,
)
from dreal_tf.analysis.report.training import critics_section, learning_section
from dreal_tf.training.run_directory import reporting_full_disk
from dreal_tf.visualization.style import LIGHT, as_png

SECTIONS = (
    summary_section,
    learning_section,
    modules_section,
    channels_section,
    rankings_section,
    maps_section,
    critics_section,
    mistakes_section,
    cost_section,
    recipe_section,
    environment_section,
)


def write_report(inputs, data_dir=None, track=None):
    """Writes one page about a run: its accuracy, its cost, and the effect of its attention.

    The page needs nothing else: it opens from disk, without a network. Beside it lies a folder of
    the same name with every figure as PNG and SVG and its numbers as CSV.

    Args:
        inputs: `dreal_tf.analysis.inputs.ReportInputs`.
        data_dir: str, path or None. Folder of the data; None for the run's own.
        track: callable (items, description, their number or None) that passes on the items while it shows
            progress, or None.
    Returns:
        Dict: `page` and `folder` (str), `figures` and `tables` (names of the files, without ending),
        `left_out` (dict from a section without content to the reason), `accuracy`, and with a
        baseline `baseline_accuracy` and `difference`. `numbers.json` in the folder holds it too.
    """
    page, folder = inputs.page, inputs.folder
    evidence = gather(inputs, data_dir, track)
    sections = [section for make in SECTIONS if (section := make(evidence)) is not None]
    result = {
        "page": str(page),
        "folder": str(folder),
        "figures": [picture.numbers.name for section in sections for picture in section.pictures],
        "tables": [table.name for section in sections for table in section.tables],
        "left_out": {section.name: section.text[0] for section in sections if section.empty},
    } | headline(evidence)
    beside = f", beside {evidence.baseline.path}" if evidence.baseline is not None else ""
    subtitle = f"{evidence.ours.path}{beside}"
    text = page_text(evidence.ours.recipe.name, subtitle, sections, folder.name)
    with (
        reporting_full_disk(page.parent),
        tempfile.TemporaryDirectory(dir=page.parent, prefix=".report-") as d,
    ):
        # All is written beside its place, and then put there instead of an earlier report.
        new_page, new_folder, old_folder = (Path(d, name) for name in ("new.html", "new", "old"))
        new_page.write_text(
            text, encoding="utf-8", errors="backslashreplace"
        )  # A path need not be UTF-8.
        _write_files(new_folder, sections, result)
        if folder.exists():
            os.replace(folder, old_folder)
        os.replace(new_folder, folder)
        os.replace(new_page, page)
    return result


def _write_files(folder, sections, result):
    folder.mkdir()
    pictures = [picture for section in sections for picture in section.pictures]
    for picture in pictures:
        name = picture.numbers.name
        (folder / f"{name}.png").write_bytes(as_png(picture.figure, ground=LIGHT.ground))
        (folder / f"{name}.svg").write_text(picture.svg, encoding="utf-8")
    tables = [table for section in sections for table in section.tables]
    for table in (*tables, *(picture.numbers for picture in pictures)):
        (folder / f"{table.name}.csv").write_text(
            table.csv(), encoding="utf-8", errors="surrogateescape", newline="\n"
        )
    (folder / NOTE).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
