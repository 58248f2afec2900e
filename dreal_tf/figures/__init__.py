"""Figures: arrays in, a matplotlib figure out. Nothing is shown, and nothing is written."""

from dreal_tf.figures.rendering import as_png, as_svg
from dreal_tf.figures.style import DARK, LIGHT, STYLES, Style, dress, new_figure, styled

__all__ = [
    "DARK",
    "LIGHT",
    "STYLES",
    "Style",
    "as_png",
    "as_svg",
    "dress",
    "new_figure",
    "styled",
]
