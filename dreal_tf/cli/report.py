"""`dreal-tf report`."""

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf import api
from dreal_tf.cli.output import next_command, result, say, shown


def report(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    against: Annotated[
        Optional[Path], typer.Option(metavar="RUN", help="Its baseline, shown beside it.")
    ] = None,
    out: Annotated[
        Optional[Path], typer.Option(metavar="FILE.html", help="[default: report.html in the run]")
    ] = None,
    images: Annotated[int, typer.Option(help="Test images to measure attention on, at most.")] = 2000,
    data_dir: Annotated[
        Optional[str], typer.Option(help="Folder of the data. [default: the run's]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
):
    """Write one HTML page with the figures of a run, beside its baseline."""
    written = api.report(run, against, out=out, images=images, data_dir=data_dir, progress=shown)
    result(written, as_json, report_lines(written))
    for section, why in written["left_out"].items():
        say(f"Left out: {section}. {why}")
    path = shlex.quote(str(run))
    following = f"report {path} --against BASELINE_RUN" if against is None else f"audit {path}"
    next_command(f"dreal-tf {following}")


def report_lines(written):
    """The files of a report, as lines.

    Args:
        written: dict, see `dreal_tf.report`.
    Returns:
        List of str.
    Example:
        >>> report_lines({"page": "run/report.html", "folder": "run/report", "figures": ["a", "b"]})
        ['page     run/report.html', 'figures  2 in run/report']
    """
    return [
        f"page     {written['page']}",
        f"figures  {len(written['figures'])} in {written['folder']}",
    ]
