"""Bytes that replicas exchange in a training step, computed from the model."""

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.keras_internals import layers_inside


def exchanged_bytes(model):
    """What an all-reduce sums over the replicas in each training step.

    Whatever the number of replicas, a ring all-reduce sends at most twice that from each.

    Args:
        model: compiled `DREAL`.
    Returns:
        Dict of int, in bytes: `network` (gradients of W and theta), `statistics` (of synchronized
        BatchNorm, forward and back), `critic` (gradients of phi), `trust` (what is known of its
        advice); the last two are 0 without a critic.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8)
        >>> exchanged_bytes(DREAL(network, critic=None))["critic"]
        0
    """
    critic = model.critic
    trust = model.trust if critic is not None else None
    exchanged = {
        "network": _bytes(model.network.trainable_variables),
        "statistics": sum(map(_of_statistics, layers_inside(model.network))),
        "critic": 0 if critic is None else _bytes(critic.trainable_variables),
        "trust": 0 if trust is None else _bytes(trust.variables),
    }
    return {what: int(count) for what, count in exchanged.items()}


def _of_statistics(layer):
    """Two sums for each channel on the way forward, and two on the way back."""
    if not isinstance(layer, keras.layers.BatchNormalization) or not layer.synchronized:
        return 0
    return 2 * _bytes([layer.moving_mean, layer.moving_variance])


def _bytes(variables):
    return sum(np.prod(v.shape, dtype=int) * tf.as_dtype(v.dtype).size for v in variables)
