"""Images with what they show and what a network took them for."""

import math

from dreal_tf.figures.style import LIGHT, new_figure, styled

COLUMNS = 6  # Images beside each other.
LETTERS = 16  # Of a name.


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
            colours = image[..., 0] if image.shape[-1] == 1 else image
            axes.imshow(colours, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            beneath = {"transform": axes.transAxes, "ha": "center", "va": "top"}
            axes.text(0.5, -0.04, _short(label), weight="bold", color=style.text, **beneath)
            said = f"{_short(answer)} {100 * probability:.1f} %"
            axes.text(0.5, -0.18, said, color=style.muted, size=7.5, **beneath)
    return figure


def _short(name):
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
