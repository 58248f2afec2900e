"""Models under replicas, and settings that are known to fail there."""

import keras
import tensorflow as tf

from dreal_tf.errors import InputError
from dreal_tf.keras_internals import compiled_metrics, layers_inside

_NOT_UNDER_REPLICAS = (
    "gradient_accumulation_steps",
    "ema_overwrite_frequency",
    # Each replica would clip its own gradient before the sum, so the step depends on their number.
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


def average_across_replicas(variables):
    """Gives variables their mean over the replicas of all workers, on every replica.

    BatchNorm's moving statistics are each replica's own; outside a replica one reads the first's.

    Args:
        variables: sequence of Keras variables of one dtype.
    Example:
        >>> average_across_replicas([keras.Variable(1.0)])  # One replica agrees with itself.
    """
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync == 1 or not variables:
        return

    def exchange():  # One exchange for all of them.
        values = tf.concat([tf.reshape(variable, [-1]) for variable in variables], axis=0)
        means = tf.distribute.get_replica_context().all_reduce("MEAN", values)
        sizes = [variable.shape.num_elements() for variable in (v.value for v in variables)]
        for variable, mean in zip(variables, tf.split(means, sizes), strict=True):
            variable.assign(tf.reshape(mean, variable.shape))

    strategy.run(exchange)


def pad_empty_shard(parts):
    """A replica's shard of a batch, padded to one row of zeros if it is empty.

    Some of TensorFlow's kernels get the shape of an empty batch wrong.

    Args:
        parts: tensor (n, ...), or a structure of them.
    Returns:
        The same structure; (1, ...) where n is 0. As it came where there is one replica.
    Example:
        >>> tuple(pad_empty_shard(tf.ones((3, 2))).shape)
        (3, 2)
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return parts

    def padded(part):
        missing = tf.cast(tf.shape(part)[0] == 0, tf.int32)
        return tf.pad(part, [[0, missing]] + [[0, 0]] * (part.shape.rank - 1))

    return tf.nest.map_structure(padded, parts)


def without_padding(outputs, count):
    """The rows of outputs that belong to images, and not to `pad_empty_shard`.

    Args:
        outputs: tensor (n, ...), of padded images.
        count: int tensor, the number of images.
    Returns:
        Tensor (count, ...). As it came where there is one replica: Keras finds the logits behind a
        softmax only if that is the last operation.
    Example:
        >>> tuple(without_padding(tf.ones((3, 2)), 3).shape)
        (3, 2)
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return outputs
    return outputs[:count]


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
    """Loss scaling, as mixed_float16 needs it, whose replicas skip a step together.

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
        The same, or one that scales losses under mixed_float16; None stays None.
    Example:
        >>> type(scaled_for("mixed_float16", keras.optimizers.SGD())).__name__
        'ReplicatedLossScale'
    """
    if optimizer is None or isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer
    return ReplicatedLossScale(optimizer) if policy == "mixed_float16" else optimizer


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


def assert_nonempty_shard(data):
    """A replica's shard of a training batch, refused if it is empty: it would ruin BatchNorm.

    Args:
        data: tensor (n, ...), or a structure of them and None.
    Returns:
        The same, available only after the check.
    Raises:
        tf.errors.InvalidArgumentError: when it runs, if n is 0 under several replicas.
    Example:
        >>> tuple(assert_nonempty_shard(tf.ones((3, 2))).shape)
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
    if inner is not optimizer or inner.loss_scale_factor is not None:
        raise InputError(
            "Expected no gradient clipping under mixed_float16 or with loss_scale_factor, where "
            f"gradients are scaled. Received: an optimizer {inner.name!r} that clips. Use "
            "mixed_bfloat16, or do not clip."
        )
    if inner.gradient_accumulation_steps:
        raise InputError(
            "Expected no gradient clipping where gradients are accumulated over steps. Received: an "
            f"optimizer {inner.name!r} that does both. Leave one of the two out."
        )


class ReplicatedModel(keras.Model):
    """A Keras model whose replicas agree before it is evaluated or saved, and that takes uneven batches.

    BatchNorm's moving averages are each replica's own. Keras evaluates with all of them and saves the
    first's; here they are averaged before `evaluate` (and so before validation), at the end of
    `fit`, and before `save` and `save_weights`. All workers must call these together.
    """

    _agreement = None  # Compiled when it is first needed.

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.under_strategy = tf.distribute.has_strategy()

    @property
    def loss_tracker(self):
        """The metric that Keras logs as "loss"."""
        return next(metric for metric in self.metrics if metric.name == "loss")

    def evaluate(self, *args, **kwargs):
        self.average_statistics()
        return super().evaluate(*args, **kwargs)

    def fit(self, *args, **kwargs):
        history = super().fit(*args, **kwargs)
        self.average_statistics()
        return history

    def save(self, *args, **kwargs):
        self.average_statistics()
        return super().save(*args, **kwargs)

    def save_weights(self, *args, **kwargs):
        self.average_statistics()
        return super().save_weights(*args, **kwargs)

    def average_statistics(self):
        """Gives every replica the mean of the replicas' moving averages."""
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return  # Nothing to agree on; no walk through the network at every evaluation.
        if self._agreement is None:
            norms = [n for n in layers_inside(self) if _learns_from_batch(n)]
            statistics = [v for norm in norms for v in (norm.moving_mean, norm.moving_variance)]
            self._agreement = tf.function(lambda: average_across_replicas(statistics))
        with self.distribute_strategy.scope():
            self._agreement()

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self._make_metrics(y, y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def _make_metrics(self, y, y_pred):
        """Makes the compiled metrics, if they are not there, beside the graph that is traced.

        Keras makes their variables inside the graph of a first step, which TensorFlow then traces
        once more, without them: twice the time, and half as much memory again.
        """
        metrics = compiled_metrics(self)
        if metrics is None or metrics.built or self.under_strategy:
            return  # Under a strategy Keras has made them before any step.

        def beside(creator, **arguments):
            return creator(**arguments | {"experimental_enable_variable_lifting": False})

        with tf.init_scope(), tf.variable_creator_scope(beside):
            metrics.build(y, y_pred)

    def _make_function(self, step_function):
        if not isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return super()._make_function(step_function)

        # Over several workers Keras averages logs along their first axis; scalars have none.
        def step(data):
            return tf.nest.map_structure(lambda log: tf.reshape(log, [1]), step_function(data))

        return super()._make_function(step)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras builds from the mean of the replicas' shards of a batch, which fails where these
        # differ in size; the first shard does as well.
        if iterator is not None and self.under_strategy:
            *_, batches = next(iter(iterator))
            local = self.distribute_strategy.experimental_local_results
            data_batch = tf.nest.map_structure(lambda part: local(part)[0], next(batches))
            iterator = None
        super()._maybe_symbolic_build(iterator, data_batch)


def _learns_from_batch(layer):
    return isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
