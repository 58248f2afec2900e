"""The verb `export`."""

import shlex
from pathlib import Path
from typing import Annotated

from typer import Option

from dreal_tf import api
from dreal_tf.cli.options import Json, Plugins, Run, RunDataDir
from dreal_tf.cli.output import metric_lines, next_command, result, say


def export(
    run: Run,
    out: Annotated[Path, Option(help="New folder to write.")],
    format: Annotated[str, Option(help="saved_model, litert or onnx.")] = "saved_model",
    precision: Annotated[str, Option(help="float32; for litert also float16 or int8.")] = "float32",
    tolerance: Annotated[
        float | None,
        Option(help="Fraction of test images that may change class. [default: by precision]"),
    ] = None,
    data_dir: RunDataDir = None,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Export a run's network and verify its outputs.

    The exported network runs without this package.
    """
    say(f"Exporting {run} as {format} in {precision}; then running it on the test images.")
    exported = api.export(
        run, out, format=format, precision=precision, data_dir=data_dir, tolerance=tolerance
    )
    figures = exported.as_dict()
    result(figures, as_json, export_lines(figures))
    if exported.least_cosine is not None:  # The network gives embeddings instead of classes.
        next_command(f"dreal-tf evaluate {shlex.quote(str(run))} --rerank")
    else:
        next_command(f"dreal-tf predict {shlex.quote(str(out))} IMAGES")


def export_lines(figures):
    """Figures as aligned lines, beside those of the network without the method.

    Args:
        figures: dict, see `dreal_tf.deployment.results.ExportResult`.
    Returns:
        List of str.
    Example:
        >>> own = {"variables": 26, "milliseconds": 0.5}
        >>> for line in export_lines({"agreement": 1.0} | own | {"beside": own}):
        ...     print(line)
        agreement     1.0000
        variables     26      (without the method: 26)
        milliseconds  0.5000  (without the method: 0.5000)
    """
    own = {name: value for name, value in figures.items() if name != "beside"}
    if "largest_difference" in own:
        own["largest_difference"] = f"{own['largest_difference']:.1e}"
    baseline = figures.get("beside", {})
    baseline_lines = dict(zip(baseline, metric_lines(baseline), strict=True))
    lines = metric_lines(own)
    width = max(map(len, lines))
    return [
        f"{line:<{width}}  (without the method: {baseline_lines[name].split()[-1]})"
        if name in baseline_lines
        else line
        for name, line in zip(own, lines, strict=True)
    ]
