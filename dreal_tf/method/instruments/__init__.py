"""Instruments: whether a critic's gradient can be trusted, on images that nobody trained on."""

from dreal_tf.method.instruments.estimates import bootstrap_mean, r2
from dreal_tf.method.instruments.instruments import (
    ActionGradients,
    Instruments,
    alignment,
    held_modules,
    mean_actions,
)

__all__ = [
    "ActionGradients",
    "Instruments",
    "alignment",
    "bootstrap_mean",
    "held_modules",
    "mean_actions",
    "r2",
]
