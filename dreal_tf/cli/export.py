"""`dreal-tf export`."""

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf import api
from dreal_tf.cli.output import metric_lines, next_command, result, say


def export(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
    format: Annotated[str, typer.Option(help="saved_model, litert or onnx.")] = "saved_model",
    precision: Annotated[
        str, typer.Option(help="float32; for litert also float16 or int8.")
    ] = "float32",
    data_dir: Annotated[
        Optional[str], typer.Option(help="Folder of the data. [default: the run's]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as one JSON object.")] = False,
):
    """Write a run's network so that it runs without this package; check that its outputs are the same."""
    say(f"Exporting {run} as {format} in {precision}; then running it on the test images.")
    exported = api.export(run, out, format=format, precision=precision, data_dir=data_dir)
    figures = exported.as_dict()
    result(figures, as_json, [*export_lines(figures)])
    if exported.least_cosine is not None:  # It gives embeddings, no classes.
        next_command(f"dreal-tf evaluate {shlex.quote(str(run))} --rerank")
        return
    next_command(f"dreal-tf predict {shlex.quote(str(out))} IMAGES")


def export_lines(figures):
    """Figures as aligned lines, beside those of the network without the method.

    Args:
        figures: dict, see `dreal_tf.deployment.results.ExportResult`.
    Returns:
        Iterable of str.
    Example:
        >>> own = {"variables": 26, "milliseconds": 0.5}
        >>> for line in export_lines({"agreement": 1.0} | own | {"beside": own}):
        ...     print(line)
        agreement     1.0000
        variables     26      (--baseline: 26)
        milliseconds  0.5000  (--baseline: 0.5000)
    """
    beside = figures.get("beside", {})
    own = {name: value for name, value in figures.items() if name != "beside"}
    if "largest_difference" in own:
        own["largest_difference"] = f"{own['largest_difference']:.1e}"
    shown = dict(zip(beside, metric_lines(beside), strict=True)) if beside else {}
    lines = list(metric_lines(own))
    width = max(map(len, lines))
    for name, line in zip(own, lines, strict=True):
        other = f"(--baseline: {shown[name].split()[-1]})" if name in shown else ""
        yield f"{line:<{width}}  {other}".rstrip()
