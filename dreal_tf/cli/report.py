"""The verb `report`."""

import shlex
from pathlib import Path
from typing import Annotated

from typer import Option

from dreal_tf import api
from dreal_tf.cli.options import Json, Plugins, Run, RunDataDir, TestImages
from dreal_tf.cli.output import next_command, result, say, shown


def report(
    run: Run,
    against: Annotated[Path | None, Option(metavar="RUN", help="Baseline run to compare with.")] = None,
    out: Annotated[
        Path | None,
        Option(
            metavar="FILE.html",
            help="Page to write. [default: report.html in the run, or report_against_<RUN>.html]",
        ),
    ] = None,
    images: TestImages = 2000,
    data_dir: RunDataDir = None,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Write one HTML page with the figures of a run.

    --against shows its baseline beside it.
    """
    written = api.report(run, against, out=out, images=images, data_dir=data_dir, progress=shown)
    figures = f"figures  {len(written['figures'])} in {written['folder']}"
    result(written, as_json, [f"page     {written['page']}", figures])
    for section, why in written["left_out"].items():
        say(f"Left out: {section}. {why}")
    path = shlex.quote(str(run))
    following = f"report {path} --against BASELINE_RUN" if against is None else f"audit {path}"
    next_command(f"dreal-tf {following}")
