"""Figures 2 and 3: where network and modules look, and how well the maps point at an object."""

from typing import NamedTuple

import numpy as np

from dreal_tf.analysis.report.evidence import TONES, images_at
from dreal_tf.analysis.report.page import Column, Picture, ReportSection, Table, written
from dreal_tf.errors import InputError
from dreal_tf.method.instruments import bootstrap_mean
from dreal_tf.modules import stage_name
from dreal_tf.visualization.attention_maps import module_maps
from dreal_tf.visualization.grad_cam import GradCam, grid_pictures, pointing_game
from dreal_tf.visualization.heatmaps import MapRow, chosen_images, heatmaps

SHOWN = 12  # Images, for Grad-CAM.
SHOWN_OWN = 6  # Images, for the modules' own maps.
COMPOSED, COMPOSED_BYTES = 200, 2**28  # Composed pictures, and their memory at most.
CAMS = {"Grad-CAM": False, "Grad-CAM++": True}  # Whether it is `plus_plus`.
POINTING = (
    "The last pictures test whether the maps are right: each holds four test images, one of which has the "
    "label. Energy is the fraction of the map that lies on it, 25 % for an even map: more of it is more "
    "correct. Coverage is the fraction of the image where the map is above half its maximum: more of it, "
    "at no less energy, is more complete."
)
NO_POINTING = (
    "The fraction of a map on the right object is unknown: to measure it takes larger pictures, but this "
    "network's attention is made for images of one size."
)


class Shown(NamedTuple):
    """The images whose maps are shown.

    Attributes:
        positions: int array (n,), in the order of the test split.
        labels: int array (n,).
        inputs: float array (n, height, width, channels), as networks take them.
        pixels: float array of the same shape, from 0 to 1, as people see them.
    """

    positions: np.ndarray
    labels: np.ndarray
    inputs: np.ndarray
    pixels: np.ndarray

    def some(self, rows):
        """The images at some rows, as `Shown`."""
        return Shown(*(part[rows] for part in self))


def maps_section(evidence):
    """Grad-CAM and Grad-CAM++ of both runs, and the modules' own attention.

    Args:
        evidence: `dreal_tf.analysis.report.evidence.Evidence`.
    Returns:
        `ReportSection`.
    """
    positions = chosen_images(evidence.labels, min(SHOWN, len(evidence.labels)), evidence.seed)
    inputs = images_at(evidence.data.test, positions)
    shown = Shown(positions, evidence.labels[positions], inputs, evidence.pixels(inputs))
    pictures, layer = [], None
    for method, plus_plus in CAMS.items():
        cams = {name: GradCam(run.network, plus_plus=plus_plus) for name, run in evidence.runs.items()}
        maps = {name: cam(shown.inputs, shown.labels) for name, cam in cams.items()}
        layer = cams["this run"].layer_name
        pictures.append(_cam_picture(evidence, shown, method, maps))
    text = (
        f"The maps show where the evidence for the label lies, at the layer {layer} (the paper's Figures 2 "
        "and 3). The images were not chosen by hand: classes are drawn without replacement, and an image of "
        "each, by the run's seed, whether it was predicted correctly or not. A map is divided by its own "
        "maximum: colours compare positions in an image, not images.",
    )
    evenly_spread = np.unique(
        np.linspace(0, len(positions) - 1, min(SHOWN_OWN, len(positions))).round()
    )
    some = shown.some(evenly_spread.astype(int))
    own = {
        name: last_of_stages(module_maps(r.network, some.inputs)) for name, r in evidence.runs.items()
    }
    if any(own.values()):
        pictures.append(_own_picture(evidence, some, own))
        text += (
            "Below are the maps that the modules themselves compute: the attention to each position, by the "
            "last module of every stage. Their colours span from each map's least value to its greatest, "
            "both written under it.",
        )
    else:
        kind = evidence.ours.recipe.attention.kind
        text += (
            f"Attention of the kind {kind} treats all positions equally, so it has no map of its own.",
        )
    section = ReportSection("maps", "Where the network looks", text, tuple(pictures))
    composed = _composed(evidence)
    try:
        pointing = {name: _pointing(run.network, composed) for name, run in evidence.runs.items()}
    except InputError:  # Some attention is made for one size of map.
        return section._replace(text=(*text, NO_POINTING))
    return section._replace(
        text=(*text, POINTING),
        pictures=(*pictures, _pointing_picture(evidence, composed, pointing)),
        tables=(_pointing_table(pointing),),
    )


def last_of_stages(maps):
    """The maps of the last module of each kind in every stage.

    Args:
        maps: dict by module, in depth order.
    Returns:
        Dict.
    Example:
        >>> list(last_of_stages({"conv2_1/se": 0, "conv2_2/se": 1, "conv3_1/se": 2}))
        ['conv2_2/se', 'conv3_1/se']
    """
    last = {(stage_name(module), module.partition("/")[2]): module for module in maps}
    return {module: maps[module] for module in last.values()}


def map_rows(maps, runs):
    """Rows of a figure: the maps of each module by each run, the baseline above.

    Args:
        maps: dict by run of dicts by module of float arrays (n, rows, columns).
        runs: iterable of the runs' names.
    Returns:
        List of `MapRow`, and list of the (module, run) of each.
    Example:
        >>> rows, owners = map_rows({"this run": {"conv4_1/cbam_spatial": np.ones((1, 2, 2))}}, ["this run"])
        >>> rows[0].name.split("\\n"), owners
        (['conv4_1', 'cbam_spatial', 'this run'], [('conv4_1/cbam_spatial', 'this run')])
    """
    modules = dict.fromkeys(module for of_run in maps.values() for module in of_run)
    owners = [(m, run) for m in modules for run in reversed(runs) if m in maps[run]]
    rows = []
    for module, run in owners:
        name = "\n".join([*module.split("/"), run])
        rows.append(MapRow(name, maps[run][module], None, TONES[run], ranged=True))
    return rows, owners


