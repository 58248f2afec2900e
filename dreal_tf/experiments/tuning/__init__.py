"""Searches for a recipe's best settings with Keras Tuner. Light; TensorFlow comes with the runner."""

from dreal_tf.experiments.tuning.search import Search
from dreal_tf.experiments.tuning.space import Choice, Range, Space

__all__ = ["Choice", "Range", "Search", "Space"]
