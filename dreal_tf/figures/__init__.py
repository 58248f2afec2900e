"""Figures: arrays in, a matplotlib figure out. Nothing is shown, and nothing is written."""

from dreal_tf.figures.channel_attention import channel_attention
from dreal_tf.figures.heatmaps import MapRow, heatmaps, overlaid
from dreal_tf.figures.rendering import as_png, as_svg
from dreal_tf.figures.style import DARK, LIGHT, STYLES, Style, dress, new_figure, styled

__all__ = [
    "DARK",
    "LIGHT",
    "STYLES",
    "MapRow",
    "Style",
    "as_png",
    "as_svg",
    "channel_attention",
    "dress",
    "heatmaps",
    "new_figure",
    "overlaid",
    "styled",
]
