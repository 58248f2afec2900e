"""The files of an audit: JSON, tidy CSV, and a figure."""

import csv
import io
import json
from pathlib import Path

from dreal_tf.errors import InputError
from dreal_tf.figures import LIGHT, as_png, as_svg
from dreal_tf.figures.module_values import module_values
from dreal_tf.method.rewards import ABLATIONS
from dreal_tf.run_directory import write_whole

COLUMNS = ("part", "name", "class", "baseline", "images", "value", "low", "high")
COLUMNS += ("accuracy_drop", "p_value", "helped", "harmed", "untouched")


def write_audit(found, folder):
    """Writes what an audit found; files of an earlier one are replaced.

    Args:
        found: dict, see `dreal_tf.auditing.audit.audit`.
        folder: str or path: `audit.json`, `audit.csv`, `module_values.png` and `module_values.svg`
            go there.
    Returns:
        Path of the folder.
    Raises:
        InputError: if the folder cannot be written.
    """
    folder, figure = Path(folder), values_figure(found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "audit.json", json.dumps(found, indent=2) + "\n")
        write_whole(folder / "audit.csv", csv_text(found))
        write_whole(folder / "module_values.svg", as_svg(figure, LIGHT.ground))
        (folder / "module_values.png").write_bytes(as_png(figure, ground=LIGHT.ground))
    except OSError as error:
        raise InputError(
            f"Expected a folder that can be written. Received: {str(folder)!r} ({error.strerror}). "
            "Choose another --out."
        ) from error
    return folder


def values_figure(found, style=LIGHT):
    """The figure of an audit, see `dreal_tf.figures.module_values`.

    Args:
        found: dict, see `dreal_tf.auditing.audit.audit`.
        style: `dreal_tf.figures.Style`.
    Returns:
        `matplotlib.figure.Figure`.
    """
    modules = found["modules"]
    values = {
        b: [[module[b][end] for end in ("value", "low", "high")] for module in modules.values()]
        for b in ABLATIONS
    }
    drops = {b: [module[b]["accuracy_drop"] for module in modules.values()] for b in ABLATIONS}
    stages = [module["stage"] for module in modules.values()]
    return module_values(list(modules), stages, values, drops, style)


def csv_text(found):
    """What an audit found, as tidy rows: one for each module, stage and class, and each baseline.

    Args:
        found: dict, see `dreal_tf.auditing.audit.audit`.
    Returns:
        Str: CSV with the columns `COLUMNS`; `class` is empty but in rows of one class, where what
        was not measured is empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    parts = [("module", name, both) for name, both in found["modules"].items()]
    parts += [("stage", name, both) for name, both in found["stages"].items()]
    parts.append(("attention", "attention", found["attention"]))
    for part, name, both in parts:
        for baseline in ABLATIONS:
            row = {"part": part, "name": name, "baseline": baseline, "images": found["images"]}
            writer.writerow(row | both[baseline])
    for label, modules in found["classes"].items():
        for name, both in modules.items():
            for baseline in ABLATIONS:
                row = {"part": "module", "name": name, "class": label, "baseline": baseline}
                writer.writerow(row | {"images": found["class_images"][label]} | both[baseline])
    return text.getvalue()
