"""Writes the report of a run: the page, and beside it every figure and all numbers."""

from pathlib import Path

from dreal_tf.analysis.inputs import NOTE, check_page
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
from dreal_tf.storage import locked, reporting_disk_errors, write_json, write_whole
from dreal_tf.visualization.style import LIGHT, as_png

SECTIONS = (
    summary_section,
    rankings_section,
    modules_section,
    channels_section,
    maps_section,
    critics_section,
    learning_section,
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
    with locked(inputs.page), reporting_disk_errors(inputs.page.parent):
        return _write_report(inputs, gather(inputs, data_dir, track))


def _write_report(inputs, evidence):
    page, folder = inputs.page, inputs.folder
    sections = [section for make in SECTIONS if (section := make(evidence)) is not None]
    result = {
        "page": str(page),
        "folder": str(folder),
        "figures": [picture.numbers.name for section in sections for picture in section.pictures],
        "tables": [table.name for section in sections for table in section.tables],
        "left_out": {section.name: section.text[0] for section in sections if section.empty},
    } | headline(evidence)
    beside = f", beside {evidence.baseline.path}" if evidence.baseline is not None else ""
    subtitle = f"{evidence.ours.recipe.name} · {evidence.ours.path}{beside}"
    text = page_text(Path(evidence.ours.path).resolve().name, subtitle, sections, folder.name)
    folder.mkdir(exist_ok=True)
    for name in _file_names(check_page(page)) - _file_names(result):
        (folder / name).unlink(missing_ok=True)
    write_json(folder / NOTE, result)  # First: it tells whose the folder is.
    pictures = [picture for section in sections for picture in section.pictures]
    for picture in pictures:
        name = picture.numbers.name
        write_whole(folder / f"{name}.png", as_png(picture.figure, ground=LIGHT.ground))
        write_whole(folder / f"{name}.svg", picture.svg)
    tables = [table for section in sections for table in section.tables]
    for table in (*tables, *(picture.numbers for picture in pictures)):
        write_whole(folder / f"{table.name}.csv", table.csv())
    write_whole(page, text.encode(errors="backslashreplace"))  # A path need not be UTF-8.
    return result


def _file_names(result):
    """The files of a report beside its note, from its result."""
    figures, tables = result.get("figures", ()), result.get("tables", ())
    names = {f"{name}.{ending}" for name in figures for ending in ("png", "svg", "csv")}
    return names | {f"{name}.csv" for name in tables}
