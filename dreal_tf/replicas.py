"""What a model does under replicas, and what is known not to work across them."""

import keras
import tensorflow as tf

from dreal_tf.errors import InputError

_NOT_UNDER_REPLICAS = (
    "gradient_accumulation_steps",
    "ema_overwrite_frequency",
    # Each replica would clip its own share before the sum, so the step depends on their number.
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
)


def per_replica(loss):
    """A loss that is a mean over this replica, scaled so that the sum over replicas is the mean.

    Gradients are summed over replicas; Keras scales its own losses so, hand-written ones must be.

    Example:
        >>> float(per_replica(tf.constant(3.0)))  # One replica.
        3.0
    """
    return loss / tf.distribute.get_strategy().num_replicas_in_sync


def agree(variables):
    """Gives every replica, of all workers, the mean of what the replicas hold.

    BatchNorm's moving statistics are each replica's own; read from outside they are the first's.

    Args:
        variables: sequence of Keras variables of one dtype.
    Example:
        >>> agree([keras.Variable(1.0)])  # One replica agrees with itself.
    """
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync == 1 or not variables:
        return

    def settle():  # One exchange for all of them.
        held = tf.concat([tf.reshape(variable, [-1]) for variable in variables], axis=0)
        means = tf.distribute.get_replica_context().all_reduce("MEAN", held)
        sizes = [variable.shape.num_elements() for variable in (v.value for v in variables)]
        for variable, mean in zip(variables, tf.split(means, sizes), strict=True):
            variable.assign(tf.reshape(mean, variable.shape))

    strategy.run(settle)


def never_empty(parts):
    """A replica's share of a batch, with one entry of zeros where it has none at all.

    Some of TensorFlow's kernels get the shape of no images wrong.

    Args:
        parts: tensor (n, ...), or a structure of them.
    Returns:
        The same structure; (1, ...) where n is 0. As it came where there is one replica.
    Example:
        >>> tuple(never_empty(tf.ones((3, 2))).shape)
        (3, 2)
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return parts

    def padded(part):
        missing = tf.cast(tf.shape(part)[0] == 0, tf.int32)
        return tf.pad(part, [[0, missing]] + [[0, 0]] * (part.shape.rank - 1))

    return tf.nest.map_structure(padded, parts)


def replica_seed(seed, step):
    """A seed that differs between runs, steps and replicas, and is the same when repeated.

    Args:
        seed: int, of the run.
        step: int tensor, of the training.
    Returns:
        int32 tensor (2,).
    Example:
        >>> replica_seed(3, 7).numpy().tolist() == replica_seed(3, 7).numpy().tolist()
        True
    """
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    pair = tf.stack([tf.cast(seed, tf.int32), tf.cast(step, tf.int32)])
    return tf.random.experimental.stateless_fold_in(pair, replica)


def check_replicas(optimizers, jit_compile, steps_per_execution):
    """Refuses what is known to fail under several replicas, before anything runs.

    Args:
        optimizers: sequence of `keras.optimizers.Optimizer`.
        jit_compile: bool or "auto".
        steps_per_execution: int.
    Raises:
        ValueError: naming the setting and its cure.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas == 1:
        return
    known_bad = {
        "jit_compile=True": jit_compile is True,
        f"steps_per_execution={steps_per_execution}": steps_per_execution > 1,
    }
    for optimizer in optimizers:
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        for argument in _NOT_UNDER_REPLICAS:
            value = getattr(inner, argument, None)
            known_bad[f"{argument}={value} of {inner.name!r}"] = bool(value)
        # Keras's own looks for overflow on the first replica only.
        alone = inner is not optimizer and not isinstance(optimizer, ReplicatedLossScale)
        known_bad[f"a LossScaleOptimizer around {inner.name!r}, which looks at one replica"] = alone
    for setting, present in known_bad.items():
        if present:
            raise InputError(
                f"Expected settings that work under {replicas} replicas. Received: {setting}. "
                "Leave it out, or train with one replica."
            )


@keras.saving.register_keras_serializable("dreal_tf")
class ReplicatedLossScale(keras.optimizers.LossScaleOptimizer):
    """Loss scaling, as mixed_float16 needs it, whose replicas leave a step out together.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer`. All others as of Keras's own.
    """

    def apply(self, grads, trainable_variables=None):
        super().apply(finite_everywhere(grads), trainable_variables)


def scaled_for(policy, optimizer):
    """The optimizer as a precision needs it.

    Args:
        policy: str, the model's dtype policy.
        optimizer: `keras.optimizers.Optimizer`.
    Returns:
        The same, or one that scales losses under mixed_float16.
    Example:
        >>> type(scaled_for("mixed_float16", keras.optimizers.SGD())).__name__
        'ReplicatedLossScale'
    """
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return ReplicatedLossScale(optimizer) if policy == "mixed_float16" and not scales else optimizer


def finite_everywhere(gradients):
    """The gradients, or NaN in all of them where any replica has one that is not finite.

    Args:
        gradients: list of tensors or None.
    Returns:
        List of tensors or None. As they came where there is one replica.
    Example:
        >>> finite_everywhere([tf.constant(1.0), None])[1] is None
        True
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return gradients
    flags = [tf.reduce_all(tf.math.is_finite(g)) for g in gradients if g is not None]
    broken = context.all_reduce("SUM", 1.0 - tf.cast(tf.reduce_all(flags), tf.float32)) > 0
    return [g if g is None else tf.where(broken, tf.cast(float("nan"), g.dtype), g) for g in gradients]


def nonempty_share(data):
    """A replica's share of a training batch, stopped where it has no image: it would ruin BatchNorm.

    Args:
        data: tensor (n, ...), or a structure of them and None.
    Returns:
        The same, available only after the check.
    Raises:
        tf.errors.InvalidArgumentError: when it runs, if n is 0 under several replicas.
    Example:
        >>> tuple(nonempty_share(tf.ones((3, 2))).shape)
        (3, 2)
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return data
    message = "Expected images for every replica. Received: none for one. Drop the incomplete "
    message += "batch (drop_remainder=True), or choose a batch size that leaves no such rest."
    count = tf.shape(tf.nest.flatten(data)[0])[0]
    with tf.control_dependencies([tf.debugging.assert_positive(count, message=message)]):
        return tf.nest.map_structure(lambda p: p if p is None else tf.identity(p), data)


def check_clipping(optimizer):
    """Refuses clipping where the task loss's gradient cannot be clipped by itself.

    Raises:
        ValueError: naming the cure.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not (inner.clipnorm or inner.clipvalue or inner.global_clipnorm):
        return
    if inner is not optimizer:
        raise InputError(
            "Expected no gradient clipping under mixed_float16, where gradients are scaled. "
            f"Received: an optimizer {inner.name!r} that clips. Use mixed_bfloat16, or do not clip."
        )
    if inner.gradient_accumulation_steps:
        raise InputError(
            "Expected no gradient clipping where gradients are accumulated over steps. Received: an "
            f"optimizer {inner.name!r} that does both. Leave one of the two out."
        )
