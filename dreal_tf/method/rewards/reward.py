"""Probabilities to rewards: pure functions, arrays in, arrays out, no gradient.

Source: Li, Chen, "Deep Reinforced Attention Learning for Quality-Aware Visual Recognition", ECCV
2020, arXiv 2007.06156 (abstract and supplementary material). What is marked [ours] is not said there.
"""

import tensorflow as tf

from dreal_tf.errors import InputError

# An image with soft labels is measured where one label has at least this weight (fraction) [ours].
DOMINANT_LABEL = 0.75
# The least probability that a type holds above 0; bfloat16 is as float32.
LEAST = {tf.float32: 2.0**-126, tf.float16: 2.0**-24}


def true_labels(labels, classes):
    """The label of each image, and which images have one that clearly dominates.

    Args:
        labels: int tensor (batch,) or (batch, 1), or float tensor (batch, classes) of label weights.
        classes: int. Number of classes of the network.
    Returns:
        int32 tensor (batch,), and bool tensor (batch,): False where no label has the weight
        `DOMINANT_LABEL`, or where the label is not from 0 to classes - 1.
    Raises:
        ValueError: if `labels` has another shape.
    Example:
        >>> label, counts = true_labels(np.float32([[0, 1, 0], [0.4, 0.6, 0]]), 3)
        >>> label.numpy().tolist(), counts.numpy().tolist()
        ([1, 1], [True, False])
    """
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 2 and labels.shape[1] == classes and classes > 1:
        dominant = tf.reduce_max(labels, axis=1) >= tf.cast(DOMINANT_LABEL, labels.dtype)
        return tf.argmax(labels, axis=1, output_type=tf.int32), dominant
    if labels.shape.rank == 1 or (labels.shape.rank == 2 and labels.shape[1] == 1):
        labels = tf.cast(tf.reshape(labels, [-1]), tf.int32)
        return tf.clip_by_value(labels, 0, classes - 1), (labels >= 0) & (labels < classes)
    raise InputError(
        f"Expected labels (batch,), or label weights (batch, {classes}). Received: shape "
        f"{tuple(labels.shape)}. Give one label per image, or one weight per class."
    )


def log_probabilities(outputs, from_logits):
    """Log probabilities in float32.

    Args:
        outputs: float tensor (batch, classes): logits, or probabilities.
        from_logits: bool. Which of the two, as the compiled loss says.
    Example:
        >>> log_probabilities(np.float32([[0.25, 0.75]]), from_logits=False).numpy().round(3).tolist()
        [[-1.3860000371932983, -0.2879999876022339]]
    """
    given = tf.convert_to_tensor(outputs)
    outputs = tf.cast(given, tf.float32)
    if from_logits:
        return tf.nn.log_softmax(outputs)
    # Keras's own floor, 1e-7, would make every action worthless where the network is sure and wrong.
    return tf.math.log(tf.maximum(outputs, LEAST.get(given.dtype, LEAST[tf.float32])))


def label_log_probability(outputs, labels, from_logits):
    """Log probability of each image's label, in float32.

    Args:
        outputs, from_logits: see `log_probabilities`.
        labels: int32 tensor (batch,).
    Returns:
        Float tensor (batch,).
    Example:
        >>> outputs = np.float32([[0.25, 0.75]])
        >>> round(float(label_log_probability(outputs, np.int32([1]), from_logits=False)[0]), 3)
        -0.288
    """
    return tf.gather(log_probabilities(outputs, from_logits), labels, batch_dims=1)


def relative_gain(log_p, log_p_ablated):
    """Relative gain of the true class's probability by an action: 1 - p(ablated) / p.

    Args:
        log_p: float tensor (n,). Log probability of the true label, with the action.
        log_p_ablated: float tensor (n,). The same with the baseline action in its place.
    Returns:
        Float tensor (n,), at most 1 (no unit).
    Example:
        >>> relative_gain(np.log([0.8]), np.log([0.2])).numpy().round(6).tolist()
        [0.75]
    """
    # expm1 keeps the digits that 1 - p/p would lose where the two are close.
    return -tf.math.expm1(log_p_ablated - log_p)


def reward(gain, right, penalty=1.0):
    """Reward of an action: its relative gain on right answers, -penalty on wrong ones.

    Args:
        gain: float tensor (n,), from `relative_gain`.
        right: bool tensor (n,). Whether the prediction with the action is the true label.
        penalty: float >= 0. The paper's gamma (no unit). Defaults to 1.
    Returns:
        Float tensor (n,) in [-penalty, 1]. The lower bound holds for right answers too [ours]: a
        right answer is never scored below a wrong one.
    Example:
        >>> reward(np.float32([0.75, -9.0, 0.5]), np.array([True, True, False])).numpy().tolist()
        [0.75, -1.0, -1.0]
    """
    return tf.stop_gradient(tf.where(right, tf.clip_by_value(gain, -penalty, 1.0), -penalty))
