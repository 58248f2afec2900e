"""Ranked galleries: a query and its nearest images, baseline above ours."""

from typing import NamedTuple

import numpy as np
from matplotlib.patches import Rectangle

from dreal_tf.visualization.style import LIGHT, new_figure, styled

# Inches: height of a picture, gaps, a line of type.
HEIGHT, GAP, APART, LINE = 0.85, 0.09, 0.22, 0.19
LEFT, RIGHT, TOP, BOTTOM = 0.1, 0.1, 0.1, 0.34
NAME = 0.75  # Space for the name of a row, between query and gallery.
RIGHT_COLOUR, WRONG_COLOUR = "#1A9850", "#D73027"


class GalleryRow(NamedTuple):
    """The images that one network ranked first.

    Attributes:
        name: str, stands before each of its rows.
        images: float array (queries, count, height, width, 1 or 3), from 0 to 1, nearest first.
        right: bool array (queries, count): whether each is a right answer.
        there: bool array (queries, count): False beyond the end of the gallery.
        tone: "baseline", "ours" or None: whose colour the name has.
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
    queries = np.asarray(queries, np.float64)
    count = rows[0].images.shape[1]
    side = HEIGHT * queries.shape[2] / queries.shape[1]
    band = len(rows) * (HEIGHT + GAP) + APART + (2 * LINE if len(rows) == 1 else 0)
    first = LEFT + side + NAME
    width = first + count * (side + GAP) + RIGHT
    height = TOP + len(queries) * band + BOTTOM
    with styled(style):
        figure = new_figure(width, height, layout=None)
        # One pair of axes, in inches from the upper left corner: many would take seconds.
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        for number, (query, label) in enumerate(zip(queries, labels, strict=True)):
            top = TOP + number * band
            _picture(axes, query, LEFT, top, side)
            axes.text(LEFT, top + HEIGHT + 0.04, label, va="top", fontweight="bold")
            for line, row in enumerate(rows):
                _ranked(axes, row, number, (first, top + line * (HEIGHT + GAP), side), style)
        _legend(axes, first, height - BOTTOM / 2, style)
    return figure


def _ranked(axes, row, number, corner, style):
    left, top, side = corner
    tone = getattr(style, row.tone) if row.tone else style.text
    beside = dict(ha="right", va="center", color=tone, fontweight="bold")
    axes.text(left - 0.08, top + HEIGHT / 2, row.name.replace(" ", "\n"), **beside)
    shown = zip(row.images[number], row.right[number], row.there[number], strict=True)
    for rank, (image, right, there) in enumerate(shown):
        if there:
            x = left + rank * (side + GAP)
            _picture(axes, image, x, top, side)
            axes.add_patch(_frame((x, top), side, HEIGHT, right))


def _picture(axes, image, left, top, side):
    colours = np.clip(np.broadcast_to(image, (*image.shape[:2], 3)), 0, 1)
    extent = (left, left + side, top + HEIGHT, top)
    axes.imshow(colours, extent=extent, interpolation="nearest", aspect="auto")


def _frame(corner, width, height, right):
    return Rectangle(
        corner,
        width,
        height,
        fill=False,
        linewidth=2.2,
        edgecolor=RIGHT_COLOUR if right else WRONG_COLOUR,
        linestyle="solid" if right else "dashed",
    )


def _legend(axes, left, middle, style):
    for x, right, name in ((left, True, "right"), (left + 1.0, False, "wrong")):
        axes.add_patch(_frame((x, middle - 0.08), 0.22, 0.16, right))
        axes.text(x + 0.3, middle, name, va="center", color=style.muted, fontsize=7.5)
