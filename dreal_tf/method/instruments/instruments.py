"""Instruments: whether the gradient of a critic can be trusted, on images that nobody trained on."""

from typing import NamedTuple

import tensorflow as tf

from dreal_tf.layers import intervene
from dreal_tf.method.formulas import true_action_gradients
from dreal_tf.method.instruments.direction_test import (
    ARMS,
    PerturbedActions,
    gains_of_arms,
    perturbation_along,
    perturbations_of_arms,
)
from dreal_tf.method.rewards import count_of_fraction, sample_plan
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
        gradients = self.action_gradients(images, labels)
        metrics.add_alignment(*self.alignments(gradients), mask)
        along, random = self.gains(images, labels, gradients.dq_da, plan.modules, plan.seed)
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
