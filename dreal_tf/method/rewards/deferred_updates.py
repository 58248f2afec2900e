"""A training pass that defers its updates, so that a second pass can share its batch statistics."""

import keras
import tensorflow as tf

from dreal_tf.errors import InputError
from dreal_tf.keras_internals import layers_inside
from dreal_tf.method.finite import all_finite


class DeferredUpdates(keras.StatelessScope):
    """Runs a training pass of a network without moving any of its variables until `commit`.

    BatchNorm sees moving statistics of 0 and so writes (1 - momentum) · statistic into the scope:
    the batch's own statistic, whatever the earlier averages. (Computed from the old and new averages
    it would lose its digits to cancellation.)

    A layer may also assign to a trainable variable, as spectral normalisation does to its kernel.
    Plain Keras then differentiates with respect to the value assigned, and the optimizer moves that
    value: see `sources` and `commit_trainable`.

    Args:
        network: `keras.Model`.
        tape: `tf.GradientTape` that differentiates the pass, or None.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8)
        >>> with DeferredUpdates(network) as deferred:
        ...     outputs = network(np.ones((2, 8, 8, 1)), training=True)
        >>> float(keras.ops.sum(network.get_layer("conv1_bn").moving_mean))
        0.0
        >>> deferred.commit()  # Now the averages move, bit for bit as plain Keras moves them.
    """

    def __init__(self, network, tape=None):
        # Metrics that layers update in their call are no weights, but move in a pass as well.
        self.variables = [*network.non_trainable_variables, *network.metrics_variables]
        self.trainable = network.trainable_variables
        self.tape = tape
        self.momentum = {}  # By the id of each moving statistic.
        self.statistics = []
        for layer in normalizers_of(network):
            for variable in (layer.moving_mean, layer.moving_variance):
                self.momentum[id(variable)] = layer.momentum
                self.statistics.append(variable)
        self.updated = set()
        self._shared = {}
        zeros = [(v, self._once(keras.ops.zeros, v.shape, v.dtype)) for v in self.statistics]
        super().__init__(zeros, collect_losses=True)

    def _once(self, make, *arguments):
        """A constant shared by all variables that need it: each is an operation of the graph."""
        key = (make, *map(str, arguments))
        if key not in self._shared:
            self._shared[key] = make(*arguments)
        return self._shared[key]

    def add_update(self, update):
        variable, value = update
        if id(variable) in self.momentum and id(variable) in self.updated:
            raise InputError(
                f"Expected each BatchNorm to run once in a pass. Received: {variable.path!r} "
                "updated twice. Give each position in the network a BatchNorm of its own."
            )
        self.updated.add(id(variable))
        if self.tape is not None and variable.trainable:
            value = tf.stop_gradient(tf.convert_to_tensor(value))
            self.tape.watch(value)
        super().add_update((variable, value))

    def sources(self):
        """For each trainable variable, the tensor whose gradient is taken: itself, or its new value."""
        return [self.get_current_value(v) if id(v) in self.updated else v for v in self.trainable]

    def _assigned(self):
        """Trainable variables that layers have assigned to, with their new values."""
        return [(v, self.get_current_value(v)) for v in self.trainable if id(v) in self.updated]

    def batch_statistics(self):
        """Each variable that a second pass of this batch must see with another value: the moving
        statistics with the batch's own, and the trainable variables that layers have assigned to.

        Returns:
            List of (variable, tensor), for `keras.StatelessScope`.
        Raises:
            ValueError: if a trainable BatchNorm did not run in training mode.
        """
        idle = [v.path for v in self.statistics if id(v) not in self.updated]
        if idle:
            raise InputError(
                "Expected every trainable BatchNorm to normalise by its batch. Received: "
                f"{', '.join(idle[:3])} did not. Set trainable=False on layers that are frozen."
            )
        # One division for all statistics of one momentum and precision.
        groups, values_of = {}, {}
        for variable in self.statistics:
            key = (self.momentum[id(variable)], variable.dtype)
            groups.setdefault(key, []).append(variable)
        for (momentum, _), variables in groups.items():
            values = tf.concat([self.get_current_value(v) for v in variables], axis=0)
            sizes = [v.shape[0] for v in variables]
            values = tf.split(values / (1.0 - momentum), sizes, axis=0)
            values_of |= {id(v): value for v, value in zip(variables, values, strict=True)}
        return [(v, values_of[id(v)]) for v in self.statistics] + self._assigned()

    def finite(self):
        """Whether the batch's own BatchNorm statistics are finite, a bool scalar tensor."""
        return all_finite([self.get_current_value(variable) for variable in self.statistics])

    def commit_trainable(self):
        """Moves the trainable variables that layers have assigned to; before the optimizer does."""
        for variable, value in self._assigned():
            variable.assign(value)

    def commit(self):
        """Moves the other variables as the pass would have moved them."""
        for variable in self.variables:
            if id(variable) not in self.updated:
                continue
            value = self.get_current_value(variable)
            if id(variable) in self.momentum:
                momentum = self._once(
                    keras.ops.convert_to_tensor, self.momentum[id(variable)], variable.dtype
                )
                value = variable * momentum + value
            variable.assign(value)


def normalizers_of(network):
    """The BatchNorm layers of a network that learn from the batch, those inside actors included.

    Args:
        network: `keras.Model`.
    Returns:
        List of `keras.layers.BatchNormalization` that are trainable.
    Raises:
        ValueError: if one cannot share its statistics: batch renormalization, or momentum 1.
    Example:
        >>> len(normalizers_of(residual_network((8, 8, 1), 10, depth=8)))
        7
    """
    normalizers = []
    for layer in layers_inside(network):
        if not isinstance(layer, keras.layers.BatchNormalization) or not layer.trainable:
            continue
        if getattr(layer, "renorm", False) or layer.momentum >= 1:
            raise InputError(
                "Expected BatchNorm layers with momentum below 1 and without renormalization, whose "
                f"batch statistics a second pass can share. Received: {layer.name!r} with momentum="
                f"{layer.momentum}, renorm={getattr(layer, 'renorm', False)}. Set trainable=False "
                "to freeze it, or change it."
            )
        normalizers.append(layer)
    return normalizers
