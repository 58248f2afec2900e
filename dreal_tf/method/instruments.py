"""Instruments: whether a critic's gradient can be trusted, on images that nobody trained on."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.layers import intervene
from dreal_tf.method.critics.pairwise import flat_rows
from dreal_tf.method.formulas import true_action_gradients
from dreal_tf.method.rewards import count_of_fraction, sample_plan
from dreal_tf.method.rows import expand_dims_like
from dreal_tf.modules import ModuleOutput
from dreal_tf.replicas import replica_seed

LONGEST_PERIOD = 4


class ActionGradients(NamedTuple):
    """The gradients of a critic and of the network itself for some images.

    Attributes:
        modules: list of `ModuleOutput` of the pass.
        critiques: float32 tensor (batch, modules).
        dq_da: list of float32 tensors, one per module, shaped like its action: the gradient of the
            critiques, which the actor follows.
        true: list of float32 tensors, the gradients of the score (nats per unit of the action).
        privileged: `dreal_tf.method.types.PrivilegedInputs`, which the critic was given.
    """

    modules: object
    critiques: object
    dq_da: object
    true: object
    privileged: object


class Instruments:
    """Tests a critic on a network at inference.

    Args:
        network: functional `keras.Model` with auxiliary outputs, see `DREAL`.
        trajectory: `dreal_tf.networks.backbones.Trajectory`, the modules that the critic reads.
        critic: `dreal_tf.method.critics.Critic`, built.
        reward_estimator: `dreal_tf.method.rewards.RewardEstimator` of the same modules.
        size: float > 0. Size of the direction test's perturbation in every entry of an action
            (logits).
        fraction: float in (0, 1]. Fraction of the validation images on which `log` tests the action
            gradients: up to four times as much of each batch, but then not of every batch, since a
            batch costs nearly the same for few images as for many.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> trajectory, critic = Trajectory(network), DirectCritic()
        >>> critic.build(trajectory.specs, classes=10)
        >>> reward_estimator = RewardEstimator(network, trajectory)
        >>> instruments = Instruments(network, trajectory, critic, reward_estimator)
        >>> gradients = instruments.action_gradients(np.random.rand(2, 8, 8, 1), np.int32([1, 2]))
        >>> cosines, mask = instruments.alignments(gradients)
        >>> cosines.numpy().round(4).tolist()[0]
        [1.0, 1.0, 1.0]
    """

    def __init__(self, network, trajectory, critic, reward_estimator, size=0.5, fraction=1.0):
        self.network = network
        self.trajectory = trajectory
        self.critic = critic
        self.reward_estimator = reward_estimator
        self.size = size
        self.period = min(int(1 / fraction), LONGEST_PERIOD)  # Batches from one test to the next.
        self.fraction = fraction * self.period  # The fraction of a tested batch.

    def action_gradients(self, images, labels):
        """The critic's dQ/dA for some images, and the true action gradients.

        Args:
            images: float tensor (batch, ...) or a structure of them.
            labels: int32 tensor (batch,).
        Returns:
            `ActionGradients`.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def watch(actor, index, state, action):
                tape.watch(action)
                return action

            # It watches the actions, not the weights, so it works for frozen networks too.
            with intervene(watch):
                outputs = self.network(images, training=False)
            scores = self.reward_estimator.score(labels, outputs["logits"])
        actions = [outputs["actions"][module] for module in self.trajectory.modules]
        true = true_action_gradients(tape, scores, actions)
        privileged = self.reward_estimator.privileged_inputs(
            outputs["logits"], labels, true if self.critic.needs_true_action_gradients else None
        )
        modules = self.trajectory.emitted(outputs)
        actions = [module.action for module in modules]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(actions)
            critiques = self.critic(modules, privileged).critiques
        zero = tf.UnconnectedGradients.ZERO
        dq_da = tape.gradient(critiques, actions, unconnected_gradients=zero)
        dq_da = [tf.cast(gradient, tf.float32) for gradient in dq_da]
        return ActionGradients(modules, critiques, dq_da, true, privileged)

    def alignments(self, gradients):
        """Cosines of the critic's dQ/dA with the true action gradients.

        Args:
            gradients: `ActionGradients`.
        Returns:
            Float32 tensor (batch, modules), and bool tensor (batch, modules), see `alignment`.
        """
        pairs = zip(gradients.dq_da, gradients.true, strict=True)
        cosines, mask = zip(*[alignment(dq_da, true) for dq_da, true in pairs], strict=True)
        return tf.stack(cosines, axis=1), tf.stack(mask, axis=1)

    def gains(self, images, labels, dq_da, perturbed, seed):
        """The direction test: one module of each image perturbed along dQ/dA, and with random signs.

        All arms run in one pass without gradient.

        Args:
            images, labels: see `action_gradients`.
            dq_da: list of float tensors, one per module, the critic's for the images.
            perturbed: int32 tensor (batch,). Position of the module to perturb in each image.
            seed: int tensor (2,), of the random signs.
        Returns:
            Two float tensors (batch,), in nats, see `gains_of_arms`.
        """
        perturbations = []  # (4 · batch, ...) each
        for position, (spec, gradient) in enumerate(zip(self.trajectory.specs, dq_da, strict=True)):
            of_module = tf.random.experimental.stateless_fold_in(seed, position)
            along = perturbation_along(spec.kind, gradient, self.size, spec.axes)
            perturbations.append(perturbations_of_arms(along, of_module))
        tiled = tf.nest.map_structure(lambda part: tf.concat([part] * ARMS, axis=0), images)
        chosen = tf.tile(perturbed, [ARMS])
        with intervene(PerturbedActions(self.trajectory.modules, chosen, perturbations)):
            logits = self.network(tiled, training=False)["logits"]
        return gains_of_arms(self.reward_estimator.score(tf.tile(labels, [ARMS]), logits))

    def log(self, metrics, batch, output, samples):
        """Adds a validation batch to a run's logs.

        Args:
            metrics: `InstrumentMetrics`.
            batch: images (a tensor or a structure of them), `dreal_tf.method.formulas.Targets`, and
                the network's outputs for the images.
            output: pair: the critiques (batch, modules), and the `PrivilegedInputs` behind them.
            samples: `dreal_tf.method.types.RewardSamples`, exact, of reference actions.
        """
        images, targets, outputs = batch
        self._log_r2(metrics, targets, outputs, output, samples)
        is_tested = metrics.batches_done() % self.period == 0
        tf.cond(is_tested, lambda: self._log_action_gradients(metrics, images, targets), tf.no_op)
        metrics.add_batch()

    def _log_action_gradients(self, metrics, images, targets):
        # Another seed for each batch: few images a batch would perturb the same modules each time.
        seed = replica_seed(0, metrics.batches_done())
        modules, batch = len(self.trajectory.specs), tf.shape(targets.labels)[0]
        plan = sample_plan(batch, count_of_fraction(batch, self.fraction), modules, seed)
        images = tf.nest.map_structure(lambda part: tf.gather(part, plan.images), images)
        labels = tf.gather(targets.labels, plan.images)
        mask = tf.gather(targets.mask, plan.images)
        with keras.StatelessScope():  # A metric inside the network counts each image once.
            gradients = self.action_gradients(images, labels)
            along, random = self.gains(images, labels, gradients.dq_da, plan.modules, plan.seed)
        metrics.add_alignment(*self.alignments(gradients), mask)
        metrics.add_direction(along - random, plan.modules, mask)
        return tf.no_op()

    def _log_r2(self, metrics, targets, outputs, output, samples):
        critiques, privileged = output
        modules = self.trajectory.emitted(outputs)
        pairs = tf.stack([samples.images, samples.modules], axis=1)  # (n, 2)
        # Modules vary slowest, so the first rows hold every sampled image once.
        images = samples.images[: tf.size(samples.images) // len(modules)]
        states = [tf.gather(module.state, images) for module in modules]
        held = held_modules(states, mean_actions(modules, targets.mask))
        privileged = tf.nest.map_structure(
            lambda part: None if part is None else tf.gather(part, images), privileged
        )
        blind = tf.reshape(tf.transpose(self.critic(held, privileged).critiques), [-1])  # (n,)
        metrics.add_r2(samples, tf.gather_nd(critiques, pairs), blind)


def alignment(dq_da, true):
    """Cosine, for each image, of a critic's dQ/dA with the true action gradient.

    Args:
        dq_da: float tensor (batch, ...). The gradient of the critique with respect to an action.
        true: float tensor of the same shape, from `dreal_tf.method.formulas.true_action_gradients`.
    Returns:
        Float32 tensor (batch,) of cosines, in [-1, 1]: 0 where dQ/dA is 0 or not finite; and bool
        tensor (batch,), False where the true gradient is 0 or not finite, so that there is no
        direction to compare with.
    Example:
        >>> dq_da = np.float32([[3, 4], [0, 0], [1, 1]]).reshape(3, 1, 1, 2)
        >>> true = np.float32([[1, 0], [2, 1], [0, 0]]).reshape(3, 1, 1, 2)
        >>> cosines, mask = alignment(dq_da, true)
        >>> cosines.numpy().round(4).tolist(), mask.numpy().tolist()
        ([0.6000000238418579, 0.0, 0.0], [True, True, False])
    """
    (dq_da, _), (true, mask) = _unit(dq_da), _unit(true)
    cosines = tf.reduce_sum(dq_da * true, axis=list(range(1, true.shape.rank)))
    return tf.clip_by_value(cosines, -1.0, 1.0), mask


def _unit(gradient):
    """Each image's gradient at length 1, and whether it has a direction; 0 where it has none."""
    gradient = tf.cast(gradient, tf.float32)
    axes = list(range(1, gradient.shape.rank))
    finite = tf.reduce_all(tf.math.is_finite(gradient), axis=axes, keepdims=True)
    gradient = tf.where(finite, gradient, 0.0)
    # Gradients of a nearly certain network are so small that their squares would vanish.
    largest = tf.reduce_max(tf.abs(gradient), axis=axes, keepdims=True)
    scaled = tf.math.divide_no_nan(gradient, largest)
    length = tf.sqrt(tf.reduce_sum(tf.square(scaled), axis=axes, keepdims=True))
    return tf.math.divide_no_nan(scaled, length), tf.reshape(largest, [-1]) > 0


def mean_actions(modules, weights):
    """The mean over images of each module's action.

    Args:
        modules: list of `ModuleOutput`.
        weights: float tensor (batch,). Weight of each image.
    Returns:
        List of float32 tensors, each of the shape of one image's action.
    Example:
        >>> action = np.float32([1, 3, 9]).reshape(3, 1, 1, 1)
        >>> mean_actions([ModuleOutput(None, action)], np.float32([1, 1, 0]))[0].numpy().tolist()
        [[[2.0]]]
    """
    total = tf.reduce_sum(weights)
    return [
        tf.math.divide_no_nan(tf.tensordot(weights, tf.cast(module.action, tf.float32), 1), total)
        for module in modules
    ]


def held_modules(states, actions):
    """Modules that take the same action in every image: a critic cannot tell their actions apart.

    Args:
        states: list of tensors (batch, ...), one per module.
        actions: list of tensors (...), the action of each module.
    Returns:
        List of `ModuleOutput`.
    """
    return [
        ModuleOutput(state, tf.repeat(action[None], tf.shape(state)[0], axis=0))
        for state, action in zip(states, actions, strict=True)
    ]


ARMS = 4  # Along dQ/dA and against it; along random signs and against them.


def perturbation_along(kind, dq_da, size=0.5, axes=()):
    """A perturbation of one size in every entry of an action, along the sign of dQ/dA.

    Args:
        kind: str, one of `dreal_tf.modules.ACTION_KINDS`.
        dq_da: float tensor (batch, ...), shaped like the action.
        size: float > 0. Size in each entry (logits).
        axes: tuple of str, the meaning of each axis of a pairwise action, see `ModuleSpec`: some
            have keys to which a query cannot attend, and which are no part of the mean.
    Returns:
        Float32 tensor of that shape: -size, 0 or size. A gradient that is equal for all keys of a
        row does not move a softmax, so the mean over keys is subtracted from a pairwise gradient.
    Example:
        >>> perturbation_along("pairwise", np.float32([[[1.0, 3.0]]])).numpy().tolist()
        [[[-0.5, 0.5]]]
        >>> cross = np.float32([[0, 2, 3], [2, 0, 3]]).reshape(1, 2, 1, 3)
        >>> axes = ("rows", "columns", "cross")
        >>> perturbation_along("pairwise", cross, axes=axes)[0, 0, 0].numpy().tolist()
        [0.0, -0.5, 0.5]
    """
    dq_da = tf.cast(dq_da, tf.float32)
    if kind == "pairwise":
        dq_da -= flat_rows(dq_da, axes)
    return size * tf.sign(tf.where(tf.math.is_finite(dq_da), dq_da, 0.0))


def random_perturbation(perturbation, seed):
    """The same perturbation with random signs.

    Args:
        perturbation: float tensor, from `perturbation_along`.
        seed: int tensor (2,).
    Returns:
        Float tensor: as large in every entry, and 0 where that one is 0.
    Example:
        >>> along = tf.constant([[0.5, 0.0, -0.5]])
        >>> tf.abs(random_perturbation(along, seed=(0, 1))).numpy().tolist()
        [[0.5, 0.0, 0.5]]
    """
    coins = tf.random.stateless_uniform(tf.shape(perturbation), seed) < 0.5
    return tf.where(coins, perturbation, -perturbation)


def perturbations_of_arms(along, seed):
    """The perturbations of the four arms, one arm after another along the first axis.

    Args:
        along: float tensor (n, ...), from `perturbation_along`.
        seed: int tensor (2,), of the random signs.
    Returns:
        Float tensor (4 n, ...).
    """
    random = random_perturbation(along, seed)
    return tf.concat([along, -along, random, -random], axis=0)


def gains_of_arms(scores):
    """The gain of a perturbation along dQ/dA, and of one along random signs.

    Args:
        scores: float tensor (4 n,). Score in each arm, as `perturbations_of_arms` orders them.
    Returns:
        Two float tensors (n,), in nats: half the difference between the arm and the opposite arm.
    Example:
        >>> along, random = gains_of_arms(np.float32([-1, -3, -2, -2.5]))
        >>> float(along[0]), float(random[0])
        (1.0, 0.25)
    """
    forth, back, random_forth, random_back = tf.split(scores, ARMS)
    return (forth - back) / 2.0, (random_forth - random_back) / 2.0


class PerturbedActions:
    """An intervention (see `dreal_tf.layers.intervene`) that perturbs one module's action in each image.

    Args:
        modules: sequence of str, the module names.
        positions: int32 tensor (n,). For each image of the pass the position in `modules` of the
            module to perturb; -1 for none.
        perturbations: list of float tensors (n, ...), one per module (logits).
    Example:
        >>> actor, state = SqueezeExcite(2, name="gate"), np.random.rand(2, 4, 4, 8)
        >>> _, own = actor(state, return_action=True)
        >>> ones = [np.ones((2, 1, 1, 8))]
        >>> with intervene(PerturbedActions(["gate/se"], np.int32([0, -1]), ones)):
        ...     _, perturbed = actor(state, return_action=True)
        >>> (perturbed.numpy() > own.numpy()).all(axis=3).ravel().tolist()
        [True, False]
    """

    def __init__(self, modules, positions, perturbations):
        self.position_of = {module: position for position, module in enumerate(modules)}
        self.positions = tf.convert_to_tensor(positions)
        self.perturbations = perturbations

    def __call__(self, actor, index, state, action):
        position = self.position_of.get(actor.modules()[index])
        if position is None:
            return action
        perturbed = actor.perturb_action(action, self.perturbations[position], index)
        chosen = expand_dims_like(self.positions == position, action)
        return tf.where(chosen, perturbed, action)


# Fraction of the mean square below which a variance from sums is only their rounding.
ROUNDING = 1e-9
# Half the width of a normal 95 % interval (standard errors).
NORMAL_95 = 1.96
RESAMPLED_AT_A_TIME = 2**22  # Values that the bootstrap holds in memory.


def mean_interval_from_sums(count, total, squares):
    """Means with their normal 95 % intervals.

    Args:
        count, total, squares: float tensors (n,). Number, sum and sum of squares of the values.
    Returns:
        Three float tensors (n,): mean, low and high. All 0 where the count is 0; of one value alone
        the interval is its mean, since nothing is known of the spread.
    Example:
        >>> mean, low, high = mean_interval_from_sums(*np.float32([[2], [2], [4]]))  # 0 and 2.
        >>> mean.numpy().tolist(), low.numpy().round(2).tolist(), high.numpy().round(2).tolist()
        ([1.0], [-0.9599999785423279], [2.9600000381469727])
    """
    mean = tf.math.divide_no_nan(total, count)
    spread = tf.nn.relu(squares - count * tf.square(mean))
    variance = tf.math.divide_no_nan(spread, tf.nn.relu(count - 1.0))
    half = NORMAL_95 * tf.sqrt(tf.math.divide_no_nan(variance, count))
    return mean, mean - half, mean + half


def r2_from_sums(count, total, squares, errors):
    """R² of predictions: 1 - mean squared error / variance of the measured values.

    Args:
        count, total, squares: float tensors (n,). Number, sum and sum of squares of the measured values.
        errors: float tensor (n,). Sum of squared errors of the predictions.
    Returns:
        Float tensor (n,), at most 1; 0 where there are no values or all are equal.
    Example:
        >>> r2_from_sums(*np.float32([[2], [2], [4], [1]])).numpy().tolist()  # 0 and 2.
        [0.5]
    """
    square = tf.math.divide_no_nan(squares, count)
    variance = square - tf.square(tf.math.divide_no_nan(total, count))
    varied = variance > ROUNDING * square
    ratio = tf.math.divide_no_nan(tf.math.divide_no_nan(errors, count), variance)
    return tf.where(varied, 1.0 - ratio, tf.zeros_like(ratio))


def r2(measured, predicted):
    """R² of predictions: 1 - mean squared error / variance of the measured values.

    Args:
        measured, predicted: float arrays (n,). Pairs that are not finite are skipped.
    Returns:
        Float, at most 1; None if there are no values or all are equal.
    Example:
        >>> r2(np.array([0.0, 2.0]), np.array([0.0, 1.0]))
        0.5
    """
    measured, predicted = np.asarray(measured, np.float64), np.asarray(predicted, np.float64)
    finite = np.isfinite(measured) & np.isfinite(predicted)  # Half precision may overflow.
    measured, predicted = measured[finite], predicted[finite]
    if measured.size == 0 or np.ptp(measured) == 0:
        return None
    from sklearn.metrics import r2_score  # Audits alone need it, and SciPy below.

    return float(r2_score(measured, predicted))


def bootstrap_mean(values, seed=0, draws=1000):
    """A mean with its 95 % interval: percentiles of the means of resampled values.

    Args:
        values: float array (n,).
        seed: int.
        draws: int >= 1. Number of resamples.
    Returns:
        Dict of `mean`, `low` and `high`: float, or None where there are no values.
    Example:
        >>> bootstrap_mean(np.array([2.0, 2.0, 2.0]))
        {'mean': 2.0, 'low': 2.0, 'high': 2.0}
    """
    values = np.asarray(values, np.float64)
    if values.size == 0:
        return {"mean": None, "low": None, "high": None}
    mean = float(values.mean())
    if values.size == 1:  # SciPy refuses a single value.
        return {"mean": mean, "low": mean, "high": mean}
    from scipy import stats

    random, batch = np.random.default_rng(seed), max(RESAMPLED_AT_A_TIME // values.size, 1)
    options = dict(n_resamples=draws, batch=batch, method="percentile", random_state=random)
    interval = stats.bootstrap((values,), np.mean, **options).confidence_interval
    return {"mean": mean, "low": float(interval.low), "high": float(interval.high)}
