"""Where modules and network look: maps, and how well they point at the object."""

import numpy as np

from dreal_tf.analysis.report.page import Column, Picture, Section, Table, written
from dreal_tf.analysis.report.views import CAMS, SHOWN_OWN, as_seen, own_places
from dreal_tf.method.instruments import bootstrap_mean
from dreal_tf.visualization.heatmaps import MapRow, heatmaps

TONES = {"this run": "ours", "baseline": "baseline"}
FRAME = (0.2, 0.9, 0.4)  # Around what should be found.


def pointing(evidence):
    """Energy and coverage of the maps of both runs.

    Args:
        evidence: `dreal_tf.analysis.report.gathering.Evidence`.
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
        boxes: float array (n, 4), see `dreal_tf.visualization.composed.Composed`.
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


NAME, TITLE = "maps", "Where the network looks"
COMPOSED = (
    "Whether the maps are right can be told where it is known what they should find: the last pictures "
    "are four test images each, of which one has the label. Energy is the share of the map that lies on "
    "it, of which an even map has 25 %: more of it is more correct. Coverage is the share of it "
    "where the map is above half its maximum: more of it, at no less energy, is more complete."
)
NOT_COMPOSED = (
    "How much of a map lies on the right object cannot be told here: it takes larger pictures, and this "
    "network's attention is made for images of one size."
)


def maps_section(evidence):
    """Grad-CAM and Grad-CAM++ of both runs, and the attention that modules have of their own.

    Args:
        evidence: `dreal_tf.analysis.report.gathering.Evidence`.
    Returns:
        `Section`.
    """
    layer = evidence.ours.views.layer
    text = (
        f"Where the evidence for the label lies, at the layer {layer} (the paper's Figures 2 and 3). The "
        "images were not chosen by hand: classes are drawn without replacement, and of each an image, by "
        "the run's seed, whether it was answered right or wrong. A map is divided by its own maximum: "
        "colours tell places of an image apart, not images.",
    )
    pictures = [_cam(evidence, name) for name in CAMS]
    if any(run.views.own for run in evidence.runs.values()):
        pictures.append(_own(evidence))
        text += (
            "Below are the maps that the modules themselves compute: how much each place is attended to, "
            "of the last module of every stage. Their colours span from each map's least value to its "
            "greatest, which are written under it.",
        )
    else:
        kind = evidence.ours.recipe.attention.kind
        text += (f"Attention of the kind {kind} treats all places alike, so it has no map of its own.",)
    if not all(run.views.pointing for run in evidence.runs.values()):
        text += (NOT_COMPOSED,)
        return Section(NAME, TITLE, text, tuple(pictures))
    pointed, table = pointing(evidence)
    return Section(NAME, TITLE, (*text, COMPOSED), (*pictures, pointed), (table,))


def _cam(evidence, method):
    shown, names = evidence.shown, evidence.class_names
    rows, numbers = [], []
    for name in reversed(evidence.runs):  # The baseline above.
        run = evidence.runs[name]
        maps = run.views.cams[method]
        answered = run.probabilities[shown.positions]
        notes = [_note(p, label, names) for p, label in zip(answered, shown.labels, strict=True)]
        rows.append(MapRow(name, maps, notes, TONES[name]))
        numbers += _cells(name, shown.positions, maps)
    labels = [names[label] for label in shown.labels]
    figure = heatmaps(shown.pixels, labels, rows)
    stem = "grad_cam_plus_plus" if method.endswith("+") else "grad_cam"
    pair = ", baseline above this run" if evidence.baseline else ""
    caption = f"{method}{pair}. Under each map the answer, beneath all the label in bold."
    alt = f"{len(labels)} images with their {method} maps: {', '.join(labels)}."
    columns = [Column(n) for n in ("run", "position in the test split", "row", "column", "value")]
    return Picture(figure, Table(stem, columns, numbers, caption), alt)


def _own(evidence):
    places = own_places(evidence.shown)
    rows, numbers = [], []
    modules = dict.fromkeys(m for run in evidence.runs.values() for m in run.views.own)
    for module in modules:
        place, _, suffix = module.partition("/")
        for name in reversed(evidence.runs):
            maps = evidence.runs[name].views.own.get(module)
            if maps is not None:
                said = f"{place}\n{suffix}\n{name}"
                rows.append(MapRow(said, maps, None, TONES[name], ranged=True))
                cells = _cells(name, evidence.shown.positions[places], maps)
                numbers += [(module, *cell) for cell in cells]
    labels = [evidence.class_names[label] for label in evidence.shown.labels[places]]
    figure = heatmaps(evidence.shown.pixels[places], labels, rows, legend="attention")
    pair = ", baseline above this run" if all(r.views.own for r in evidence.runs.values()) else ""
    caption = f"The modules' own attention over places{pair if evidence.baseline else ''}."
    alt = f"{len(labels)} images with the maps of {', '.join(modules)}."
    columns = ("module", "run", "position in the test split", "row", "column", "value")
    return Picture(figure, Table("own_attention", [*map(Column, columns)], numbers, caption), alt)


def _note(probabilities, label, names):
    answer = int(probabilities.argmax())
    sign = "✓" if answer == label else "✗"
    return f"{names[answer][:12]} {probabilities[answer]:.2f} {sign}"


def _cells(name, positions, maps):
    """A row for each place of each map."""
    return [
        (name, int(position), row, column, float(np.round(value, 6)))
        for position, map_ in zip(positions, maps, strict=True)
        for (row, column), value in np.ndenumerate(map_)
    ]
