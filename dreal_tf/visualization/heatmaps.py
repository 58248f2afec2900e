"""Images with what belongs to them: heat maps, ranked galleries, mistakes."""

import itertools
import math
import textwrap
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.patches import Rectangle
from scipy import ndimage

from dreal_tf.errors import InputError
from dreal_tf.visualization.style import LIGHT, new_figure, styled


def chosen_images(labels, count, seed=0):
    """Positions of images to show, whether predicted correctly or not.

    Classes are drawn without replacement, again from all of them once each has been drawn; of each
    drawn class one of its images that was not chosen before.

    Args:
        labels: int array (n,), of the split they are chosen from.
        count: int >= 1. How many.
        seed: int.
    Returns:
        Int array (count,), positions in `labels`, by label.
    Raises:
        InputError: if there are fewer images than that.
    Example:
        >>> labels = np.arange(40) % 10
        >>> labels[chosen_images(labels, 10)].tolist()
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    labels = np.asarray(labels)
    if not 1 <= count <= len(labels):
        raise InputError(
            f"Expected from 1 to {len(labels)} images to show, as many as there are. Received: "
            f"count={count}. Choose another number."
        )
    random = np.random.default_rng(seed)
    left = {
        label: list(random.permutation(np.flatnonzero(labels == label))) for label in np.unique(labels)
    }
    chosen = []
    while len(chosen) < count:
        round_ = random.permutation([label for label, positions in left.items() if positions])
        chosen += [left[label].pop() for label in round_[: count - len(chosen)]]
    chosen = np.sort(chosen)
    return chosen[np.argsort(labels[chosen], kind="stable")]


# Inches: a picture, the gap between two, a line of type, the space below a label.
SIDE, GAP, LINE, SPACE = 1.2, 0.07, 0.17, 0.1
LEFT, RIGHT, TOP, BOTTOM = 0.55, 0.1, 0.1, 0.42
LONG, BOLD, PLAIN = 14, 15, 19  # Characters along a picture: beside it, of its label, of a note.
PIXELS, MOST = 128, 512  # At least and at most, along a picture's sides.


class MapRow(NamedTuple):
    """One row of maps, a map for each image.

    Attributes:
        name: str, stands beside the row.
        maps: float array (n, rows, columns), of any resolution.
        notes: sequence of str, one under each map, or None.
        tone: "baseline" or "ours", for the colour of the name; None for that of text.
        ranged: bool. True: each map's colours span from its least value to its greatest, both written
            under it. False: they span from 0.
    """

    name: str
    maps: object
    notes: object = None
    tone: object = None
    ranged: bool = False


def heatmaps(images, labels, rows, style=LIGHT, columns=6, legend="evidence for the label", boxes=None):
    """Images, under each of them its maps in rows, and its label.

    A map lies over the image in grey, the stronger the more it hides; it is divided by its own
    maximum, so that colours tell where in an image, not how much against another image.

    Args:
        images: float array (n, height, width, 1 or 3), from 0 to 1.
        labels: sequence of str, one for each image.
        rows: sequence of `MapRow`.
        style: `dreal_tf.visualization.style.Style`.
        columns: int >= 1. Images beside each other.
        legend: str, the meaning of the colours.
        boxes: float array (n, 4), drawn on every picture of an image: top, left, bottom and right as
            fractions of its sides; None: none.
    Returns:
        `matplotlib.figure.Figure`.
    Example:
        >>> row = MapRow("ours", np.random.rand(2, 4, 4), ["cat ✓", "cat ✗"], "ours")
        >>> figure = heatmaps(np.random.rand(2, 8, 8, 3), ["cat", "dog"], [row])
        >>> len(figure.axes[0].images)  # Two images, two maps.
        4
    """
    columns = min(columns, len(images))
    bands = math.ceil(len(images) / columns)
    labels = [_broken(label, BOLD) for label in labels]
    notes = [_notes(row, len(images)) for row in rows]
    tops = _tops(notes, labels)
    width = max(LEFT + columns * (SIDE + GAP) + RIGHT, 3.2)
    height = TOP + bands * tops[-1] + BOTTOM
    with styled(style):
        figure, axes = _sheet(width, height)
        for number, image in enumerate(images):
            left = LEFT + number % columns * (SIDE + GAP)
            top = TOP + number // columns * tops[-1]
            enlarged = _enlarged(image)
            _picture(axes, enlarged, left, top)
            for row, of_row, down in zip(rows, notes, tops[1:], strict=False):
                low = np.min(row.maps[number]) if row.ranged else 0.0
                _picture(axes, overlaid(enlarged, row.maps[number], style.heat, low), left, top + down)
                quiet = dict(fontsize=7.5, color=style.muted)
                _under(axes, of_row[number], left, top + down + SIDE, **quiet)
            if boxes is not None:
                for down in tops[:-1]:
                    _box(axes, boxes[number], left, top + down)
            lowest = top + tops[-1] - GAP - _label_height(labels)
            _under(axes, labels[number], left, lowest, fontweight="bold")
        for band, (row, down) in itertools.product(range(bands), zip(rows, tops[1:], strict=False)):
            _name(axes, row, TOP + band * tops[-1] + down, style)
        _scale(figure, style, "least" if all(row.ranged for row in rows) else "none", legend)
    return figure


def overlaid(image, map_, heat=LIGHT.heat, low=0.0):
    """A map over its image.

    Args:
        image: float array (height, width, 1 or 3), from 0 to 1.
        map_: float array (rows, columns), of any resolution; brought to the image's, linearly.
        heat: str, the colour map.
        low: float. The value that has the first colour, and hides nothing.
    Returns:
        Float64 array (height, width, 3), from 0 to 1. A map without a value above `low` leaves the
        image in grey.
    Example:
        >>> overlaid(np.ones((4, 4, 3)), np.zeros((2, 2)))[0, 0].tolist()
        [1.0, 1.0, 1.0]
    """
    grey = image.mean(axis=-1, keepdims=True)
    map_ = stretched(map_, *image.shape[:2]) - low
    highest = map_.max()
    level = np.clip(map_ / highest, 0.0, 1.0) if highest > 0 else np.zeros_like(map_)
    colour = matplotlib.colormaps[heat](level)[..., :3]
    hidden = 0.85 * np.sqrt(level)[..., None]
    return (1.0 - hidden) * grey + hidden * colour


def stretched(map_, height, width):
    """A map at another resolution, linear between the middles of its cells.

    Args:
        map_: float array (rows, columns).
        height, width: int.
    Returns:
        Float64 array (height, width).
    Example:
        >>> stretched(np.array([[0.0, 1.0]]), 1, 4).tolist()
        [[0.0, 0.25, 0.75, 1.0]]
    """
    map_ = np.asarray(map_, np.float64)
    factors = np.divide((height, width), map_.shape)
    return ndimage.zoom(map_, factors, order=1, mode="nearest", grid_mode=True)


def _sheet(width, height):
    """A figure with one pair of axes, in inches from the upper left corner: many would take seconds."""
    figure = new_figure(width, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def _tops(notes, labels):
    """How far below its image's top each row of a band begins, and the next band."""
    tops = [0.0, SIDE + GAP]
    for row in notes:
        tops.append(tops[-1] + SIDE + max(map(len, row)) * LINE + GAP)
    tops[-1] += _label_height(labels)
    return tops


