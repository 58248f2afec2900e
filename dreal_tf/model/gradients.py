"""The gradients that meet on the actors: the task loss's, and the critic's as far as it is trusted."""

import contextlib
import math

import keras
import tensorflow as tf

from dreal_tf.keras_internals import clip_gradients
from dreal_tf.method.rows import expand_dims_like

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
    followed: of 10,000 runs with shuffled measurements none exceeded a trust of 0.02. Signs, because a
    few large differences would dominate a sum of products. See docs/critics.md for both choices.

    Args:
        modules: int >= 1. Number of modules.
        memory: float in (0, 1). Fraction of the sums that a training step keeps, at least.
        pairs: float > 0. Number of pairs over which the sums fade if a training step brings fewer than
            a fiftieth of it.
    Example:
        >>> trust, differences = Trust(modules=1), np.random.normal(size=400).astype("float32")
        >>> ones, modules = np.ones(400, "float32"), np.zeros(400, "int32")
        >>> float(trust(differences, differences, modules, ones)[0]) > 0.9
        True
        >>> float(trust(-differences, 9 * differences, modules, ones)[0])
        0.0
    """

    def __init__(self, modules, memory=0.98, pairs=2000.0, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.built = True  # Its state has no shape to wait for.
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


@keras.saving.register_keras_serializable("dreal_tf")
class RelativeWeight(keras.layers.Layer):
    """A factor for each module that brings L_q's gradient to the length of L_c's. [ours]

    A weight of the actor loss then means the same on every network: at 0.5 a trusted critic pushes the
    weights that make an action half as strongly as the task loss does. The factor is the fading mean of
    the length of L_c's gradient, before clipping, over that of L_q's, before trust. Modules that share
    weights share a factor. A mean fades by `DECAY` a step; replicas average theirs. L_q's mean counts as
    at least `FLOOR` of L_c's, so that the noise of a critic without any slope stays small.

    Args:
        modules: int >= 1. Number of modules.
    Example:
        >>> balance = RelativeWeight(modules=1)
        >>> balance.factors([tf.constant([3.0, 4.0])], [[tf.constant([0.5, 0.0])]], [2]).numpy().tolist()
        [10.0]
    """

    DECAY = 0.99
    FLOOR = 1e-4

    def __init__(self, modules, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.built = True
        self.modules = modules
        # Fading means of the lengths of L_c's and L_q's gradients; both miss the same part at first.
        self.lengths = self.add_weight(
            (2, modules), initializer="zeros", trainable=False, aggregation="mean", name="lengths"
        )

    def factors(self, task, of_modules, sizes):
        """The factors, after the gradients of a step were added.

        Args:
            task: list of tensors or None, L_c's gradient for each variable of theta.
            of_modules: list, one per module, of such lists of L_q's gradient through its action.
            sizes: list of int, the number of weights of each variable.
        Returns:
            Float tensor (modules,). 0 where L_c or L_q has no gradient.
        """
        groups = weights_of_modules(of_modules)
        _, products = gradient_products(task, summed(of_modules), groups, sizes)
        lengths = tf.transpose(tf.sqrt(tf.linalg.diag_part(products)))  # (2, modules)
        means = tf.convert_to_tensor(self.lengths)
        added = self.DECAY * means + (1 - self.DECAY) * lengths
        # The optimizer skips a step that overflows in half precision; so do the means.
        finite = tf.reduce_all(tf.math.is_finite(lengths), axis=0)
        self.lengths.assign(tf.where(finite, added, means))
        means = tf.convert_to_tensor(self.lengths)
        # Not by `tf.unstack`: TensorFlow takes max(y, alpha x) of two outputs of one operation for a leaky
        # ReLU of x, and y is lost.
        task_length, actor_length = means[0], means[1]
        return tf.math.divide_no_nan(task_length, tf.maximum(actor_length, self.FLOOR * task_length))

    def get_config(self):
        return super().get_config() | {"modules": self.modules}


def gradients_of_actions(dq_da, weights, scale):
    """The gradient of the actor loss with respect to each action, before trust.

    Args:
        dq_da: list of float tensors, one per module, shaped like its action (batch, ...).
        weights: float tensor (batch,). The sample weights.
        scale: float scalar, by which the loss is multiplied.
    Returns:
        List of tensors shaped like the actions: -dQ/dA, weighted, over batch size · modules.
    Example:
        >>> gradients = gradients_of_actions([tf.constant([[[[2.0]]]])], np.float32([0.5]), 1.0)
        >>> gradients[0].numpy().tolist()
        [[[[-1.0]]]]
    """
    scale /= tf.cast(tf.size(weights) * len(dq_da), tf.float32)
    factors = -scale * weights  # (batch,)
    return [tf.cast(expand_dims_like(factors, part), part.dtype) * part for part in dq_da]


def summed(of_modules, factors=None):
    """The gradient for each variable of theta through the actions of all modules.

    Args:
        of_modules: list, one per module, of lists of tensors or None, one for each variable.
        factors: float tensor (modules,) by which each module's are multiplied; None: 1.
    Returns:
        List of tensors or None.
    Example:
        >>> total = summed([[tf.constant(1.0), None], [tf.constant(2.0), None]], tf.constant([1.0, 10.0]))
        >>> float(total[0]), total[1]
        (21.0, None)
    """
    if factors is not None:
        factors = tf.unstack(factors, num=len(of_modules))
        of_modules = [
            [part if part is None else tf.cast(factor, part.dtype) * part for part in parts]
            for factor, parts in zip(factors, of_modules, strict=True)
        ]
    columns = (
        [part for part in column if part is not None] for column in zip(*of_modules, strict=True)
    )
    return [tf.add_n(parts) if len(parts) > 1 else next(iter(parts), None) for parts in columns]


def weights_of_modules(of_modules):
    """For each module, the variables that make its action, with those of modules that share some.

    Args:
        of_modules: list, one per module, of lists of tensors or None, one for each variable.
    Returns:
        List of tuples of int, the positions of the variables.
    Example:
        >>> weights_of_modules([[1.0, None, None], [None, 1.0, None], [None, 1.0, 1.0]])
        [(0,), (1, 2), (1, 2)]
    """
    own = [{n for n, part in enumerate(parts) if part is not None} for parts in of_modules]
    groups = []
    for positions in own:
        joined = [group for group in groups if group & positions]
        groups = [group for group in groups if group not in joined] + [positions.union(*joined)]
    return [tuple(sorted(next(g for g in groups if positions <= g))) for positions in own]


def gradient_products(task, actor, groups, sizes):
    """The inner products of two gradients with themselves and with each other.

    Args:
        task, actor: lists of tensors or None, one for each variable of theta.
        groups: sequence of tuples of int, the variables of each module. Two have all variables in
            common or none.
        sizes: sequence of int, the number of weights of each variable: a gradient's own shape may be
            unknown when the graph is traced.
    Returns:
        Float tensors (2, 2), over the variables of all modules, and (modules, 2, 2).
    Example:
        >>> parts = [tf.constant([3.0, 4.0])], [tf.constant([0.0, 2.0])]
        >>> _, products = gradient_products(*parts, groups=[(0,)], sizes=[2])
        >>> products.numpy().tolist()
        [[[25.0, 8.0], [8.0, 4.0]]]
    """
    distinct = list(dict.fromkeys(groups))
    kept = [[n for n in group if task[n] is not None and actor[n] is not None] for group in distinct]
    order = [n for group in kept for n in group]
    if not order:
        return tf.zeros([2, 2]), tf.zeros([len(groups), 2, 2])
    # All variables in one operation: theta may have millions of weights.
    flat = tf.constant([-1])
    parts = [tf.reshape(tf.cast(side[n], tf.float32), flat) for side in (task, actor) for n in order]
    both = tf.reshape(tf.concat(parts, axis=0), [2, -1])  # (2, weights)
    of_groups = tf.split(both, [sum(sizes[n] for n in group) for group in kept], axis=1)
    products = tf.stack([tf.matmul(part, part, transpose_b=True) for part in of_groups])
    of_modules = tf.gather(products, [distinct.index(group) for group in groups])
    return tf.reduce_sum(products, axis=0), of_modules


def ratio_and_cosine(products):
    """Length of the second gradient over that of the first, and the cosine between them.

    Args:
        products: float tensor (..., 2, 2), from `gradient_products`.
    Returns:
        Two float tensors (...,); 0 where either gradient is 0 or not finite.
    Example:
        >>> ratio, cosine = ratio_and_cosine(tf.constant([[25.0, 8.0], [8.0, 4.0]]))
        >>> round(float(ratio), 3), round(float(cosine), 3)
        (0.4, 0.8)
    """
    lengths = tf.sqrt(tf.linalg.diag_part(products))  # (..., 2)
    task_length, actor_length = lengths[..., 0], lengths[..., 1]
    ratio = tf.math.divide_no_nan(actor_length, task_length)
    cosine = tf.math.divide_no_nan(products[..., 0, 1], task_length * actor_length)
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
