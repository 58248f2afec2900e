"""Searches for a recipe's best settings with Keras Tuner. Light; TensorFlow comes with the search."""

from dreal_tf.tuning.space import Choice, Range, Space

__all__ = ["Choice", "Range", "Space"]