def _label_height(labels):
    return max(map(len, labels)) * LINE + SPACE


def _notes(row, images):
    """The lines under each map of a row."""
    notes = [[] if row.notes is None else _broken(row.notes[number], PLAIN) for number in range(images)]
    if row.ranged:
        notes = [
            [*lines, _range(np.asarray(map_))] for lines, map_ in zip(notes, row.maps, strict=True)
        ]
    return notes


def _broken(text, width):
    """At most two lines, no wider than a picture."""
    return textwrap.wrap(text, width, max_lines=2, placeholder="…")


def _enlarged(image):
    """Its pixels as squares, so that a smooth map can lie over them."""
    image = reduced(image)
    times = max(1, math.ceil(PIXELS / min(image.shape[:2])))
    return _colours(np.repeat(np.repeat(image, times, axis=0), times, axis=1))


def reduced(image):
    """Every n-th pixel of a large image, or of some: as many as a picture of a figure can show.

    Args:
        image: array (..., height, width, channels).
    Returns:
        A view of it, of at most `MOST` pixels along the shorter side.
    Example:
        >>> reduced(np.zeros((8192, 4096, 3), "uint8")).shape
        (1024, 512, 3)
    """
    step = math.ceil(min(image.shape[-3:-1]) / MOST)
    return image[..., ::step, ::step, :]


def _colours(image):
    """Three channels, from 0 to 1."""
    image = np.asarray(reduced(image), np.float64)
    return np.clip(np.broadcast_to(image, (*image.shape[:2], 3)), 0.0, 1.0)


def _range(map_):
    """The range of a map, with two digits of the difference."""
    span = float(np.ptp(map_))
    decimals = min(max(1 - math.floor(math.log10(span)), 0), 6) if span > 0 else 2
    return f"{map_.min():.{decimals}f} to {map_.max():.{decimals}f}"


def _picture(axes, pixels, left, top, width=SIDE, height=SIDE):
    extent = (left, left + width, top + height, top)
    axes.imshow(pixels, extent=extent, aspect="auto", interpolation="nearest")


def _box(axes, box, left, top):
    """White on black, so that it is seen on any picture; not the ground's white, which may turn dark."""
    low, high = np.array(box[1::-1]), np.array(box[3:1:-1])
    for colour, width in (("black", 2.4), ("#FEFEFE", 1.2)):
        corner = left + SIDE * low[0], top + SIDE * low[1]
        look = dict(fill=False, edgecolor=colour, linewidth=width)
        axes.add_patch(Rectangle(corner, *(SIDE * (high - low)), **look))


def _under(axes, lines, left, top, **look):
    if lines:
        text = "\n".join(lines)
        axes.text(left + SIDE / 2, top + 0.03, text, ha="center", va="top", linespacing=1.15, **look)


