"""The method's formulas: targets, score, reward and losses. Functions of tensors.

Source: Li, Chen, "Deep Reinforced Attention Learning for Quality-Aware Visual Recognition", ECCV
2020, arXiv 2007.06156 (abstract and supplementary material). [ours] marks choices of this project.
"""

from typing import NamedTuple

import tensorflow as tf

from dreal_tf.errors import InputError

# An image with soft labels counts if one label has at least this weight (fraction) [ours].
DOMINANT_LABEL = 0.75
# The smallest number above 0 that a type is sure to hold; bfloat16 has that of float32.
SMALLEST = {tf.float32: 2.0**-126, tf.float16: 2.0**-24}


class Targets(NamedTuple):
    """The labels of a batch, and which images may be measured.

    Attributes:
        labels: int32 tensor (batch,).
        mask: float tensor (batch,). 1 where the image may be measured, else 0.
        weights: float tensor (batch,). The sample weights.
    """

    labels: object
    mask: object
    weights: object


def targets_of(labels, classes, sample_weight=None):
    """Reads the labels and sample weights that `fit` passes.

    Args:
        labels: see `true_labels`.
        classes: int. Number of classes.
        sample_weight: float tensor (batch,) or (batch, 1), or None for 1 everywhere.
    Returns:
        `Targets`. An image without a dominant label, or of weight 0, is masked.
    Raises:
        ValueError: if the labels have another shape.
    Example:
        >>> targets_of(np.int32([2, 0]), 3, np.float32([0.5, 0])).mask.numpy().tolist()
        [1.0, 0.0]
    """
    labels, dominant = true_labels(labels, classes)
    if sample_weight is None:
        weights = tf.ones_like(labels, tf.float32)
    else:
        weights = tf.cast(tf.reshape(sample_weight, [-1]), tf.float32)
    return Targets(labels, tf.cast(dominant & (weights > 0), tf.float32), weights)


def true_labels(labels, classes):
    """The label of each image, and whether it clearly dominates.

    Args:
        labels: int tensor (batch,) or (batch, 1), or float tensor (batch, classes) of label weights;
            one-hot labels may also be integers or Booleans.
        classes: int. Number of classes of the network.
    Returns:
        int32 tensor (batch,), and bool tensor (batch,): False where no label has the weight
        `DOMINANT_LABEL`, or where the label is not from 0 to classes - 1.
    Raises:
        ValueError: if `labels` has another shape.
    Example:
        >>> label, dominant = true_labels(np.float32([[0, 1, 0], [0.4, 0.6, 0]]), 3)
        >>> label.numpy().tolist(), dominant.numpy().tolist()
        ([1, 1], [True, False])
    """
    labels = tf.convert_to_tensor(labels)
    if labels.dtype == tf.bool:
        labels = tf.cast(labels, tf.int32)
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


def per_example_score(labels, outputs, from_logits):
    """The score that the method raises: log p of the label.

    A task other than classification replaces this function. Classes are also read by `targets_of`,
    `RewardEstimator.is_correct`, `RewardEstimator.privileged_inputs`, `dreal_tf.model.settings`, and
    `relative_gain`, which takes the score as a log probability.

    Args:
        labels: int32 tensor (batch,).
        outputs, from_logits: see `log_probabilities`.
    Returns:
        Float32 tensor (batch,), in nats.
    Example:
        >>> outputs = np.float32([[0.25, 0.75]])
        >>> round(float(per_example_score(np.int32([1]), outputs, from_logits=False)[0]), 3)
        -0.288
    """
    return tf.gather(log_probabilities(outputs, from_logits), labels, batch_dims=1)


def log_probabilities(outputs, from_logits):
    """Log probabilities in float32.

    Args:
        outputs: float tensor (batch, classes): logits, or probabilities.
        from_logits: bool. Which of the two, as the compiled loss says.
    Returns:
        Float32 tensor (batch, classes).
    Example:
        >>> log_probabilities(np.float32([[0.25, 0.75]]), from_logits=False).numpy().round(3).tolist()
        [[-1.3860000371932983, -0.2879999876022339]]
    """
    given = tf.convert_to_tensor(outputs)
    outputs = tf.cast(given, tf.float32)
    if from_logits:
        return tf.nn.log_softmax(outputs)
    # Keras's own floor, 1e-7, would give every action reward 0 where the network is sure and wrong.
    return tf.math.log(tf.maximum(outputs, SMALLEST.get(given.dtype, SMALLEST[tf.float32])))


