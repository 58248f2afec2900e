"""What a batch's labels and sample weights say of its images."""

from typing import NamedTuple

import tensorflow as tf

from dreal_tf.method.rewards.reward import true_labels


class Targets(NamedTuple):
    """What a batch's labels and sample weights say of its images.

    Attributes:
        labels: int32 tensor (batch,).
        counted: float tensor (batch,). 1 where the image may be measured.
        weights: float tensor (batch,). The sample weights.
    """

    labels: object
    counted: object
    weights: object


def targets_of(labels, classes, sample_weight=None):
    """The targets of a batch.

    Args:
        labels: see `true_labels`.
        classes: int. Number of classes.
        sample_weight: float tensor (batch,) or (batch, 1), or None for 1 everywhere.
    Returns:
        `Targets`; an image without a dominant label, or of weight 0, does not count.
    Raises:
        ValueError: if the labels have another shape.
    Example:
        >>> targets_of(np.int32([2, 0]), 3, np.float32([0.5, 0])).counted.numpy().tolist()
        [1.0, 0.0]
    """
    labels, dominant = true_labels(labels, classes)
    if sample_weight is None:
        weights = tf.ones_like(labels, tf.float32)
    else:
        weights = tf.cast(tf.reshape(sample_weight, [-1]), tf.float32)
    return Targets(labels, tf.cast(dominant & (weights > 0), tf.float32), weights)
