"""Metrics: the logged quantities of the method, each with one value per module.

They are sums that add up over batches and replicas. docs/logs.md lists their names.
"""

import keras
import tensorflow as tf

from dreal_tf.method.instruments import mean_interval_from_sums, r2_from_sums


class ModuleSums(keras.metrics.Metric):
    """Sums over an epoch of some terms, for each module; subclasses compute results from them.

    Args:
        modules: sequence of str, the module names.
        name: str, the quantity, such as "reward"; the log's keys are `<name>/<module>`.
        sums_dtype: str. A variance, the small difference of two large sums, needs float64.
    Class attributes:
        terms: int. Number of sums for each module.
    """

    terms = 1

    def __init__(self, modules, name, sums_dtype="float64", **kwargs):
        super().__init__(name=name, **kwargs)
        self.modules = list(modules)
        self.sums_dtype = sums_dtype
        shape = (self.terms, len(self.modules))
        self.sums = self.add_variable(shape, initializer="zeros", dtype=sums_dtype, name="sums")

    def add(self, terms, positions, mask):
        """Adds values.

        Args:
            terms: list of float tensors (n,).
            positions: int tensor (n,). Position of each value's module.
            mask: bool tensor (n,). Values where it is False do not count.
        """
        terms = tf.stack([tf.cast(term, self.sums.dtype) for term in terms], axis=1)  # (n, terms)
        # A masked value may be infinite, and 0 times infinity is not 0.
        terms = tf.where(mask[:, None], terms, tf.zeros_like(terms))
        sums = tf.math.unsorted_segment_sum(terms, positions, len(self.modules))  # (modules, terms)
        self.sums.assign_add(tf.transpose(sums))

    def totals(self):
        """The sums, one float tensor (modules,) for each term."""
        return tf.unstack(tf.convert_to_tensor(self.sums))

    def by_module(self, name, values):
        """Dict of values by `<name>/<module>`."""
        keys = [f"{name}/{module}" for module in self.modules]
        return dict(zip(keys, tf.unstack(tf.cast(values, tf.float32)), strict=True))

    def get_config(self):
        return super().get_config() | {"modules": self.modules, "sums_dtype": self.sums_dtype}


@keras.saving.register_keras_serializable("dreal_tf")
class ModuleMeans(ModuleSums):
    """Weighted mean of a quantity for each module; 0 where it has no weight.

    Args:
        modules, name, sums_dtype: see `ModuleSums`.
    Example:
        >>> means = ModuleMeans(["conv2_1/se", "conv3_1/se"], name="reward")
        >>> means.update_state([1.0, 0.5], positions=[0, 0], weights=[1.0, 1.0])
        >>> {key: float(value) for key, value in means.result().items()}
        {'reward/conv2_1/se': 0.75, 'reward/conv3_1/se': 0.0}
    """

    terms = 2

    def __init__(self, modules, name, sums_dtype="float32", **kwargs):
        super().__init__(modules, name, sums_dtype, **kwargs)

    def update_state(self, values, positions, weights):
        """Adds values (n,) with weights (n,); `positions` as in `add`."""
        weights = tf.cast(weights, self.sums.dtype)
        values = tf.cast(values, self.sums.dtype)
        self.add([weights, values * weights], positions, weights > 0)

    def means(self):
        """The means, float tensor (modules,)."""
        weight, total = self.totals()
        return tf.math.divide_no_nan(total, weight)

    def result(self):
        return self.by_module(self.name, self.means())


@keras.saving.register_keras_serializable("dreal_tf")
class ModuleAlignments(ModuleSums):
    """Mean cosine of each module with its 95 % interval, and the fraction above 0.

    Args:
        modules: sequence of str, the module names.
    Example:
        >>> metric = ModuleAlignments(["conv2_1/se"])
        >>> metric.update_state([0.5, -0.5, 0.75, 0.25], [0] * 4, [True] * 4)
        >>> results = metric.result()
        >>> float(results["alignment/conv2_1/se"]), float(results["alignment_positive/conv2_1/se"])
        (0.25, 0.75)
    """

    terms = 4

    def __init__(self, modules, name="alignment", **kwargs):
        super().__init__(modules, name, **kwargs)

    def update_state(self, cosines, positions, mask):
        """Adds cosines (n,); `positions` and `mask` as in `add`."""
        cosines = tf.cast(cosines, tf.float64)
        finite = tf.math.is_finite(cosines) & mask
        self.add([tf.ones_like(cosines), cosines, tf.square(cosines), cosines > 0], positions, finite)

    def result(self):
        count, total, squares, positive = self.totals()
        mean, low, high = mean_interval_from_sums(count, total, squares)
        results = {
            "alignment": mean,
            "alignment_low": low,
            "alignment_high": high,
            "alignment_positive": tf.math.divide_no_nan(positive, count),
        }
        return {k: v for name, part in results.items() for k, v in self.by_module(name, part).items()}


