"""The confusion matrix, and the images that are confused."""

import math

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgba

from dreal_tf.visualization.heatmaps import reduced
from dreal_tf.visualization.style import LIGHT, dress, new_figure, styled

NAMED = 30  # Classes whose names fit beside the matrix.
WRITTEN = 15  # Classes whose percentages fit into the cells.
CLASS_LETTERS = 18  # Of a name.
OPAQUE = 70  # Percent from which a cell is too dark for the ground's own type.


def confusion_figure(counts, class_names, style=LIGHT):
    """The predictions for each class's images, in percent of them.

    Args:
        counts: int array (classes, classes): rows by label, columns by prediction.
        class_names: sequence of str.
        style: `Style`.
    Returns:
        `matplotlib.figure.Figure`. Shades follow the square root of the percentage, so that rare
        confusions show. Percentages and names of classes are written if they fit.
    Example:
        >>> figure = confusion_figure(np.array([[3, 1], [0, 4]]), ["cat", "dog"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['75', '25', '100']
    """
    counts = np.asarray(counts)
    classes = len(class_names)
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # From transparent to opaque, so that it fits any ground.
    shades = LinearSegmentedColormap.from_list("shades", [to_rgba(style.ours, a) for a in (0.0, 1.0)])
    side = float(np.clip(1.9 + 0.42 * classes, 4.2, 7.2))
    with styled(style):
        figure = new_figure(side + 0.9, side)
        axes = dress(figure.add_subplot(), style, grid=None)
        image = axes.imshow(percent, cmap=shades, norm=PowerNorm(0.5, vmin=0, vmax=100))
        bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, ticks=[0, 1, 5, 20, 50, 100])
        bar.set_label("share of the label's images (%)")
        bar.outline.set(edgecolor=style.grid, linewidth=0.8)
        bar.ax.tick_params(color=style.muted, labelcolor=style.muted, labelsize=7.5)
        axes.set_ylabel("label")
        axes.set_xlabel("answer")
        for spine in axes.spines.values():
            spine.set(visible=True, edgecolor=style.grid)
        axes.tick_params(length=0)
        if classes <= NAMED:
            names = [_short(name, CLASS_LETTERS) for name in class_names]
            axes.set_xticks(range(classes), names, rotation=60, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(classes), names)
        if classes <= WRITTEN:
            _write(axes, counts, percent, style)
    return figure


def _write(axes, counts, percent, style):
    for row, column in zip(*np.nonzero(counts), strict=True):
        value = percent[row, column]
        text = f"{value:.0f}" if value >= 1 else "<1"
        colour = "#FEFEFE" if value > OPAQUE else style.text
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)


COLUMNS = 6  # Images beside each other.
CAPTION_LETTERS = 16  # Of a name.


def mistakes_figure(images, labels, answers, probabilities, style=LIGHT):
    """Images in rows; beneath each its label in bold, the answer, and the answer's probability.

    Args:
        images: uint8 array (n, height, width, channels), one channel or three.
        labels, answers: sequences of str, names of classes.
        probabilities: float array (n,), of the answers.
        style: `Style`.
    Returns:
        `matplotlib.figure.Figure`.
    Example:
        >>> figure = mistakes_figure(np.zeros((1, 4, 4, 1), "uint8"), ["cat"], ["dog"], [0.75])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['cat', 'dog 75.0 %']
    """
    columns = min(COLUMNS, len(images))
    rows = math.ceil(len(images) / columns)
    with styled(style):
        figure = new_figure(1.4 * columns, 1.85 * rows)
        figure.get_layout_engine().set(h_pad=0.06)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        shown = zip(grid.flat, images, labels, answers, probabilities, strict=False)
        for axes, image, label, answer, probability in shown:
            image = reduced(image)
            colours = image[..., 0] if image.shape[-1] == 1 else image
            axes.imshow(colours, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            beneath = {"transform": axes.transAxes, "ha": "center", "va": "top"}
            axes.text(0.5, -0.04, _short(label), weight="bold", color=style.text, **beneath)
            answered = f"{_short(answer)} {100 * probability:.1f} %"
            axes.text(0.5, -0.18, answered, color=style.muted, size=7.5, **beneath)
    return figure


def _short(name, letters=CAPTION_LETTERS):
    return name if len(name) <= letters else f"{name[: letters - 1]}…"
