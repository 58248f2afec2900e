"""Writes the report of a run: the page, and beside it every figure and all numbers."""

import json
import os
import tempfile
from pathlib import Path

from dreal_tf.analysis.report.channels import channels_section
from dreal_tf.analysis.report.critics import critics_section
from dreal_tf.analysis.report.gathering import gather
from dreal_tf.analysis.report.inputs import NOTE, check_inputs
from dreal_tf.analysis.report.learning import learning_section
from dreal_tf.analysis.report.maps import maps_section
from dreal_tf.analysis.report.mistakes import mistakes_section
from dreal_tf.analysis.report.modules import modules_section
from dreal_tf.analysis.report.page import page_text
from dreal_tf.analysis.report.rankings import rankings_section
from dreal_tf.analysis.report.record import cost_section, environment_section, recipe_section
from dreal_tf.analysis.report.summary import headline, summary_section
from dreal_tf.training.run_directory import full_disk_said
from dreal_tf.visualization.style import LIGHT, as_png, as_svg

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


def report(run, against=None, out=None, images=2000, data_dir=None, track=None):
    """Writes one page that shows what a run is, what it is worth, and what its attention does.

    The page needs nothing else: it opens from disk, without a network. Beside it lies a folder of
    the same name with every figure as PNG and SVG and its numbers as CSV.

    Args:
        run: str or path of a finished run.
        against: str or path of its baseline, or None.
        out: str or path of the page; None for `report.html` in the run.
        images: int. Test images that attention is measured on, drawn by the run's seed.
        data_dir: str, path or None. Where the data lies now; None for where the run found it.
        track: callable (items, what is done with them, their number or None) that passes on the items
            while it shows progress, or None.
    Returns:
        Dict: `page` and `folder` (str), `figures` and `tables` (names of the files, without ending),
        `left_out` (dict from a section that cannot be drawn to the reason), `accuracy`, and with a
        baseline `baseline_accuracy` and `difference`. `numbers.json` in the folder holds it too.
    Raises:
        InputError: if no report can be made of the run, or not beside the other; nothing is written.
    """
    page, folder = check_inputs(run, against, out, images)
    evidence = gather(run, against, images, data_dir, track)
    made = (make(evidence) for make in SECTIONS)
    sections = [section for section in made if section is not None]
    found = {
        "page": str(page),
        "folder": str(folder),
        "figures": [p.numbers.name for section in sections for p in section.pictures],
        "tables": [table.name for section in sections for table in section.tables],
        "left_out": {section.name: section.text[0] for section in sections if section.left_out},
    } | headline(evidence)
    text = page_text(evidence.ours.recipe.name, _subtitle(evidence), sections, folder.name)
    with full_disk_said(page.parent):
        _write(page, folder, text, sections, found)
    return found


def _write(page, folder, text, sections, found):
    """Writes all beside where it belongs, then puts it there in place of an earlier report."""
    with tempfile.TemporaryDirectory(dir=page.parent, prefix=".report-") as partial:
        new_page, new_folder = Path(partial, "new.html"), Path(partial, "new")
        new_page.write_text(text, encoding="utf-8")
        new_folder.mkdir()
        for section in sections:
            for picture in section.pictures:
                _write_picture(picture, new_folder)
            for table in section.tables:
                (new_folder / f"{table.name}.csv").write_text(
                    table.csv(), encoding="utf-8", newline="\n"
                )
        (new_folder / NOTE).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            os.replace(folder, Path(partial, "old"))
        os.replace(new_folder, folder)
        os.replace(new_page, page)


def _write_picture(picture, folder):
    name = picture.numbers.name
    (folder / f"{name}.png").write_bytes(as_png(picture.figure, ground=LIGHT.ground))
    (folder / f"{name}.svg").write_text(as_svg(picture.figure, LIGHT.ground), encoding="utf-8")
    (folder / f"{name}.csv").write_text(picture.numbers.csv(), encoding="utf-8", newline="\n")


def _subtitle(evidence):
    beside = f", beside {evidence.baseline.path}" if evidence.baseline is not None else ""
    return f"{evidence.ours.path}{beside}"
