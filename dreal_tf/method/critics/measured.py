"""What critics regress on: differences and rewards of a measurement. Pure functions."""

import numpy as np
import tensorflow as tf
from keras import ops

from dreal_tf.method.critics.side_by_side import alike, laid, measured_rows
from dreal_tf.method.losses import critic_loss


def predicted_differences(directions, steps, measurement):
    """What directions say of each measured pair: <direction, action - alternative>.

    Args:
        directions: list of float tensors, one per step, shaped like its action.
        steps: sequence of `Step`, whose actions were measured.
        measurement: `dreal_tf.method.rewards.Measurement`.
    Returns:
        Float32 tensor (n,), one entry per measured pair, to be compared with its `difference`.
    Example:
        >>> step = Step(None, np.full((2, 1, 1, 2), 0.5, "float32"))
        >>> pair = dict.fromkeys(Measurement._fields) | {"images": [1], "steps": [0]}
        >>> pair |= {"alternatives": [Alternative(np.int32([0]), np.zeros((1, 1, 1, 2), "float32"))]}
        >>> direction = np.float32([[0, 0], [1, 3]]).reshape(2, 1, 1, 2)
        >>> predicted_differences([direction], [step], Measurement(**pair)).numpy().tolist()
        [2.0]
    """
    parts = []
    for positions in alike(directions):
        batch = ops.shape(directions[positions[0]])[0]
        entries, here, rows = measured_rows(positions, batch, measurement)
        direction = tf.gather(laid([directions[position] for position in positions]), rows)
        action = laid([tf.stop_gradient(steps[position].action) for position in positions])
        parts.append((positions, entries, here, direction, tf.gather(action, rows)))
    return differences_of_rows(parts, measurement)


def differences_of_rows(parts, measurement):
    """`predicted_differences`, from directions and actions of the measured images alone.

    Args:
        parts: list of tuples, one for each list of steps that are reckoned side by side: the
            positions of the steps; entries and positions as `measured_rows` gives them; directions
            and actions of these entries, the latter without gradient.
        measurement: `dreal_tf.method.rewards.Measurement`.
    Returns:
        Float32 tensor (n,), one entry per measured pair.
    """
    differences, of_rows = [], []
    for positions, entries, here, direction, action in parts:
        alternative = laid([measurement.alternatives[position].action for position in positions])
        change = tf.cast(action, tf.float32) - tf.cast(alternative, tf.float32)
        products = tf.cast(direction, tf.float32) * change
        difference = tf.reduce_sum(products, axis=list(range(1, products.shape.rank)))
        changed = tf.gather(measurement.steps, entries) == here
        differences.append(tf.where(changed, difference, 0.0))
        of_rows.append(entries)
    rows = ops.shape(measurement.images)[0]
    known = all(isinstance(entries, np.ndarray) for entries in of_rows)
    of_rows = np.concatenate(of_rows) if known else tf.concat(of_rows, axis=0)
    return tf.math.unsorted_segment_sum(laid(differences), of_rows, rows)


def measured_reward_loss(critiques, measurement):
    """Squared error of the critiques of the ablated actions against their rewards.

    Args:
        critiques: float tensor (batch, steps).
        measurement: `dreal_tf.method.rewards.Measurement`.
    Returns:
        Float scalar, in squared units of the reward.
    """
    judged = tf.gather_nd(critiques, tf.stack([measurement.images, measurement.steps], axis=1))
    return critic_loss(judged, measurement.reward, measurement.counted * measurement.ablated)