def _cam_picture(evidence, shown, method, maps):
    names = evidence.class_names
    rows, numbers = [], []
    for name in reversed(evidence.runs):  # The baseline above.
        answers = evidence.runs[name].probabilities[shown.positions]
        notes = [_note(p, label, names) for p, label in zip(answers, shown.labels, strict=True)]
        rows.append(MapRow(name, maps[name], notes, TONES[name]))
        numbers += [(name, *cell) for cell in _cells(shown.positions, maps[name])]
    labels = [names[label] for label in shown.labels]
    pair = ", baseline above this run" if evidence.baseline else ""
    caption = f"{method}{pair}. The prediction is under each map, the label in bold at the bottom."
    columns = ("run", "position in the test split", "row", "column", "value")
    stem = "grad_cam_plus_plus" if CAMS[method] else "grad_cam"
    return Picture(
        heatmaps(shown.pixels, labels, rows),
        Table(stem, columns, numbers, caption),
        f"{len(labels)} images with their {method} maps: {', '.join(labels)}.",
    )


def _own_picture(evidence, shown, own):
    rows, owners = map_rows(own, evidence.runs)
    numbers = [
        (module, run, *cell)
        for module, run in owners
        for cell in _cells(shown.positions, own[run][module])
    ]
    labels = [evidence.class_names[label] for label in shown.labels]
    pair = ", baseline above this run" if evidence.baseline and all(own.values()) else ""
    columns = ("module", "run", "position in the test split", "row", "column", "value")
    caption = f"The modules' own attention to positions{pair}."
    return Picture(
        heatmaps(shown.pixels, labels, rows, legend="attention"),
        Table("own_attention", columns, numbers, caption),
        f"{len(labels)} images with the maps of {', '.join(dict.fromkeys(m for m, _ in owners))}.",
    )


def _note(probabilities, label, names):
    answer = int(probabilities.argmax())
    return f"{names[answer][:12]} {probabilities[answer]:.2f} {'✓' if answer == label else '✗'}"


def _cells(positions, maps):
    """A row for each cell of each map."""
    return [
        (int(position), row, column, float(np.round(value, 6)))
        for position, map_ in zip(positions, maps, strict=True)
        for (row, column), value in np.ndenumerate(map_)
    ]


def _composed(evidence):
    images, labels = evidence.examples
    most = COMPOSED_BYTES // (4 * images[0].nbytes)
    return grid_pictures(images, labels, max(1, min(COMPOSED, len(images), most)), seed=evidence.seed)


def _pointing(network, composed):
    return {method: pointing_game(network, composed, plus_plus=p) for method, p in CAMS.items()}


def _pointing_picture(evidence, composed, pointing):
    some = slice(0, SHOWN_OWN)
    pixels, labels = evidence.pixels(composed.images[some]), composed.labels
    labels = [evidence.class_names[label] for label in labels]
    rows, numbers = [], []
    for name in reversed(pointing):
        cam = pointing[name]["Grad-CAM"]
        notes = [f"energy {written(100 * energy, '.0f')} %" for energy in cam.energy[some]]
        rows.append(MapRow(name, cam.maps[some], notes, TONES[name]))
        for method, of_method in pointing[name].items():
            scores = zip(labels, of_method.energy.tolist(), of_method.coverage.tolist(), strict=True)
            numbers += [(name, method, number, *row) for number, row in enumerate(scores)]
    columns = ("run", "method", "picture", "label", "energy", "coverage")
    caption = (
        f"Grad-CAM on the first {len(pixels)} of {len(labels)} composed pictures, with a frame around the "
        "image that has the label."
    )
    energies = "; ".join(
        f"{name}: mean energy {written(_percent(of_run['Grad-CAM'].energy)[0], '.1f')} %"
        for name, of_run in pointing.items()
    )
    return Picture(
        heatmaps(pixels, labels[some], rows, boxes=composed.boxes[some]),
        Table("pointing", columns, numbers, caption),
        f"Grids of four images with maps. {energies}.",
    )


def _pointing_table(pointing):
    rows = []
    for method in CAMS:
        scores = {name: (of[method].energy, of[method].coverage) for name, of in pointing.items()}
        if len(scores) > 1:
            scores["difference"] = np.subtract(scores["this run"], scores["baseline"])
        rows += [
            (method, n, *_percent(energy), *_percent(cover)) for n, (energy, cover) in scores.items()
        ]
    columns = ["method", "run"]
    for quantity in ("energy (%)", "coverage (%)"):
        columns += [Column(quantity, ".1f"), Column("low", ".1f"), Column("high", ".1f")]
    count = len(pointing["this run"]["Grad-CAM"].energy)
    caption = (
        f"Means over {count} composed pictures with 95 % intervals; the difference is between pairs, picture "
        "by picture."
    )
    return Table("pointing_means", columns, rows, caption)


def _percent(values):
    """Mean and interval in percent, without pictures that have no map."""
    mean = bootstrap_mean(100 * values[np.isfinite(values)])
    return mean["mean"], mean["low"], mean["high"]
