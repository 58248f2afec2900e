"""The verbs that use a trained model: evaluate, report, export, predict, index and search."""

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from dreal_tf import api
from dreal_tf.cli.options import DataRecipe, Json, Plugins, Run, RunDataDir, TestImages
from dreal_tf.cli.output import csv_lines, metric_lines, next_command, result, say, say_skipped, shown
from dreal_tf.training.run_directory import RunDirectory

Model = Annotated[Path, Argument(help="Run directory or .keras file.")]


def evaluate(
    run: Run,
    data_dir: RunDataDir = None,
    metric: Annotated[
        str | None, Option(help="Distance between embeddings, cosine or euclidean. [default: cosine]")
    ] = None,
    flip: Annotated[
        bool, Option("--flip", help="Average the embeddings of each image and its mirror image.")
    ] = False,
    expansion: Annotated[int, Option(help="Number of nearest images that expand a query.", min=0)] = 0,
    rerank: Annotated[bool, Option("--rerank", help="Re-rank by k-reciprocal neighbours.")] = False,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Print the metrics of a run's best weights on the test split.

    --metric, --flip, --expansion and --rerank apply to runs on identities only.
    """
    metrics = api.evaluate(
        run, data_dir=data_dir, metric=metric, flip=flip, expansion=expansion, rerank=rerank
    )
    result(metrics, as_json, metric_lines(metrics))
    recipe = RunDirectory(run).read_recipe()
    other = "--baseline" if recipe.dreal.enabled else "--set dreal.enabled=true"
    if recipe.attention.kind == "none":
        other = "--set attention.kind=se --set dreal.enabled=true"
    next_command(f"dreal-tf train {shlex.quote(str(run / 'recipe.json'))} {other}")


def report(
    run: Run,
    against: Annotated[Path | None, Option(metavar="RUN", help="Baseline run to compare with.")] = None,
    out: Annotated[
        Path | None,
        Option(metavar="FILE.html", help="Page to write. [default: report.html in the run]"),
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


def export(
    run: Run,
    out: Annotated[Path, Option(help="New folder to write.")],
    format: Annotated[str, Option(help="saved_model, litert or onnx.")] = "saved_model",
    precision: Annotated[str, Option(help="float32; for litert also float16 or int8.")] = "float32",
    data_dir: RunDataDir = None,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Export a run's network and verify its outputs.

    The exported network runs without this package.
    """
    say(f"Exporting {run} as {format} in {precision}; then running it on the test images.")
    exported = api.export(run, out, format=format, precision=precision, data_dir=data_dir)
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
        variables     26      (--baseline: 26)
        milliseconds  0.5000  (--baseline: 0.5000)
    """
    own = {name: value for name, value in figures.items() if name != "beside"}
    if "largest_difference" in own:
        own["largest_difference"] = f"{own['largest_difference']:.1e}"
    baseline = figures.get("beside", {})
    baseline_lines = dict(zip(baseline, metric_lines(baseline), strict=True))
    lines = metric_lines(own)
    width = max(map(len, lines))
    return [
        f"{line:<{width}}  (--baseline: {baseline_lines[name].split()[-1]})"
        if name in baseline_lines
        else line
        for name, line in zip(own, lines, strict=True)
    ]


def predict(
    model: Annotated[Path, Argument(help="Run directory, .keras file or exported folder.")],
    images: Annotated[list[Path], Argument(help="Image files and folders.")],
    top: Annotated[int, Option(help="Number of classes for each image.")] = 1,
    data: DataRecipe = None,
    data_dir: RunDataDir = None,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Predict the classes of images.

    Prints CSV with image, class and probability.
    """
    progress = partial(shown, description="Predicting")
    predicted = api.predict(model, images, top=top, data=data, data_dir=data_dir, progress=progress)
    say_skipped(predicted.skipped)
    say(f"{len(predicted.predictions)} images, {len(predicted.skipped)} skipped.")
    rows = ((image, *named) for image, classes in predicted.predictions for named in classes)
    result(predicted.as_dict(), as_json, csv_lines(["image", "class", "probability"], rows))
    next_command(f"dreal-tf predict {shlex.quote(str(model))} IMAGES --top 5 --json")


def index(
    model: Model,
    images: Annotated[list[Path], Argument(help="Image files and folders.")],
    out: Annotated[Path, Option(help="New folder for the index.")],
    approximate: Annotated[
        bool, Option("--approximate", help="Build a graph by faiss, for a million images and more.")
    ] = False,
    data: DataRecipe = None,
    data_dir: RunDataDir = None,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Embed images and index them for `search`."""
    built = api.index(
        model,
        images,
        out=out,
        approximate=approximate,
        data=data,
        data_dir=data_dir,
        progress=partial(shown, description="Embedding"),
    )
    say_skipped(built.skipped)
    counts = f"{built.images} images, {built.dimensions} dimensions, {len(built.skipped)} skipped."
    result(built.as_dict(), as_json, [f"{out}: {counts}"])
    next_command(f"dreal-tf search {shlex.quote(str(out))} IMAGE")


def search(
    index: Annotated[Path, Argument(help="Folder that `dreal-tf index` wrote.")],
    images: Annotated[list[Path], Argument(help="Queries: image files and folders.")],
    top: Annotated[int, Option(help="Number of images to find for each query.")] = 10,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Find the nearest images of an index.

    Prints CSV with query, rank, image and cosine distance.
    """
    matches = api.search(index, images, top=top, progress=partial(shown, description="Searching"))
    say_skipped(matches.skipped)
    rows = (
        (query, rank, *match)
        for query, nearest in matches.queries
        for rank, match in enumerate(nearest, start=1)
    )
    result(matches.as_dict(), as_json, csv_lines(["query", "rank", "image", "distance"], rows))
    next_command(f"dreal-tf search {shlex.quote(str(index))} IMAGES --top 50 --json")
