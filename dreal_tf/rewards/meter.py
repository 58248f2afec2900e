"""Measures rewards: an extra pass without gradient, with actions ablated."""

from typing import NamedTuple

import keras
import tensorflow as tf

from dreal_tf.layers import intervene
from dreal_tf.rewards.ablation import Ablation
from dreal_tf.rewards.assignment import every_assignment
from dreal_tf.rewards.restarts import Restarts
from dreal_tf.rewards.reward import log_probabilities, relative_gain, reward

ESTIMATORS = ("sampled", "exact")


class Measurement(NamedTuple):
    """What some actions of a batch turned out to be worth; one entry per (image, step) pair.

    Attributes:
        images: int32 tensor (n,). Position of the image in the batch.
        steps: int32 tensor (n,). Position of the step among those measured.
        gain: float tensor (n,). Relative gain of the true class's probability (no unit).
        reward: float tensor (n,). The reward of the action (no unit).
        right: bool tensor (n,). Whether the network's answer was right.
        counted: float tensor (n,). 1 where the measurement counts, 0 where the image has no
            label that clearly dominates, or no weight.
    """

    images: object
    steps: object
    gain: object
    reward: object
    right: object
    counted: object


class Targets(NamedTuple):
    """What a batch's labels and sample weights say of its images.

    Attributes:
        labels: int32 tensor (batch,).
        counted: float tensor (batch,). 1 where the image may be measured.
        weights: float tensor (batch,). The sample weights.
    """

    labels: object
    counted: object
    weights: object


class RewardMeter:
    """Measures the rewards of a network's actions.

    Args:
        network: functional `keras.Model` from images to logits (or probabilities).
        trajectory: `dreal_tf.backbones.Trajectory`, the steps to measure.
        baseline: str, "mean", "static" or "identity", see `dreal_tf.rewards.Ablation`.
        penalty: float >= 0, see `dreal_tf.rewards.reward`.
    """

    def __init__(self, network, trajectory, baseline="mean", penalty=1.0):
        self.network = network
        self.modules = trajectory.modules
        self.actors = trajectory.actors
        self.baseline = baseline
        self.penalty = penalty
        self.from_logits = True
        # Dropout in the factual pass would pass for a difference between the two arms.
        self.stochastic = any(v.name == "seed_generator_state" for v in network.variables)
        self._restarts = None

    def sampled(self, images, targets, outputs, actions, assignment, statistics=()):
        """One ablated step per measured image: a single extra pass, whatever the number of steps.

        Args:
            images: the batch, a float tensor or a structure of them.
            targets: `Targets` of the batch.
            outputs: float tensor (batch, classes), what the network answered for the batch.
            actions: dict of the factual actions by module name.
            assignment: pair of int32 tensors (n,), from `draw_assignment`.
            statistics: pairs (variable, value) under which the extra pass runs, such as the
                batch's own BatchNorm statistics.
        Returns:
            `Measurement` of the assigned pairs.
        """
        positions, steps = assignment
        chosen = tf.nest.map_structure(lambda part: tf.gather(part, positions), images)
        factual = tf.gather(outputs, positions)
        if self.stochastic:
            chosen = tf.nest.map_structure(lambda part: tf.concat([part, part], axis=0), chosen)
            assigned = tf.concat([-tf.ones_like(steps), steps], axis=0)
        else:
            assigned = steps
        ablation = Ablation(self.modules, assigned, self.baseline, actions)
        with keras.StatelessScope(list(statistics)), intervene(ablation):
            ablated = self.network(chosen, training=False)
        unchanged = ablation.unchanged
        if self.stochastic:
            factual, ablated = tf.split(ablated, 2)
            unchanged = tf.split(unchanged, 2)[1]
        return self._measurement(positions, steps, targets, factual, ablated, unchanged)

    def exact(self, images, targets, actions, positions, statistics=()):
        """Every step ablated in each of the chosen images; what lies before it is computed once.

        Args:
            images, targets, actions, statistics: as in `sampled`.
            positions: int32 tensor (n,). Positions in the batch of the images to measure.
        Returns:
            `Measurement` of all pairs of a chosen image and a step, steps varying slowest.
        """
        if self._restarts is None:
            self._restarts = Restarts(self.network)
        chosen = tf.nest.map_structure(lambda part: tf.gather(part, positions), images)
        ablated, unchanged = [], []
        with keras.StatelessScope(list(statistics)):
            factual, cache = self._restarts.start(chosen)
            for step, actor in enumerate(self.actors):
                assigned = tf.fill(tf.shape(positions), step)
                ablation = Ablation(self.modules, assigned, self.baseline, actions)
                with intervene(ablation):
                    ablated.append(self._restarts.restart(actor.name, cache))
                unchanged.append(ablation.unchanged)
        repeated, steps = every_assignment(positions, len(self.modules))
        factual = tf.tile(factual, [len(self.modules), 1])
        return self._measurement(
            repeated, steps, targets, factual, tf.concat(ablated, 0), tf.concat(unchanged, 0)
        )

    def _measurement(self, positions, steps, targets, factual, ablated, unchanged):
        labels = tf.gather(targets.labels, positions)
        log_p = self._true_log_probability(factual, labels)
        # An ablation that changes no action changes nothing, whatever the rounding of two passes.
        log_p_ablated = tf.where(unchanged, log_p, self._true_log_probability(ablated, labels))
        gain = relative_gain(log_p, log_p_ablated)
        right = tf.argmax(factual, axis=1, output_type=tf.int32) == labels
        return Measurement(
            images=positions,
            steps=steps,
            gain=gain,
            reward=reward(gain, right, self.penalty),
            right=right,
            counted=tf.gather(targets.counted, positions),
        )

    def _true_log_probability(self, outputs, labels):
        of_classes = log_probabilities(outputs, self.from_logits)
        return tf.gather(of_classes, labels, batch_dims=1)
