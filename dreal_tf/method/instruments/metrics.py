"""What a run logs of its critic in evaluation, from sums that add up over batches and replicas."""

import keras
import tensorflow as tf

from dreal_tf.method.instruments.estimates import explained_from_sums, mean_interval_from_sums


class ModuleSums(keras.metrics.Metric):
    """Sums over an evaluation of some terms, for each module; subclasses say what they tell.

    Args:
        modules: sequence of str, the module names.
        name: str, the quantity.
    Class attributes:
        terms: int. How many sums there are for each module.
    """

    terms = 1

    def __init__(self, modules, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self.modules = list(modules)
        shape = (self.terms, len(self.modules))
        # float64: a variance is what is left when two large sums are subtracted.
        self.sums = self.add_variable(shape, initializer="zeros", dtype="float64", name="sums")

    def add(self, terms, positions, counted):
        """Adds values.

        Args:
            terms: list of float tensors (n,).
            positions: int tensor (n,). Position of each value's module.
            counted: bool tensor (n,). False leaves it out, as does a term that is not finite.
        """
        terms = tf.stack([tf.cast(term, tf.float64) for term in terms], axis=1)  # (n, terms)
        counted &= tf.reduce_all(tf.math.is_finite(terms), axis=1)
        terms = tf.where(counted[:, None], terms, tf.zeros_like(terms))
        sums = tf.math.unsorted_segment_sum(terms, positions, len(self.modules))
        self.sums.assign_add(tf.transpose(sums))

    def totals(self):
        """The sums, one float tensor (modules,) for each term."""
        return tf.unstack(tf.convert_to_tensor(self.sums))

    def named(self, name, values):
        """Dict of values by `<name>/<module>`."""
        keys = [f"{name}/{module}" for module in self.modules]
        return dict(zip(keys, tf.unstack(tf.cast(values, tf.float32)), strict=True))

    def get_config(self):
        return super().get_config() | {"modules": self.modules}


@keras.saving.register_keras_serializable("dreal_tf")
class AlignmentOfModules(ModuleSums):
    """Mean cosine of each module with its 95 % interval, and the share above 0.

    Args:
        modules: sequence of str, the module names.
    Example:
        >>> metric = AlignmentOfModules(["conv2_1/se"])
        >>> metric.update_state([0.5, -0.5, 0.75, 0.25], [0] * 4, [True] * 4)
        >>> results = metric.result()
        >>> float(results["alignment/conv2_1/se"]), float(results["alignment_positive/conv2_1/se"])
        (0.25, 0.75)
    """

    terms = 4

    def __init__(self, modules, name="alignment", **kwargs):
        super().__init__(modules, name, **kwargs)

    def update_state(self, cosines, positions, counted):
        """Adds cosines (n,); `positions` and `counted` as of `add`."""
        cosines = tf.cast(cosines, tf.float64)
        terms = [tf.ones_like(cosines), cosines, tf.square(cosines), cosines > 0]
        self.add(terms, positions, counted)

    def result(self):
        count, total, squares, positive = self.totals()
        mean, low, high = mean_interval_from_sums(count, total, squares)
        results = {
            "alignment": mean,
            "alignment_low": low,
            "alignment_high": high,
            "alignment_positive": tf.math.divide_no_nan(positive, count),
        }
        return {k: v for name, part in results.items() for k, v in self.named(name, part).items()}


@keras.saving.register_keras_serializable("dreal_tf")
class ExplainedOfModules(ModuleSums):
    """Explained variance of predictions for each module.

    Args:
        modules: sequence of str, the module names.
        name: str, the quantity.
    Example:
        >>> metric = ExplainedOfModules(["conv2_1/se"], name="explained")
        >>> metric.update_state([0.0, 2.0], [0.0, 1.0], [0, 0], [True, True])
        >>> {name: float(value) for name, value in metric.result().items()}
        {'explained/conv2_1/se': 0.5}
    """

    terms = 4

    def update_state(self, measured, predicted, positions, counted):
        """Adds what was measured and predicted (n,); `positions` and `counted` as of `add`."""
        measured, predicted = (tf.cast(part, tf.float64) for part in (measured, predicted))
        errors = tf.square(measured - predicted)
        self.add([tf.ones_like(measured), measured, tf.square(measured), errors], positions, counted)

    def result(self):
        return self.named(self.name, explained_from_sums(*self.totals()))


@keras.saving.register_keras_serializable("dreal_tf")
class MeansOfModules(ModuleSums):
    """Mean of a quantity for each module.

    Args:
        modules: sequence of str, the module names.
        name: str, the quantity.
    Example:
        >>> metric = MeansOfModules(["conv2_1/se"], name="direction")
        >>> metric.update_state([0.5, 1.0], [0, 0], [True, True])
        >>> {name: float(value) for name, value in metric.result().items()}
        {'direction/conv2_1/se': 0.75}
    """

    terms = 2

    def update_state(self, values, positions, counted):
        """Adds values (n,); `positions` and `counted` as of `add`."""
        values = tf.convert_to_tensor(values)
        self.add([tf.ones_like(values), values], positions, counted)

    def result(self):
        count, total = self.totals()
        return self.named(self.name, tf.math.divide_no_nan(total, count))


@keras.saving.register_keras_serializable("dreal_tf")
class InstrumentMetrics(keras.metrics.Metric):
    """All that the instruments log, under the names of docs/logs.md; 0 where nothing was measured.

    Args:
        modules: sequence of str, the module names.
    Attributes:
        told: bool. Whether `result` says anything: what nobody asks for is not worked out.
    Example:
        >>> sorted(InstrumentMetrics(["conv2_1/se"]).result())[:2]
        ['alignment/conv2_1/se', 'alignment_high/conv2_1/se']
    """

    def __init__(self, modules, name="instruments", **kwargs):
        super().__init__(name=name, **kwargs)
        self.modules = list(modules)
        self.told = True
        self.alignment = AlignmentOfModules(modules)
        self.explained = ExplainedOfModules(modules, "explained")
        self.explained_right = ExplainedOfModules(modules, "explained_right")
        self.explained_held = ExplainedOfModules(modules, "explained_held")
        self.direction = MeansOfModules(modules, "direction")
        self.batches = keras.metrics.Sum(name="batches")

    def batches_done(self):
        """How many batches this replica has added in this evaluation, an int32 tensor."""
        return tf.cast(tf.convert_to_tensor(self.batches.total), tf.int32)

    def add_batch(self):
        """Counts a batch."""
        self.batches.update_state(1.0)

    def add_alignment(self, cosines, there, counted):
        """Adds the cosines of a batch.

        Args:
            cosines: float tensor (n, modules).
            there: bool tensor (n, modules). Whether there was a true direction.
            counted: float tensor (n,). 1 where the image counts.
        """
        images, modules = tf.unstack(tf.shape(cosines))
        positions = tf.tile(tf.range(modules), [images])
        there &= counted[:, None] > 0
        self.alignment.update_state(tf.reshape(cosines, [-1]), positions, tf.reshape(there, [-1]))

    def add_direction(self, differences, positions, counted):
        """Adds direction tests.

        Args:
            differences: float tensor (n,). Gain as advised less gain with random signs (nats).
            positions: int32 tensor (n,). Position of the step that was moved.
            counted: float tensor (n,). 1 where the image counts.
        """
        self.direction.update_state(differences, positions, counted > 0)

    def add_explained(self, measurement, critiques, held):
        """Adds critiques of measured actions.

        Args:
            measurement: `dreal_tf.method.rewards.Measurement` of n pairs.
            critiques: float tensor (n,), what the critic predicted for them.
            held: float tensor (n,), what it predicted with every action held at its mean.
        """
        reward, steps = measurement.reward, measurement.steps
        counted = measurement.counted * measurement.ablated > 0
        self.explained.update_state(reward, critiques, steps, counted)
        self.explained_right.update_state(reward, critiques, steps, counted & measurement.right)
        self.explained_held.update_state(reward, held, steps, counted)

    def _parts(self):
        explained = [self.explained, self.explained_right, self.explained_held]
        return [self.alignment, *explained, self.direction]

    def reset_state(self):
        for part in [*self._parts(), self.batches]:
            part.reset_state()

    def result(self):
        return self.all() if self.told else {}

    def all(self):
        """What `result` says, whether it is told or not."""
        return {name: value for part in self._parts() for name, value in part.result().items()}

    def get_config(self):
        return super().get_config() | {"modules": self.modules}