@keras.saving.register_keras_serializable("dreal_tf")
class ModuleR2(ModuleSums):
    """R² of predictions for each module.

    Args:
        modules: sequence of str, the module names.
        name: str, the quantity.
    Example:
        >>> metric = ModuleR2(["conv2_1/se"], name="r2")
        >>> metric.update_state([0.0, 2.0], [0.0, 1.0], [0, 0], [True, True])
        >>> {name: float(value) for name, value in metric.result().items()}
        {'r2/conv2_1/se': 0.5}
    """

    terms = 4

    def update_state(self, measured, predicted, positions, mask):
        """Adds measured and predicted values (n,); `positions` and `mask` as in `add`."""
        measured, predicted = (tf.cast(part, tf.float64) for part in (measured, predicted))
        errors = tf.square(measured - predicted)
        finite = tf.math.is_finite(errors) & tf.math.is_finite(tf.square(measured)) & mask
        terms = [tf.ones_like(measured), measured, tf.square(measured), errors]
        self.add(terms, positions, finite)

    def result(self):
        return self.by_module(self.name, r2_from_sums(*self.totals()))


class Bundle(keras.metrics.Metric):
    """Several metrics as one, whose result is a dict of theirs.

    Args:
        modules: sequence of str, the module names.
    Attributes:
        parts: list of metrics.
    """

    def __init__(self, modules, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self.modules = list(modules)

    def reset_state(self):
        for part in self.parts:
            part.reset_state()

    def results_of(self, parts):
        """Dict of the results of some parts by name."""
        results = {}
        for part in parts:
            result = part.result()
            results |= result if isinstance(result, dict) else {part.name: result}
        return results

    def get_config(self):
        return super().get_config() | {"modules": self.modules}


@keras.saving.register_keras_serializable("dreal_tf")
class MethodMetrics(Bundle):
    """The logged quantities of a training or validation step.

    Args:
        modules: sequence of str, the module names.
        with_critic: bool. Without a critic there are rewards and gains alone.
    Attributes:
        in_training: bool. Whether `result` has the actor gradients, which training alone computes,
            and no rewards without a critic, which validation alone measures then.
        with_rewards: bool. Whether any rewards are measured.
    Example:
        >>> sorted(MethodMetrics(["conv2_1/se"]).result())[:3]
        ['actor_grad_cosine', 'actor_grad_cosine/conv2_1/se', 'actor_grad_ratio']
    """

    def __init__(self, modules, with_critic=True, name="method_metrics", **kwargs):
        super().__init__(modules, name, **kwargs)
        self.with_critic = with_critic
        self.with_rewards = True
        self.in_training = True
        self.reward = ModuleMeans(modules, "reward")
        self.gain = ModuleMeans(modules, "gain")
        self.reward_measured = keras.metrics.Sum(name="reward_measured")
        self.critic_loss = keras.metrics.Mean(name="critic_loss")
        self.actor_loss = keras.metrics.Mean(name="actor_loss")
        self.critique = ModuleMeans(modules, "critique")
        self.trust = ModuleMeans(modules, "trust")
        names = ("actor_grad_ratio", "actor_grad_cosine")
        self.actor_grads = [keras.metrics.Mean(name=name) for name in names]
        self.actor_grads_of_modules = [ModuleMeans(modules, name) for name in names]
        self.of_critic = [self.critic_loss, self.actor_loss, self.critique, self.trust]
        self.of_actors = [*self.actor_grads, *self.actor_grads_of_modules]
        self.parts = [self.reward, self.gain, self.reward_measured, *self.of_critic, *self.of_actors]

    def add_rewards(self, samples, images):
        """Adds reward samples.

        Args:
            samples: `dreal_tf.method.types.RewardSamples`.
            images: int scalar. Number of images in the batch.
        """
        mask = samples.mask * samples.ablated  # (n,)
        self.reward.update_state(samples.reward, samples.modules, mask)
        correct = tf.cast(samples.correct, tf.float32)
        self.gain.update_state(samples.gain, samples.modules, mask * correct)
        measured = tf.math.unsorted_segment_max(mask, samples.images, images)  # (images,)
        self.reward_measured.update_state(tf.maximum(measured, 0.0))

    def add_critic(self, critic_loss, actor_loss, critiques, trust, mask, present):
        """Adds the critic's results for a batch.

        Args:
            critic_loss, actor_loss: float scalars, means over the batch.
            critiques: float tensor (images, modules).
            trust: float tensor (modules,).
            mask: float tensor (images,), see `Targets`.
            present: int scalar. Number of images that this replica was given.
        """
        self.critic_loss.update_state(critic_loss, sample_weight=present)
        self.actor_loss.update_state(actor_loss, sample_weight=present)
        images, modules = tf.unstack(tf.shape(critiques))
        positions = tf.tile(tf.range(modules), [images])
        self.critique.update_state(tf.reshape(critiques, [-1]), positions, tf.repeat(mask, modules))
        self.trust.update_state(trust, tf.range(modules), tf.ones([modules]))

    def add_actor_gradients(self, overall, of_modules, present):
        """Adds the size and direction of the actor loss's gradient relative to the task loss's.

        Args:
            overall: pair of float scalars, ratio and cosine over all actors.
            of_modules: pair of float tensors (modules,), the same for each module's layer.
            present: int scalar. Number of images that this replica was given.
        """
        for metric, value in zip(self.actor_grads, overall, strict=True):
            metric.update_state(value, sample_weight=present)
        for metric, values in zip(self.actor_grads_of_modules, of_modules, strict=True):
            count = len(self.modules)
            metric.update_state(values, tf.range(count), tf.fill([count], present))

    def result(self):
        measured = self.with_rewards and (self.with_critic or not self.in_training)
        if not self.modules or not measured:
            return {}
        parts = [self.reward, self.gain, self.reward_measured]
        if self.with_critic:
            parts += [*self.of_critic, *(self.of_actors if self.in_training else ())]
        weights, _ = self.reward.totals()
        count = tf.math.count_nonzero(weights, dtype=tf.float32)  # Modules that were measured.
        mean = tf.math.divide_no_nan(tf.reduce_sum(self.reward.means()), count)
        return self.results_of(parts) | {"reward": mean}

    def get_config(self):
        return super().get_config() | {"with_critic": self.with_critic}


@keras.saving.register_keras_serializable("dreal_tf")
class InstrumentMetrics(Bundle):
    """The logged quantities of the instruments; 0 where nothing was tested.

    Args:
        modules: sequence of str, the module names.
    Attributes:
        in_validation: bool. Whether `result` has any: training runs no instruments.
    Example:
        >>> sorted(InstrumentMetrics(["conv2_1/se"]).result())[:2]
        ['alignment/conv2_1/se', 'alignment_high/conv2_1/se']
    """

    def __init__(self, modules, name="instruments", **kwargs):
        super().__init__(modules, name, **kwargs)
        self.in_validation = True
        self.alignment = ModuleAlignments(modules)
        self.r2 = ModuleR2(modules, "r2")
        self.r2_right = ModuleR2(modules, "r2_right")
        self.r2_held = ModuleR2(modules, "r2_held")
        self.direction = ModuleMeans(modules, "direction", sums_dtype="float64")
        self.batches = keras.metrics.Sum(name="batches")
        self.logged = [self.alignment, self.r2, self.r2_right, self.r2_held, self.direction]
        self.parts = [*self.logged, self.batches]

    def batches_done(self):
        """Number of batches that this replica has added in this evaluation, an int32 tensor."""
        return tf.cast(tf.convert_to_tensor(self.batches.total), tf.int32)

    def add_batch(self):
        """Counts a batch."""
        self.batches.update_state(1.0)

    def add_alignment(self, cosines, defined, mask):
        """Adds the cosines of a batch.

        Args:
            cosines: float tensor (n, modules).
            defined: bool tensor (n, modules). Whether there was a true action gradient.
            mask: float tensor (n,). 1 where the image counts.
        """
        images, modules = tf.unstack(tf.shape(cosines))
        positions = tf.tile(tf.range(modules), [images])
        defined &= mask[:, None] > 0
        self.alignment.update_state(tf.reshape(cosines, [-1]), positions, tf.reshape(defined, [-1]))

    def add_direction(self, differences, positions, mask):
        """Adds direction tests.

        Args:
            differences: float tensor (n,). Gain along dQ/dA less gain along random signs (nats).
            positions: int32 tensor (n,). Position of the module that was perturbed.
            mask: float tensor (n,). 1 where the image counts.
        """
        finite = tf.cast(tf.math.is_finite(differences), mask.dtype)  # Half precision may overflow.
        self.direction.update_state(differences, positions, mask * finite)

    def add_r2(self, samples, critiques, held):
        """Adds critiques of measured actions.

        Args:
            samples: `dreal_tf.method.types.RewardSamples`, n of them.
            critiques: float tensor (n,), the critic's predictions for them.
            held: float tensor (n,), its predictions with every action held at its mean.
        """
        reward, modules = samples.reward, samples.modules
        mask = samples.mask * samples.ablated > 0
        self.r2.update_state(reward, critiques, modules, mask)
        self.r2_right.update_state(reward, critiques, modules, mask & samples.correct)
        self.r2_held.update_state(reward, held, modules, mask)

    def result(self):
        return self.all() if self.in_validation else {}

    def all(self):
        """The result, in validation or not."""
        return self.results_of(self.logged)
