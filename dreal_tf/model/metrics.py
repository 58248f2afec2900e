"""What a run logs beside Keras's own metrics: losses, and rewards, gains and critiques per module."""

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


@keras.saving.register_keras_serializable("dreal_tf")
class StepMetrics(keras.metrics.Metric):
    """Everything that the method logs, under the names of docs/logs.md.

    Args:
        modules: sequence of str, the module names.
    Attributes:
        climbing: bool. Whether `result` tells of the climb, which there is in training alone.
    Example:
        >>> sorted(StepMetrics(["conv2_1/se"]).result())[:3]
        ['actor_loss', 'climb_cosine', 'climb_ratio']
    """

    LOSSES = ("task_loss", "critic_loss", "actor_loss")
    CLIMB = ("climb_ratio", "climb_cosine")

    def __init__(self, modules, name="step_metrics", **kwargs):
        super().__init__(name=name, **kwargs)
        self.modules = list(modules)
        self.losses = {name: keras.metrics.Mean(name=name) for name in self.LOSSES}
        self.reward = ModuleMeans(modules, "reward")
        self.gain = ModuleMeans(modules, "gain")
        self.critique = ModuleMeans(modules, "critique")
        self.trust = ModuleMeans(modules, "trust")
        self.reward_measured = keras.metrics.Sum(name="reward_measured")
        self.climb = {name: keras.metrics.Mean(name=name) for name in self.CLIMB}
        self.climbing = True

    def update_state(self, losses, present, lesson, targets, measurement):
        """Adds a batch.

        Args:
            losses: dict of float scalars by name, means over the batch.
            present: int scalar. Number of images in the batch.
            lesson: `dreal_tf.model.learner.Lesson`, with critiques (images, steps).
            targets: `dreal_tf.method.rewards.Targets` of the batch.
            measurement: `dreal_tf.method.rewards.Measurement` of some of its actions.
        """
        for name, loss in losses.items():
            self.losses[name].update_state(loss, sample_weight=present)
        images, modules = tf.unstack(tf.shape(lesson.critiques))
        positions = tf.tile(tf.range(modules), [images])
        counted = tf.repeat(targets.counted, modules)
        self.critique.update_state(tf.reshape(lesson.critiques, [-1]), positions, counted)
        self.trust.update_state(lesson.trust, tf.range(modules), tf.ones([modules]))
        counted = measurement.counted * measurement.ablated
        right = tf.cast(measurement.right, tf.float32)
        self.reward.update_state(measurement.reward, measurement.steps, counted)
        self.gain.update_state(measurement.gain, measurement.steps, counted * right)
        measured = tf.math.unsorted_segment_max(counted, measurement.images, images)
        self.reward_measured.update_state(tf.maximum(measured, 0.0))

    def update_climb(self, climb, present):
        """Adds how the actors' two gradients stood to each other in a step.

        Args:
            climb: dict of float scalars, see `dreal_tf.model.climb.compared`.
            present: int scalar. Number of images in the batch.
        """
        for name, value in climb.items():
            self.climb[name].update_state(value, sample_weight=present)

    def _parts(self):
        modules = [self.reward, self.gain, self.critique, self.trust]
        return [*self.losses.values(), *modules, self.reward_measured, *self.climb.values()]

    def reset_state(self):
        for part in self._parts():
            part.reset_state()

    def result(self):
        results = {}
        left_out = () if self.climbing else self.CLIMB
        for part in self._parts():
            if part.name in left_out:
                continue
            result = part.result()
            results |= result if isinstance(result, dict) else {part.name: result}
        return results

    def get_config(self):
        return super().get_config() | {"modules": self.modules}
