"""The gradients that meet on the actors: the task loss's, and the critic's as far as it is trusted."""

import contextlib
import math

import keras
import tensorflow as tf

from dreal_tf.keras_internals import clip_gradients

CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")  # Arguments of an optimizer.
MARGIN = 5.0  # Standard errors.


@keras.saving.register_keras_serializable("dreal_tf")
class Trust(keras.layers.Layer):
    """A weight in [0, 1] for each module: how far its actor follows the critic. [ours]

    Each measured pair of an action and its counterfactual tests the critic: dQ/dA predicts which of
    the two scores higher, and the network shows it. Agreement is the covariance of the two signs over
    recent pairs, twice the excess of their agreement over chance; a critic that calls every action
    better has agreement 0. Agreement less five standard errors, at least 0, gives the weight: the
    correlation that normal differences of mean 0 with that agreement have. A pair is tested before the
    critic learns from it, so no data is held out.

    Five standard errors, because a critic is tested at every step and an ignorant one must never be
    followed. Signs, because a few large differences would dominate a sum of products.

    Args:
        modules: int >= 1. Number of modules.
        memory: float in (0, 1). Fraction of the sums that a training step keeps, at least.
        pairs: float > 0. Number of pairs over which the sums fade if a training step brings few
            pairs, as in a network of many modules.
    Example:
        >>> trust, differences = Trust(modules=1), np.random.normal(size=400).astype("float32")
        >>> ones, modules = np.ones(400, "float32"), np.zeros(400, "int32")
        >>> float(trust(differences, differences, modules, ones)[0]) > 0.9
        True
        >>> float(trust(-differences, 9 * differences, modules, ones)[0])
        0.0
    """

    def __init__(self, modules, memory=0.98, pairs=400.0, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.modules = modules
        self.memory = memory
        self.pairs = pairs
        # Fading sums: pairs, predicted signs, measured signs, their products. Then the pairs of the
        # last training step, on which replicas agree.
        self.sums = self.add_weight(
            (5, modules), initializer="zeros", trainable=False, aggregation="mean", name="sums"
        )

    def call(self, predicted, measured, modules, mask):
        """Adds reward samples.

        Args:
            predicted: float tensor (n,), differences that dQ/dA predicts, in the critic's unit.
            measured: float tensor (n,), measured differences (nats).
            modules: int32 tensor (n,). Position of each sample's module.
            mask: float tensor (n,). 1 where the sample counts, 0 elsewhere.
        Returns:
            Float tensor (modules,), the weights now.
        """
        # Half precision may overflow; a difference that is not finite tells nothing.
        mask = (mask > 0) & tf.math.is_finite(predicted) & tf.math.is_finite(measured)
        signs = tf.sign(predicted), tf.sign(measured)
        terms = tf.stack([tf.ones_like(measured), *signs, signs[0] * signs[1]])  # (4, n)
        terms = tf.where(mask, terms, 0.0)
        added = tf.math.unsorted_segment_sum(tf.transpose(terms), modules, self.modules)
        # Assignments are averaged over replicas; their sum is the number of pairs.
        added *= tf.cast(tf.distribute.get_replica_context().num_replicas_in_sync, tf.float32)
        added = tf.transpose(added)  # (4, modules)
        *sums, last = tf.unstack(tf.convert_to_tensor(self.sums))
        kept = tf.maximum(self.memory, tf.exp(-last / self.pairs))  # (modules,)
        self.sums.assign(tf.concat([kept * tf.stack(sums) + added, added[:1]], axis=0))
        return self.weights_now()

    def weights_now(self):
        """The weights as they are, float tensor (modules,)."""
        pairs, predicted, measured, products, _ = tf.unstack(tf.convert_to_tensor(self.sums))
        count = tf.maximum(pairs, 1.0)
        agreement = products / count - predicted * measured / count**2
        # The standard error of an agreement whose true value is 0 is at most this.
        agreement -= MARGIN * tf.math.rsqrt(count)
        return tf.sin(math.pi / 2 * tf.maximum(agreement, 0.0))

    def get_config(self):
        return super().get_config() | {
            "modules": self.modules,
            "memory": self.memory,
            "pairs": self.pairs,
        }


def actor_loss_gradients(dq_da, trust, weights, scale):
    """The gradient of the actor loss with respect to each action: -dQ/dA, trusted and weighted.

    Args:
        dq_da: list of float tensors, one per module, shaped like its action (batch, ...).
        trust: float tensor (modules,).
        weights: float tensor (batch,). The sample weights.
        scale: float scalar, by which the loss is multiplied.
    Returns:
        List of tensors shaped like the actions.
    Example:
        >>> dq_da = [tf.constant([[[[2.0]]]])]
        >>> gradients = actor_loss_gradients(dq_da, np.float32([0.5]), np.float32([1.0]), 1.0)
        >>> gradients[0].numpy().tolist()
        [[[[-1.0]]]]
    """
    modules = len(dq_da)
    scale /= tf.cast(tf.size(weights) * modules, tf.float32)
    factors = -scale * trust[:, None] * weights  # (modules, batch)
    by_rank = {}  # The factors of all modules, in a shape that broadcasts to actions of a rank.
    for rank in {gradient.shape.rank for gradient in dq_da}:
        shape = [modules, -1] + [1] * (rank - 1)
        by_rank[rank] = tf.unstack(tf.reshape(factors, shape), num=modules)
    return [
        tf.cast(by_rank[gradient.shape.rank][position], gradient.dtype) * gradient
        for position, gradient in enumerate(dq_da)
    ]


def compare_gradients(task, actor, weight, groups=(), sizes=()):
    """Size and direction of the actor loss's gradient relative to the task loss's.

    Args:
        task, actor: lists of tensors or None, one for each variable of theta.
        weight: float scalar, the actor loss's.
        groups: sequence of lists of int, the variables that are compared by themselves. The distinct
            groups must hold all variables in order; a group may occur more than once.
        sizes: sequence of int, the number of weights of each variable; needed with groups, since a
            gradient's own shape may be unknown when the graph is traced.
    Returns:
        Pair of float scalars over all variables, and pair of float tensors (groups,): the weight
        times the length of the actor loss's gradient over the length of the task loss's, and the
        cosine of the angle between them. 0 where either is 0 or not finite.
    Example:
        >>> overall, _ = compare_gradients([tf.constant([3.0, 4.0])], [tf.constant([0.0, 2.0])], 0.5)
        >>> [round(float(value), 3) for value in overall]
        [0.2, 0.8]
    """
    pairs = zip(task, actor, strict=True)
    kept = [n for n, (one, other) in enumerate(pairs) if one is not None and other is not None]
    if not kept:
        return [tf.constant(0.0)] * 2, [tf.zeros([len(groups)])] * 2
    # All variables in one operation: theta may have millions of weights.
    parts = [tf.reshape(tf.cast(side[n], tf.float32), [-1]) for side in (task, actor) for n in kept]
    both = tf.reshape(tf.concat(parts, axis=0), [2, -1])  # (2, weights)
    overall = _ratio_and_cosine(tf.matmul(both, both, transpose_b=True)[None], weight)
    distinct = list(dict.fromkeys(map(tuple, groups)))
    of_groups = [sum(sizes[n] for n in group if n in kept) for group in distinct]
    if not distinct:
        return [part[0] for part in overall], [tf.zeros([0])] * 2
    products = [tf.matmul(part, part, transpose_b=True) for part in tf.split(both, of_groups, axis=1)]
    of_distinct = _ratio_and_cosine(tf.stack(products), weight)  # (distinct,) each
    order = [distinct.index(tuple(group)) for group in groups]
    return [part[0] for part in overall], [tf.gather(part, order) for part in of_distinct]


def _ratio_and_cosine(products, weight):
    """Ratios and cosines from the products (n, 2, 2) of two gradients with each other."""
    lengths = tf.sqrt(tf.linalg.diag_part(products))  # (n, 2)
    task_length, actor_length = lengths[:, 0], lengths[:, 1]
    ratio = tf.math.divide_no_nan(tf.cast(weight, tf.float32) * actor_length, task_length)
    cosine = tf.math.divide_no_nan(products[:, 0, 1], task_length * actor_length)
    # The optimizer skips a step that overflows in half precision; so does the log.
    finite = tf.math.is_finite(task_length) & tf.math.is_finite(actor_length)
    return tf.where(finite, ratio, 0.0), tf.where(finite, cosine, 0.0)


def clip(gradients, optimizer):
    """The gradients clipped as `optimizer` is set to clip them, by Keras's own rule, bit for bit.

    Args:
        gradients: list of tensors or None.
        optimizer: `keras.optimizers.Optimizer`.
    Returns:
        List of tensors or None.
    Example:
        >>> clip([tf.constant([3.0, 4.0])], keras.optimizers.SGD(clipnorm=1.0))[0].numpy().tolist()
        [0.6000000238418579, 0.800000011920929]
    """
    return clip_gradients(optimizer, gradients)


def clipping_of(optimizer):
    """How an optimizer is set to clip.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
    Returns:
        Dict of its three arguments.
    Example:
        >>> clipping_of(keras.optimizers.SGD(clipnorm=1.0))["clipnorm"]
        1.0
    """
    return {name: getattr(optimizer, name, None) for name in CLIPPING}


@contextlib.contextmanager
def clipping_off(optimizer, clipping):
    """Inside the context the optimizer does not clip: the task loss's gradient is clipped already.

    A norm over both losses would let the actor loss change every weight.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        clipping: from `clipping_of`, before any step: replicas pass here in turns, and one would
            find what another has switched off.
    Example:
        >>> optimizer = keras.optimizers.SGD(1.0, clipnorm=1.0)
        >>> weight = keras.Variable([0.0])
        >>> with clipping_off(optimizer, clipping_of(optimizer)):
        ...     optimizer.apply([tf.constant([3.0])], [weight])
        >>> float(weight[0]), optimizer.clipnorm
        (-3.0, 1.0)
    """
    try:
        for name in clipping:
            setattr(optimizer, name, None)
        yield
    finally:
        for name, value in clipping.items():
            setattr(optimizer, name, value)


def available_after(tensors, gradients):
    """The gradients, available only when these tensors have been computed from the old weights.

    TensorFlow may move a weight in place while an operation that does not depend on its gradient,
    such as the counterfactual pass, still reads it.

    Args:
        tensors: list of tensors to wait for.
        gradients: list of tensors or None.
    Returns:
        List of tensors or None.
    Example:
        >>> float(available_after([tf.constant(1.0)], [tf.constant(2.0), None])[0])
        2.0
    """
    with tf.control_dependencies(tensors):
        return [gradient if gradient is None else tf.identity(gradient) for gradient in gradients]
