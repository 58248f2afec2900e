"""Data sets as tf.data: what a recipe's `data.name` stands for, and a user's own arrays."""

from dreal_tf.data.arrays import from_arrays
from dreal_tf.data.digits import digits
from dreal_tf.data.splits import EpochClock, Splits

# The one list of data sets; the key is what a recipe calls `data.name`.
DATA_SETS = {"digits": digits}

__all__ = ["DATA_SETS", "EpochClock", "Splits", "digits", "from_arrays"]
