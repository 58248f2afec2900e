"""Adam in one operation for each variable, where Keras takes some thirty."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("dreal_tf")
class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam, each variable moved by one operation of TensorFlow.

    The same numbers up to rounding (of 1 less its decay in float32: 5e-5 of a step) and the same
    state, so that what Keras's own Adam has saved is gone on with. What is the same for all variables
    is worked out once. A critic has dozens of small variables, and a graph in which each takes thirty
    operations needs more memory to be traced and optimized than the variables do. Sparse gradients and `amsgrad` take Keras's own way.

    Args:
        arguments: those of `keras.optimizers.Adam`.
    Example:
        >>> weight, optimizer = keras.Variable([1.0, 1.0]), FusedAdam(0.1)
        >>> optimizer.apply([tf.constant([0.5, -2.0])], [weight])
        >>> weight.numpy().round(4).tolist()
        [0.8999999761581421, 1.100000023841858]
    Source: Kingma, Ba 2015, arXiv 1412.6980, in the form before its section 2.1, as Keras has it.
    """

    def __init__(self, *args, name="adam", **kwargs):
        super().__init__(*args, name=name, **kwargs)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        # Handed on in the place of the rate alone, which Keras takes to wherever variables live.
        rate = tf.cast(learning_rate, tf.float32)
        step = tf.cast(self.iterations + 1, tf.float32)
        beta_1, beta_2, epsilon = map(tf.constant, (self.beta_1, self.beta_2, self.epsilon))
        shared = (rate, beta_1, beta_2, beta_1**step, beta_2**step, epsilon)
        super()._backend_update_step(grads, trainable_variables, shared)

    def update_step(self, gradient, variable, learning_rate):
        """Moves a variable.

        Args:
            gradient: tensor of the variable's shape, or `tf.IndexedSlices`.
            variable: Keras or TensorFlow variable.
            learning_rate: float scalar, or the tuple that all variables share.
        """
        shared = isinstance(learning_rate, tuple)
        exact = variable.dtype in ("float32", tf.float32)  # Lower ones round the decay 0.999 to 1.
        if not shared or not exact or self.amsgrad or isinstance(gradient, tf.IndexedSlices):
            rate = learning_rate[0] if shared else learning_rate
            return super().update_step(gradient, variable, rate)
        index = self._get_variable_index(variable)
        rate, beta_1, beta_2, power_1, power_2, epsilon = learning_rate
        tf.raw_ops.ResourceApplyAdam(
            var=(variable.value if isinstance(variable, keras.Variable) else variable).handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=power_1,
            beta2_power=power_2,
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
            grad=tf.cast(gradient, tf.float32),
        )
