"""The critic's and the actors' losses: pure functions. The task loss is the compiled one."""

import tensorflow as tf


def weighted_mean(values, weights):
    """Mean of `values` weighted by `weights`; 0 where no weight is left.

    Args:
        values: float tensor (n,).
        weights: float tensor (n,), at least 0.
    Returns:
        Float scalar.
    Example:
        >>> float(weighted_mean(np.float32([1, 5]), np.float32([1, 0])))
        1.0
    """
    return tf.math.divide_no_nan(tf.reduce_sum(values * weights), tf.reduce_sum(weights))


def critic_loss(critique, reward, weights):
    """Squared error of the critique of the measured actions: L_r. Moves the critic alone.

    Args:
        critique: float tensor (n,). What the critic predicted for each measured action.
        reward: float tensor (n,). What was measured. No gradient flows through it.
        weights: float tensor (n,). 1 where the measurement counts, 0 elsewhere.
    Returns:
        Float scalar, in squared units of the reward.
    Example:
        >>> float(critic_loss(np.float32([0.5, 0]), np.float32([0, 9]), np.float32([1, 0])))
        0.25
    """
    return weighted_mean(tf.square(critique - tf.stop_gradient(reward)), weights)


def comparison_loss(predicted, difference, weights, delta=0.5):
    """Huber loss of predicted differences between actions, so that no single pair rules.

    Args:
        predicted: float tensor (n,). What the critic predicted.
        difference: float tensor (n,). What was measured, in the same unit. No gradient flows
            through it.
        weights: float tensor (n,). 1 where the measurement counts, 0 elsewhere.
        delta: float > 0. Error up to which the loss is its square, in that unit.
    Returns:
        Float scalar, in that unit squared.
    Example:
        >>> ones = np.ones(2, "float32")
        >>> float(comparison_loss(np.float32([0.25, 0]), np.float32([0, 2]), ones))
        0.90625
    """
    error = tf.abs(predicted - tf.stop_gradient(difference))
    huber = tf.where(error <= delta, tf.square(error), delta * (2.0 * error - delta))
    return weighted_mean(huber, weights)


def actor_loss(critiques, weights):
    """Minus the mean critique of all actions: L_q. Moves the actors alone.

    Args:
        critiques: float tensor (batch, steps).
        weights: float tensor (batch,). The images' sample weights.
    Returns:
        Float scalar: the sum over images of weight times mean critique, over the number of images,
        as Keras reduces the task loss.
    Example:
        >>> float(actor_loss(np.float32([[0.5, 0.25], [1, 1]]), np.float32([1, 1])))
        -0.6875
    """
    per_image = tf.reduce_mean(critiques, axis=1) * weights
    return -tf.math.divide_no_nan(
        tf.reduce_sum(per_image), tf.cast(tf.shape(critiques)[0], per_image.dtype)
    )
