"""Metrics per module that survive steps which measured nothing."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("dreal_tf")
class ModuleMeans(keras.metrics.Metric):
    """Mean over an epoch of a quantity of each module, from sums and counts.

    Args:
        modules: sequence of str, the module names.
        name: str, the quantity, such as "reward"; the log's keys are `<name>/<module>`.
    Example:
        >>> means = ModuleMeans(["conv2_1/se", "conv3_1/se"], name="reward")
        >>> means.update_state([1.0, 0.5], positions=[0, 0], counted=[1.0, 1.0])
        >>> {key: float(value) for key, value in means.result().items()}
        {'reward/conv2_1/se': 0.75, 'reward/conv3_1/se': 0.0}
    """

    def __init__(self, modules, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self.modules = list(modules)
        shape = (len(self.modules),)
        self.total = self.add_variable(shape, initializer="zeros", name="total")
        self.count = self.add_variable(shape, initializer="zeros", name="count")

    def update_state(self, values, positions, counted):
        """Adds values.

        Args:
            values: float tensor (n,).
            positions: int tensor (n,). Position of each value's module.
            counted: float tensor (n,). Weight of each value; 0 leaves it out.
        """
        counted = tf.cast(counted, self.total.dtype)
        # A value that does not count may be infinite, and 0 times infinity is not 0.
        values = tf.where(counted > 0, tf.cast(values, self.total.dtype), 0.0)
        modules = len(self.modules)
        self.total.assign_add(tf.math.unsorted_segment_sum(values * counted, positions, modules))
        self.count.assign_add(tf.math.unsorted_segment_sum(counted, positions, modules))

    def result(self):
        means = tf.math.divide_no_nan(
            tf.convert_to_tensor(self.total), tf.convert_to_tensor(self.count)
        )
        keys = [f"{self.name}/{module}" for module in self.modules]
        return dict(zip(keys, tf.unstack(means), strict=True))

    def get_config(self):
        return super().get_config() | {"modules": self.modules}
