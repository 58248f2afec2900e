"""Instruments: whether a critic's advice can be trusted, on images that nobody has learnt from."""

from dreal_tf.method.instruments.alignment import alignment
from dreal_tf.method.instruments.estimates import bootstrap_mean, explained_variance
from dreal_tf.method.instruments.instruments import Advice, Instruments, held_steps, mean_actions
from dreal_tf.method.instruments.metrics import InstrumentMetrics

__all__ = [
    "Advice",
    "InstrumentMetrics",
    "Instruments",
    "alignment",
    "bootstrap_mean",
    "explained_variance",
    "held_steps",
    "mean_actions",
]