def true_action_gradients(tape, scores, actions):
    """Gradient of the batch's summed scores with respect to each action: the dQ/dA of a perfect critic.

    In training mode it includes the effect through the batch statistics, which measured differences do
    not.

    Args:
        tape: `tf.GradientTape` that recorded the pass.
        scores: float tensor (batch,), from `per_example_score` of that pass.
        actions: list of tensors, the actions that the pass applied.
    Returns:
        List of float32 tensors shaped like the actions (nats per unit of the action).
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> with tf.GradientTape() as tape:
        ...     outputs = network(np.random.rand(4, 8, 8, 1))
        ...     scores = per_example_score([3] * 4, outputs["logits"], from_logits=True)
        >>> actions = list(outputs["actions"].values())
        >>> [tuple(gradient.shape) for gradient in true_action_gradients(tape, scores, actions)]
        [(4, 1, 1, 16), (4, 1, 1, 32), (4, 1, 1, 64)]
    """
    gradients = tape.gradient(scores, actions)
    return [tf.cast(gradient, tf.float32) for gradient in gradients]


def relative_gain(score, counterfactual_score):
    """Relative gain in the true class's probability by an action: 1 - p(counterfactual) / p.

    Args:
        score: float tensor (n,). Log p of the label with the action.
        counterfactual_score: float tensor (n,). The same with the counterfactual action.
    Returns:
        Float tensor (n,), at most 1 (no unit).
    Example:
        >>> relative_gain(np.log([0.8]), np.log([0.2])).numpy().round(6).tolist()
        [0.75]
    """
    # expm1 keeps the digits that 1 - p/p would lose where the two are close.
    return -tf.math.expm1(counterfactual_score - score)


def reward(gain, correct, penalty=1.0):
    """Reward of an action: its relative gain if the prediction is correct, else -penalty.

    Args:
        gain: float tensor (n,), from `relative_gain`.
        correct: bool tensor (n,). Whether the prediction with the action is the true label.
        penalty: float >= 0. The paper's gamma (no unit). Defaults to 1.
    Returns:
        Float tensor (n,) in [-penalty, 1]. The lower bound holds for correct predictions too [ours]:
        a correct prediction never scores below a wrong one.
    Example:
        >>> reward(np.float32([0.75, -9.0, 0.5]), np.array([True, True, False])).numpy().tolist()
        [0.75, -1.0, -1.0]
    """
    return tf.stop_gradient(tf.where(correct, tf.clip_by_value(gain, -penalty, 1.0), -penalty))


def weighted_mean(values, weights):
    """Mean of `values` weighted by `weights`; 0 where all weights are 0.

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
    """Squared error of the critiques of measured actions: the loss of the paper's critic, L_r.

    Args:
        critique: float tensor (n,), the prediction for each measured action.
        reward: float tensor (n,), the measured reward. No gradient flows through it.
        weights: float tensor (n,). 1 where the sample counts, 0 elsewhere.
    Returns:
        Float scalar, in squared units of the reward.
    Example:
        >>> float(critic_loss(np.float32([0.5, 0]), np.float32([0, 9]), np.float32([1, 0])))
        0.25
    """
    return weighted_mean(tf.square(critique - tf.stop_gradient(reward)), weights)


def ablation_loss(critiques, samples):
    """`critic_loss` over the samples whose action was ablated.

    Args:
        critiques: float tensor (batch, modules).
        samples: `dreal_tf.method.types.RewardSamples`.
    Returns:
        Float scalar, in squared units of the reward.
    """
    pairs = tf.stack([samples.images, samples.modules], axis=1)  # (n, 2)
    return critic_loss(tf.gather_nd(critiques, pairs), samples.reward, samples.mask * samples.ablated)


def comparison_loss(predicted, difference, weights, delta=0.5):
    """Twice the Huber loss of predicted differences, so that no single pair dominates.

    Args:
        predicted: float tensor (n,), the critic's prediction.
        difference: float tensor (n,), the measured difference, in the same unit. No gradient flows
            through it.
        weights: float tensor (n,). 1 where the sample counts, 0 elsewhere.
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
    """Minus the mean critique of all actions: L_q, as it is logged.

    The actors follow its gradient, scaled by trust: `dreal_tf.DREAL.push`.

    Args:
        critiques: float tensor (batch, modules).
        weights: float tensor (batch,). The sample weights.
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
