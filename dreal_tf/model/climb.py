"""The two gradients that meet on the actors: the task loss's and the actor loss's."""

import tensorflow as tf


def add_climb(gradients, climb, weight, positions):
    """Adds the actor loss's gradient to the task loss's, in place.

    Args:
        gradients: list of tensors, one for each variable of the network.
        climb: list of tensors or None, one for each variable of theta.
        weight: float scalar, the actor loss's.
        positions: list of int: where each variable of theta stands among those of the network.
    Example:
        >>> gradients = [tf.constant(1.0), tf.constant(1.0)]
        >>> add_climb(gradients, [tf.constant(4.0)], weight=0.5, positions=[1])
        >>> [float(gradient) for gradient in gradients]
        [1.0, 3.0]
    """
    for position, gradient in zip(positions, climb, strict=True):
        if gradient is not None:
            gradients[position] += tf.cast(weight, gradient.dtype) * gradient


def compared(gradients, climb, weight):
    """How the actor loss's gradient stands to the task loss's, all actors taken together.

    Args:
        gradients, climb: lists of tensors or None, one for each variable of theta.
        weight: float scalar, the actor loss's.
    Returns:
        Dict of float scalars: `climb_ratio`, weight times the length of the one over the length of the
        other, and `climb_cosine`, of the angle between them. 0 where either is 0.
    Example:
        >>> found = compared([tf.constant([3.0, 4.0])], [tf.constant([0.0, 2.0])], weight=0.5)
        >>> {name: round(float(value), 3) for name, value in found.items()}
        {'climb_ratio': 0.2, 'climb_cosine': 0.8}
    """
    pairs = [p for p in zip(gradients, climb, strict=True) if not any(part is None for part in p)]
    if not pairs:
        return {"climb_ratio": tf.constant(0.0), "climb_cosine": tf.constant(0.0)}
    # All products of the two in one operation: a network's theta may have millions of weights.
    sides = zip(*pairs, strict=True)
    parts = [tf.reshape(tf.cast(part, tf.float32), [-1]) for side in sides for part in side]
    both = tf.reshape(tf.concat(parts, axis=0), [2, -1])
    products = tf.matmul(both, both, transpose_b=True)
    task_length, actor_length = tf.unstack(tf.sqrt(tf.linalg.diag_part(products)))
    ratio = tf.math.divide_no_nan(tf.cast(weight, tf.float32) * actor_length, task_length)
    cosine = tf.math.divide_no_nan(products[0, 1], task_length * actor_length)
    # A step that overflows in half precision is left out by the optimizer, and says nothing here.
    finite = tf.math.is_finite(task_length) & tf.math.is_finite(actor_length)
    found = {"climb_ratio": ratio, "climb_cosine": cosine}
    return {name: tf.where(finite, value, 0.0) for name, value in found.items()}