def _name(axes, row, top, style):
    tone = getattr(style, row.tone) if row.tone else style.text
    # Beside a picture there is room for the name of a block or of its module, not of both.
    name = row.name if len(row.name) <= LONG else row.name.replace("/", "\n")
    look = dict(color=tone, fontweight="bold", rotation=90, multialignment="center")
    axes.text(LEFT - 0.08, top + SIDE / 2, name, ha="right", va="center", **look)


def _scale(figure, style, lowest, legend):
    height = figure.get_figheight()
    bar = figure.add_axes((0.3, 0.27 / height, 0.4, 0.09 / height))
    bar.imshow(overlaid(np.full((1, 256, 1), 0.6), np.arange(256)[None], style.heat), aspect="auto")
    bar.set_axis_off()
    beside = dict(transform=bar.transAxes, va="center", fontsize=7.5, color=style.muted)
    bar.text(-0.02, 0.5, lowest, ha="right", **beside)
    bar.text(1.02, 0.5, "most", ha="left", **beside)
    bar.text(0.5, -1.6, legend, ha="center", **beside)


# Inches: the height of a picture, the gap between two, and the spaces around them.
HEIGHT, BESIDE, APART, MARGIN, LEGEND = 0.85, 0.09, 0.22, 0.1, 0.34
NAME = 0.75  # Space for the name of a row, between query and gallery.
RIGHT_COLOUR, WRONG_COLOUR = "#1A9850", "#D73027"


class GalleryRow(NamedTuple):
    """The images that one network ranked first.

    Attributes:
        name: str, stands before each of its rows.
        images: float array (queries, count, height, width, 1 or 3), from 0 to 1, nearest first.
        right: bool array (queries, count): whether each is a right answer.
        there: bool array (queries, count): False beyond the end of the gallery.
        tone: "baseline" or "ours", for the colour of the name; None for that of text.
    """

    name: str
    images: np.ndarray
    right: np.ndarray
    there: np.ndarray
    tone: object = None


def galleries(queries, labels, rows, style=LIGHT):
    """Each query with its nearest images, in a row for each network.

    A right answer has a green frame, a wrong one a red and broken one, so that both are told apart
    in grey too.

    Args:
        queries: float array (n, height, width, 1 or 3), from 0 to 1.
        labels: sequence of str, one for each query, beneath it; at most two short lines.
        rows: sequence of `GalleryRow`, at least one.
        style: `dreal_tf.visualization.style.Style`.
    Returns:
        `matplotlib.figure.Figure`.
    Example:
        >>> yes = np.ones((1, 2), bool)
        >>> row = GalleryRow("ours", np.zeros((1, 2, 4, 2, 3)), np.array([[True, False]]), yes)
        >>> figure = galleries(np.zeros((1, 4, 2, 3)), ["object 7"], [row])
        >>> [patch.get_linestyle() for patch in figure.axes[0].patches]  # The last two: the legend.
        ['solid', 'dashed', 'solid', 'dashed']
    """
    count = rows[0].images.shape[1]
    side = HEIGHT * queries[0].shape[1] / queries[0].shape[0]
    band = len(rows) * (HEIGHT + BESIDE) + APART + (0.38 if len(rows) == 1 else 0)  # Two lines of type.
    first = MARGIN + side + NAME
    width = first + count * (side + BESIDE) + MARGIN
    height = MARGIN + len(queries) * band + LEGEND
    with styled(style):
        figure, axes = _sheet(width, height)
        for number, (query, label) in enumerate(zip(queries, labels, strict=True)):
            top = MARGIN + number * band
            _picture(axes, _colours(query), MARGIN, top, side, HEIGHT)
            axes.text(MARGIN, top + HEIGHT + 0.04, label, va="top", fontweight="bold")
            for line, row in enumerate(rows):
                _ranked(axes, row, number, (first, top + line * (HEIGHT + BESIDE), side), style)
        for left, right, name in ((first, True, "right"), (first + 1.0, False, "wrong")):
            middle = height - LEGEND / 2
            axes.add_patch(_frame((left, middle - 0.08), 0.22, 0.16, right))
            axes.text(left + 0.3, middle, name, va="center", color=style.muted, fontsize=7.5)
    return figure


def _ranked(axes, row, number, corner, style):
    left, top, side = corner
    tone = getattr(style, row.tone) if row.tone else style.text
    beside = dict(ha="right", va="center", color=tone, fontweight="bold")
    axes.text(left - 0.08, top + HEIGHT / 2, row.name.replace(" ", "\n"), **beside)
    shown = zip(row.images[number], row.right[number], row.there[number], strict=True)
    for rank, (image, right, there) in enumerate(shown):
        if there:
            x = left + rank * (side + BESIDE)
            _picture(axes, _colours(image), x, top, side, HEIGHT)
            axes.add_patch(_frame((x, top), side, HEIGHT, right))


def _frame(corner, width, height, right):
    colour, line = (RIGHT_COLOUR, "solid") if right else (WRONG_COLOUR, "dashed")
    look = dict(fill=False, linewidth=2.2, edgecolor=colour, linestyle=line)
    return Rectangle(corner, width, height, **look)
