"""Networks that start from weights: what is loaded, what is frozen, how fast each part learns."""

from dreal_tf.fine_tuning.found import AUTO, found_line, settled
from dreal_tf.fine_tuning.rates import OPTIMIZERS, lr_multipliers
from dreal_tf.fine_tuning.start import freeze, load_start, start_file

__all__ = [
    "AUTO",
    "OPTIMIZERS",
    "found_line",
    "freeze",
    "load_start",
    "lr_multipliers",
    "settled",
    "start_file",
]
