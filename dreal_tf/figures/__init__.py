"""Figures: arrays in, a matplotlib figure out. Nothing is shown, and nothing is written."""

from dreal_tf.figures.channel_attention import channel_attention
from dreal_tf.figures.confusion import confusion_figure
from dreal_tf.figures.critic_curves import critic_curves, module_curves
from dreal_tf.figures.galleries import GalleryRow, galleries
from dreal_tf.figures.heatmaps import MapRow, heatmaps, overlaid
from dreal_tf.figures.learning_curves import learning_curves
from dreal_tf.figures.mistakes import mistakes_figure
from dreal_tf.figures.module_values import module_values
from dreal_tf.figures.rendering import as_png, as_svg
from dreal_tf.figures.style import DARK, LIGHT, STYLES, Style, dress, new_figure, styled

__all__ = [
    "DARK",
    "LIGHT",
    "STYLES",
    "GalleryRow",
    "MapRow",
    "Style",
    "as_png",
    "as_svg",
    "channel_attention",
    "confusion_figure",
    "critic_curves",
    "dress",
    "galleries",
    "heatmaps",
    "learning_curves",
    "mistakes_figure",
    "module_curves",
    "module_values",
    "new_figure",
    "overlaid",
    "styled",
]
