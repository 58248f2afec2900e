"""Whether a critic's directions point where the network's own do. Pure functions."""

import tensorflow as tf


def alignment(advised, true):
    """Cosine, for each image, of a critic's direction with the true one.

    Args:
        advised: float tensor (batch, ...). The gradient of the critique with respect to an action.
        true: float tensor of the same shape, from `dreal_tf.method.rewards.true_directions`.
    Returns:
        Float32 tensor (batch,) of cosines, in [-1, 1]: 0 where the critic is silent, or says what is
        not finite; and bool tensor (batch,), False where the true direction is 0 or not finite, so
        that there is nothing to agree with.
    Example:
        >>> advised = np.float32([[3, 4], [0, 0], [1, 1]]).reshape(3, 1, 1, 2)
        >>> true = np.float32([[1, 0], [2, 1], [0, 0]]).reshape(3, 1, 1, 2)
        >>> cosines, counted = alignment(advised, true)
        >>> cosines.numpy().round(4).tolist(), counted.numpy().tolist()
        ([0.6000000238418579, 0.0, 0.0], [True, True, False])
    """
    (advised, _), (true, there) = _unit(advised), _unit(true)
    cosines = tf.reduce_sum(advised * true, axis=list(range(1, true.shape.rank)))
    return tf.clip_by_value(cosines, -1.0, 1.0), there


def _unit(direction):
    """Each image's direction at length 1, and whether it has one; 0 where it has none."""
    direction = tf.cast(direction, tf.float32)
    axes = list(range(1, direction.shape.rank))
    finite = tf.reduce_all(tf.math.is_finite(direction), axis=axes, keepdims=True)
    direction = tf.where(finite, direction, 0.0)
    # Near a sure answer gradients are so small that their squares would vanish.
    largest = tf.reduce_max(tf.abs(direction), axis=axes, keepdims=True)
    scaled = tf.math.divide_no_nan(direction, largest)
    length = tf.sqrt(tf.reduce_sum(tf.square(scaled), axis=axes, keepdims=True))
    return tf.math.divide_no_nan(scaled, length), tf.reshape(largest, [-1]) > 0
