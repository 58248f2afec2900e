"""Random draws inside tf.data that can be repeated."""

import keras
import tensorflow as tf


class Draws(keras.random.SeedGenerator):
    """A row of seeds that follows from one seed; Keras's layers take it as `seed=`.

    Keras's own generator keeps its place in a variable. Inside tf.data that variable moves with
    every batch and every iteration, in the order in which parallel calls happen to run, and a new
    process starts it anew. Here the place is a count of the draws in the traced function.

    Args:
        seed: int tensor (2,).
    Example:
        >>> first, second = Draws((0, 7)), Draws((0, 7))
        >>> bool(keras.random.uniform((), seed=first) == keras.random.uniform((), seed=second))
        True
    """

    def __init__(self, seed):  # Not the parent's, which makes the variable.
        self.seed = tf.cast(seed, tf.int32)
        self.count = 0

    def next(self, ordered=True):
        """The next seed, an int32 tensor (2,)."""
        self.count += 1
        return tf.random.experimental.stateless_fold_in(self.seed, self.count)

    def uniform(self, shape, low=0.0, high=1.0, dtype="float32"):
        """Numbers from `low` up to but not including `high`.

        Example:
            >>> tuple(Draws((0, 7)).uniform((2, 3)).shape)
            (2, 3)
        """
        return tf.random.stateless_uniform(shape, self.next(), low, high, dtype)
