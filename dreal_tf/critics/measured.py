"""What critics regress on: differences and rewards of a measurement. Pure functions."""

import tensorflow as tf

from dreal_tf.losses import critic_loss
from dreal_tf.shapes import length
from dreal_tf.steps import Step


def predicted_differences(directions, steps, measurement):
    """What directions say of each measured pair: <direction, action - alternative>.

    Args:
        directions: list of float tensors, one per step, shaped like its action.
        steps: sequence of `Step`, whose actions were measured.
        measurement: `dreal_tf.rewards.Measurement`.
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
    taken, chosen = [], []
    for direction, step, (entries, _) in zip(directions, steps, measurement.alternatives, strict=True):
        images = tf.gather(measurement.images, entries)
        taken.append(tf.gather(direction, images))
        chosen.append(Step(None, tf.stop_gradient(tf.gather(step.action, images))))
    return differences_of_rows(taken, chosen, measurement)


def differences_of_rows(directions, steps, measurement):
    """`predicted_differences`, from directions and actions of the measured images alone.

    Args:
        directions: list of float tensors, one per step: of the entries of its `Alternative`.
        steps: sequence of `Step` of the same entries, without gradient.
        measurement: `dreal_tf.rewards.Measurement`.
    Returns:
        Float32 tensor (n,), one entry per measured pair.
    """
    differences, of_rows, here = [], [], []
    for position, (direction, step) in enumerate(zip(directions, steps, strict=True)):
        entries, alternative = measurement.alternatives[position]
        change = tf.cast(step.action, tf.float32) - tf.cast(alternative, tf.float32)
        products = tf.cast(direction, tf.float32) * change
        differences.append(tf.reduce_sum(products, axis=list(range(1, products.shape.rank))))
        of_rows.append(entries)
        here.append(tf.fill(tf.shape(entries), position))
    differences, of_rows, here = (tf.concat(parts, axis=0) for parts in (differences, of_rows, here))
    differences = tf.where(tf.gather(measurement.steps, of_rows) == here, differences, 0.0)
    return tf.math.unsorted_segment_sum(differences, of_rows, length(measurement.images))


def measured_reward_loss(critiques, measurement):
    """Squared error of the critiques of the ablated actions against their rewards.

    Args:
        critiques: float tensor (batch, steps).
        measurement: `dreal_tf.rewards.Measurement`.
    Returns:
        Float scalar, in squared units of the reward.
    """
    judged = tf.gather_nd(critiques, tf.stack([measurement.images, measurement.steps], axis=1))
    return critic_loss(judged, measurement.reward, measurement.counted * measurement.ablated)
