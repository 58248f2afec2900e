"""The true direction of each action: what a critic's gradient is measured against."""

import tensorflow as tf


def true_directions(tape, log_p, actions):
    """Gradient of the label's log probability with respect to each action.

    Args:
        tape: `tf.GradientTape` that saw the pass.
        log_p: float tensor (batch,), log probabilities of the labels in that pass.
        actions: list of tensors, the actions that the pass applied.
    Returns:
        List of float32 tensors shaped like the actions (nats per unit of the action).
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> with tf.GradientTape() as tape:
        ...     outputs = network(np.random.rand(4, 8, 8, 1))
        ...     log_p = log_probabilities(outputs["logits"], from_logits=True)[:, 3]
        >>> actions = list(outputs["actions"].values())
        >>> [tuple(direction.shape) for direction in true_directions(tape, log_p, actions)]
        [(4, 1, 1, 16), (4, 1, 1, 32), (4, 1, 1, 64)]
    """
    return [tf.cast(direction, tf.float32) for direction in tape.gradient(log_p, actions)]
