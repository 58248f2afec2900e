"""What runs a network and its critic to see whether the critic's advice can be trusted."""

from typing import NamedTuple

import tensorflow as tf

from dreal_tf.layers import intervene
from dreal_tf.method.instruments.alignment import alignment
from dreal_tf.method.instruments.direction_test import (
    ARMS,
    Moved,
    advised_change,
    arms_of,
    gains_of_arms,
)
from dreal_tf.method.rewards import draw_assignment, share_of, true_directions
from dreal_tf.modules import Step
from dreal_tf.replicas import replica_seed

MOST_BATCHES = 4


class Advice(NamedTuple):
    """What a critic advises for some images, and what the network itself would.

    Attributes:
        steps: list of `Step`, what the network did.
        critiques: float32 tensor (batch, steps).
        advised: list of float32 tensors, one per step, shaped like its action: the gradient of the
            critiques, which the actor climbs.
        true: list of float32 tensors, the gradients of the label's log probability (nats per unit of
            the action).
        hindsight: `dreal_tf.method.critics.Hindsight`, which the critic was given.
    """

    steps: object
    critiques: object
    advised: object
    true: object
    hindsight: object


class Instruments:
    """Tries a critic on a network as it is at inference.

    Args:
        network: functional `keras.Model` with auxiliary outputs, see `DREAL`.
        trajectory: `dreal_tf.networks.backbones.Trajectory`, the steps that the critic judges.
        critic: `dreal_tf.method.critics.Critic`, built.
        meter: `dreal_tf.method.rewards.RewardMeter` of the same steps.
        size: float > 0. How far the direction test moves every entry of an action (logits).
        fraction: float in (0, 1]. Share of the validation images on which `log` tries the critic's
            directions: up to four times as much of each batch, but then not of every batch, since
            a batch costs much the same however few of its images are tried.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> trajectory, critic = Trajectory(network), DirectCritic()
        >>> critic.build(trajectory.specs, classes=10)
        >>> meter = RewardMeter(network, trajectory)
        >>> instruments = Instruments(network, trajectory, critic, meter)
        >>> advice = instruments.advice(np.random.rand(4, 8, 8, 1), np.int32([1, 2, 3, 4]))
        >>> cosines, counted = instruments.alignments(advice)
        >>> cosines.numpy().round(4).tolist()[0]
        [1.0, 1.0, 1.0]
    """

    def __init__(self, network, trajectory, critic, meter, size=0.5, fraction=1.0):
        self.network = network
        self.trajectory = trajectory
        self.critic = critic
        self.meter = meter
        self.size = size
        self.period = min(int(1 / fraction), MOST_BATCHES)  # Batches to one that is tried.
        self.share = fraction * self.period  # Of that one.

    def advice(self, images, labels):
        """The critic's directions for some images, and the true ones.

        Args:
            images: float tensor (batch, ...) or a structure of them.
            labels: int32 tensor (batch,).
        Returns:
            `Advice`.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def watch(actor, index, state, action):
                tape.watch(action)
                return action

            # Watching the actions, not the weights, it works for frozen networks too.
            with intervene(watch):
                outputs = self.network(images, training=False)
            log_p = self.meter.true_log_probability(outputs["logits"], labels)
        actions = [outputs["actions"][module] for module in self.trajectory.modules]
        true = true_directions(tape, log_p, actions)
        given = true if self.critic.needs_directions else None
        hindsight = self.meter.hindsight(outputs["logits"], labels, given)
        steps = self.trajectory.emitted(outputs)
        actions = [step.action for step in steps]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(actions)
            critiques = self.critic(steps, hindsight).critiques
        silence = tf.UnconnectedGradients.ZERO
        advised = tape.gradient(critiques, actions, unconnected_gradients=silence)
        advised = [tf.cast(direction, tf.float32) for direction in advised]
        return Advice(steps, critiques, advised, true, hindsight)

    def alignments(self, advice):
        """Cosines of the critic's directions with the true ones.

        Args:
            advice: `Advice`.
        Returns:
            Float32 tensor (batch, steps), and bool tensor (batch, steps), see `alignment`.
        """
        pairs = zip(advice.advised, advice.true, strict=True)
        cosines, counted = zip(*[alignment(ours, true) for ours, true in pairs], strict=True)
        return tf.stack(cosines, axis=1), tf.stack(counted, axis=1)

    def gains(self, images, labels, advised, moved, seed):
        """The direction test: one step of each image moved as advised, and with random signs.

        All arms run in one extra pass without gradient.

        Args:
            images, labels: as of `advice`.
            advised: list of float tensors, one per step, the critic's directions for the images.
            moved: int32 tensor (batch,). Position of the step to move in each image.
            seed: int tensor (2,), of the random signs.
        Returns:
            Two float tensors (batch,), in nats, see `gains_of_arms`.
        """
        changes = []
        for position, (spec, direction) in enumerate(zip(self.trajectory.specs, advised, strict=True)):
            own = tf.random.experimental.stateless_fold_in(seed, position)
            change = advised_change(spec.kind, direction, self.size, spec.axes)
            changes.append(arms_of(change, own))
        tiled = tf.nest.map_structure(lambda part: tf.concat([part] * ARMS, axis=0), images)
        with intervene(Moved(self.trajectory.modules, tf.tile(moved, [ARMS]), changes)):
            logits = self.network(tiled, training=False)["logits"]
        return gains_of_arms(self.meter.true_log_probability(logits, tf.tile(labels, [ARMS])))

    def log(self, metrics, batch, verdict, measurement):
        """Adds a validation batch to a run's logs.

        Args:
            metrics: `InstrumentMetrics`.
            batch: images (a tensor or a structure of them), `dreal_tf.method.rewards.Targets`, and what the
                network gave for the images.
            verdict: pair: the critiques (batch, steps), and the `Hindsight` they were made with.
            measurement: `dreal_tf.method.rewards.Measurement`, exact, of baseline actions.
        """
        images, targets, outputs = batch
        self._log_explained(metrics, targets, outputs, verdict, measurement)
        tried = metrics.batches_done() % self.period == 0
        tf.cond(tried, lambda: self._log_directions(metrics, images, targets), tf.no_op)
        metrics.add_batch()

    def _log_directions(self, metrics, images, targets):
        # Another draw for each batch, or few images a batch would leave out the same steps each time.
        seed = replica_seed(0, metrics.batches_done())
        steps, batch = len(self.trajectory.specs), tf.shape(targets.labels)[0]
        drawn = draw_assignment(batch, share_of(batch, self.share), steps, seed)
        chosen = tf.nest.map_structure(lambda part: tf.gather(part, drawn.images), images)
        labels = tf.gather(targets.labels, drawn.images)
        counted = tf.gather(targets.counted, drawn.images)
        advice = self.advice(chosen, labels)
        metrics.add_alignment(*self.alignments(advice), counted)
        advised, random = self.gains(chosen, labels, advice.advised, drawn.steps, drawn.seed)
        metrics.add_direction(advised - random, drawn.steps, counted)
        return tf.no_op()

    def _log_explained(self, metrics, targets, outputs, verdict, measurement):
        critiques, hindsight = verdict
        steps = self.trajectory.emitted(outputs)
        pairs = tf.stack([measurement.images, measurement.steps], axis=1)
        # Steps vary slowest, so the first pairs hold every measured image once.
        images = measurement.images[: tf.size(measurement.images) // len(steps)]
        states = [tf.gather(step.state, images) for step in steps]
        held = held_steps(states, mean_actions(steps, targets.counted))
        known = tf.nest.map_structure(
            lambda part: None if part is None else tf.gather(part, images), hindsight
        )
        blind = tf.reshape(tf.transpose(self.critic(held, known).critiques), [-1])
        metrics.add_explained(measurement, tf.gather_nd(critiques, pairs), blind)


def mean_actions(steps, weights):
    """The mean over images of each step's action.

    Args:
        steps: list of `Step`.
        weights: float tensor (batch,). Weight of each image.
    Returns:
        List of float32 tensors, each of the shape of one image's action.
    Example:
        >>> action = np.float32([1, 3, 9]).reshape(3, 1, 1, 1)
        >>> mean_actions([Step(None, action)], np.float32([1, 1, 0]))[0].numpy().tolist()
        [[[2.0]]]
    """
    total = tf.reduce_sum(weights)
    return [
        tf.math.divide_no_nan(tf.tensordot(weights, tf.cast(step.action, tf.float32), 1), total)
        for step in steps
    ]


def held_steps(states, actions):
    """Steps that all took the same action: what is left for a critic that may not know the action.

    Args:
        states: list of tensors (batch, ...), one per step.
        actions: list of tensors (...), the action of each step.
    Returns:
        List of `Step`.
    """
    return [
        Step(state, tf.repeat(action[None], tf.shape(state)[0], axis=0))
        for state, action in zip(states, actions, strict=True)
    ]
