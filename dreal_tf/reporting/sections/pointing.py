"""Whether maps find what they should, on pictures composed so that it is known where it lies."""

import numpy as np

from dreal_tf.figures.heatmaps import MapRow, heatmaps
from dreal_tf.method.instruments import bootstrap_mean
from dreal_tf.reporting.section import Column, Picture, Table, written
from dreal_tf.reporting.views import CAMS, SHOWN_OWN, as_seen

TONES = {"this run": "ours", "baseline": "baseline"}
FRAME = (0.2, 0.9, 0.4)  # Around what should be found.


def pointing(evidence):
    """Energy and coverage of the maps of both runs.

    Args:
        evidence: `dreal_tf.reporting.gathering.Evidence`.
    Returns:
        `Picture` of the first pictures, and `Table`.
    """
    return _picture(evidence), _table(evidence)


def _picture(evidence):
    composed = evidence.shown.composed
    shown = slice(0, SHOWN_OWN)
    pixels = framed(as_seen(evidence.data, composed.images[shown]), composed.boxes[shown])
    labels = [evidence.class_names[label] for label in composed.labels]
    rows, numbers = [], []
    for name in reversed(evidence.runs):
        found = evidence.runs[name].views.pointing["Grad-CAM"]
        notes = [f"energy {written(100 * energy, '.0f')} %" for energy in found.energy[shown]]
        rows.append(MapRow(name, found.maps[shown], notes, TONES[name]))
        for method, pointed in evidence.runs[name].views.pointing.items():
            pairs = zip(labels, pointed.energy, pointed.coverage, strict=True)
            numbers += [(name, method, n, *map(_plain, row)) for n, row in enumerate(pairs)]
    caption = (
        f"Grad-CAM on the first {len(pixels)} of {len(labels)} composed pictures; the frame is around the "
        "image that has the label."
    )
    alt = "Grids of four images with maps. " + "; ".join(
        f"{name}: mean energy {written(_ends(run.views.pointing['Grad-CAM'].energy)[0], '.1f')} %"
        for name, run in evidence.runs.items()
    )
    columns = ("run", "method", "picture", "label", "energy", "coverage")
    figure = heatmaps(pixels, labels[shown], rows)
    return Picture(figure, Table("pointing", [*map(Column, columns)], numbers, caption), f"{alt}.")


def framed(pixels, boxes):
    """Pictures with a frame of two pixels around their boxes.

    Args:
        pixels: float array (n, height, width, 1 or 3), from 0 to 1.
        boxes: float array (n, 4), see `dreal_tf.visualize.Composed`.
    Returns:
        Float array (n, height, width, 3).
    Example:
        >>> framed(np.zeros((1, 8, 8, 1)), np.array([[0.0, 0.0, 0.5, 0.5]]))[0, :, 3, 1].tolist()
        [0.9, 0.9, 0.9, 0.9, 0.0, 0.0, 0.0, 0.0]
    """
    height, width = pixels.shape[1:3]
    pictures = np.array(np.broadcast_to(pixels, (*pixels.shape[:3], 3)))
    for picture, box in zip(pictures, boxes, strict=True):
        top, left, bottom, right = np.round(box * [height, width, height, width]).astype(int)
        inside = picture[top + 2 : bottom - 2, left + 2 : right - 2].copy()
        picture[top:bottom, left:right] = FRAME
        picture[top + 2 : bottom - 2, left + 2 : right - 2] = inside
    return pictures


def _table(evidence):
    rows = []
    for method in CAMS:
        found = {name: run.views.pointing[method] for name, run in evidence.runs.items()}
        rows += [(method, name, *_ends(p.energy), *_ends(p.coverage)) for name, p in found.items()]
        if len(found) > 1:
            ours, other = found.values()
            differences = ours.energy - other.energy, ours.coverage - other.coverage
            rows.append((method, "difference", *_ends(differences[0]), *_ends(differences[1])))
    columns = [Column("method"), Column("run")]
    for quantity in ("energy (%)", "coverage (%)"):
        columns += [Column(quantity, ".1f"), Column("low", ".1f"), Column("high", ".1f")]
    caption = (
        f"Means over {len(evidence.shown.composed.labels)} composed pictures with 95 % intervals; the "
        "difference is of pairs, picture by picture."
    )
    return Table("pointing_means", columns, rows, caption)


def _ends(values):
    """Mean and interval in percent; pictures without a map are left out."""
    found = bootstrap_mean(100 * values[np.isfinite(values)])
    return found["mean"], found["low"], found["high"]


def _plain(value):
    return value if isinstance(value, str) else float(value)
