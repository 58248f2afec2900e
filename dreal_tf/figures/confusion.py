"""What is taken for what: the confusion matrix, for ten classes or a thousand."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgba

from dreal_tf.figures.style import LIGHT, dress, new_figure, styled

NAMED = 30  # Classes whose names fit beside the matrix.
WRITTEN = 15  # Classes whose shares fit into the cells.
LETTERS = 18  # Of a name.
OPAQUE = 70  # Percent from which a cell is too dark for the ground's own type.


def confusion_figure(counts, class_names, style=LIGHT):
    """The share of each class's images that were answered by each class, in percent.

    Args:
        counts: int array (classes, classes): rows by label, columns by answer.
        class_names: sequence of str.
        style: `Style`.
    Returns:
        `matplotlib.figure.Figure`. Shades follow the square root of the share, so that rare confusions
        show. Shares are written, and classes named, where they fit.
    Example:
        >>> figure = confusion_figure(np.array([[3, 1], [0, 4]]), ["cat", "dog"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['75', '25', '100']
    """
    counts = np.asarray(counts)
    classes = len(class_names)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # From transparent to opaque, so that it fits any ground.
    shades = LinearSegmentedColormap.from_list("shades", [to_rgba(style.ours, a) for a in (0.0, 1.0)])
    side = float(np.clip(1.9 + 0.42 * classes, 4.2, 7.2))
    with styled(style):
        figure = new_figure(side + 0.9, side)
        axes = dress(figure.add_subplot(), style, grid=None)
        drawn = axes.imshow(shares, cmap=shades, norm=PowerNorm(0.5, vmin=0, vmax=100))
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02, ticks=[0, 1, 5, 20, 50, 100])
        bar.set_label("share of the label's images (%)")
        bar.outline.set(edgecolor=style.grid, linewidth=0.8)
        bar.ax.tick_params(color=style.muted, labelcolor=style.muted, labelsize=7.5)
        axes.set_ylabel("label")
        axes.set_xlabel("answer")
        for spine in axes.spines.values():
            spine.set(visible=True, edgecolor=style.grid)
        axes.tick_params(length=0)
        if classes <= NAMED:
            names = [n if len(n) <= LETTERS else f"{n[: LETTERS - 1]}…" for n in class_names]
            axes.set_xticks(range(classes), names, rotation=60, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(classes), names)
        if classes <= WRITTEN:
            _write(axes, counts, shares, style)
    return figure


def _write(axes, counts, shares, style):
    for row, column in zip(*np.nonzero(counts), strict=True):
        share = shares[row, column]
        axes.text(
            column,
            row,
            f"{share:.0f}" if share >= 1 else "<1",
            ha="center",
            va="center",
            fontsize=7.5,
            color="#FEFEFE" if share > OPAQUE else style.text,
        )
