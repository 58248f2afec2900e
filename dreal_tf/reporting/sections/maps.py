"""Figures 2 and 3: where the networks look, by Grad-CAM and by the modules' own attention."""

import numpy as np

from dreal_tf.figures.heatmaps import MapRow, heatmaps
from dreal_tf.reporting.section import Column, Picture, Section, Table
from dreal_tf.reporting.sections.pointing import TONES, pointing
from dreal_tf.reporting.views import CAMS, own_places

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
        evidence: `dreal_tf.reporting.gathering.Evidence`.
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
