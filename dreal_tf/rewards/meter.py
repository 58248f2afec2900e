"""Measures what actions are worth: an extra pass without gradient, with alternatives in their place."""

from typing import NamedTuple

import keras
import tensorflow as tf

from dreal_tf.critics import Hindsight
from dreal_tf.layers import intervene
from dreal_tf.rewards.alternatives import Alternatives, check_exploration
from dreal_tf.rewards.assignment import every_assignment
from dreal_tf.rewards.restarts import Restarts
from dreal_tf.rewards.reward import (
    label_log_probability,
    log_probabilities,
    relative_gain,
    reward,
)

ESTIMATORS = ("sampled", "exact")


class Measurement(NamedTuple):
    """What some actions of a batch turned out to be worth; one entry per (image, step) pair.

    Attributes:
        images: int32 tensor (n,). Position of the image in the batch.
        steps: int32 tensor (n,). Position of the step among those measured.
        difference: float tensor (n,). Log probability of the true label with the action, less that
            with the alternative (nats).
        gain: float tensor (n,). Relative gain of that probability (no unit).
        reward: float tensor (n,). The reward of the action (no unit), where it was ablated.
        right: bool tensor (n,). Whether the network's answer was right.
        ablated: float tensor (n,). 1 where the alternative was the baseline action, else 0.
        counted: float tensor (n,). 1 where the measurement counts, 0 where the image has no
            label that clearly dominates, or no weight.
        alternatives: list of `Alternative`, one per step.
    """

    images: object
    steps: object
    difference: object
    gain: object
    reward: object
    right: object
    ablated: object
    counted: object
    alternatives: object


class Alternative(NamedTuple):
    """The actions that took the place of one step's own in some entries of a measurement.

    Attributes:
        entries: int32 tensor (m,). Positions in the measurement, those of other steps among them.
        action: float tensor (m, ...). The action applied there, which is the step's own in the
            entries of other steps.
    """

    entries: object
    action: object


class RewardMeter:
    """Measures what the actions of a network are worth.

    Args:
        network: functional `keras.Model` from images to logits (or probabilities).
        trajectory: `dreal_tf.backbones.Trajectory`, the steps to measure.
        baseline, exploration, noise: see `dreal_tf.rewards.Alternatives`.
        penalty: float >= 0, see `dreal_tf.rewards.reward`.
    """

    def __init__(
        self,
        network,
        trajectory,
        baseline="mean",
        penalty=1.0,
        exploration=("baseline",),
        noise=1.0,
    ):
        check_exploration(exploration)  # Here, before any training starts.
        self.network = network
        self.modules = trajectory.modules
        self.actors = trajectory.actors
        self.baseline = baseline
        self.penalty = penalty
        self.exploration = tuple(exploration)
        self.noise = noise
        self.from_logits = True
        # Dropout in the factual pass would pass for a difference between the two arms.
        self.stochastic = any(v.name == "seed_generator_state" for v in network.variables)
        self._restarts = None

    def sampled(self, images, targets, outputs, actions, assignment, statistics=()):
        """One changed step per measured image: a single extra pass, whatever the number of steps.

        Args:
            images: the batch, a float tensor or a structure of them.
            targets: `Targets` of the batch.
            outputs: float tensor (batch, classes), what the network answered for the batch.
            actions: dict of the factual actions by module name.
            assignment: `Assignment`, from `draw_assignment`.
            statistics: pairs (variable, value) under which the extra pass runs, such as the
                batch's own BatchNorm statistics.
        Returns:
            `Measurement` of the assigned pairs.
        """
        chosen = _taken(images, assignment.images)
        factual = tf.gather(outputs, assignment.images)
        arms = assignment
        if self.stochastic:  # Both arms, the first unchanged.
            chosen = tf.nest.map_structure(lambda part: tf.concat([part, part], axis=0), chosen)
            arms = _both_arms(assignment)
        intervention = self._alternatives(arms, actions, self.exploration)
        with keras.StatelessScope(list(statistics)), intervene(intervention):
            changed = self.network(chosen, training=False)
        unchanged, applied = intervention.unchanged, intervention.applied
        if self.stochastic:
            factual, changed = tf.split(changed, 2)
            unchanged = tf.split(unchanged, 2)[1]
            applied = {module: tf.split(action, 2)[1] for module, action in applied.items()}
        entries = tf.range(tf.shape(assignment.images)[0])
        alternatives = [Alternative(entries, applied[module]) for module in self.modules]
        return self._measurement(
            assignment, self.exploration, targets, factual, changed, unchanged, alternatives
        )

    def exact(self, images, targets, actions, drawn, statistics=(), exploration=None):
        """Every step changed in each of the chosen images; what lies before it is computed once.

        Args:
            images, targets, actions, statistics: as in `sampled`.
            drawn: `Assignment`, whose images are measured, all steps of each.
            exploration: sequence of str in place of the meter's own, or None.
        Returns:
            `Measurement` of all pairs of a chosen image and a step, steps varying slowest.
        """
        if self._restarts is None:
            self._restarts = Restarts(self.network)
        exploration = self.exploration if exploration is None else tuple(exploration)
        every = every_assignment(drawn, len(self.modules), len(exploration))
        count = tf.shape(drawn.images)[0]
        results = []
        with keras.StatelessScope(list(statistics)):
            factual, cache = self._restarts.start(_taken(images, drawn.images))
            for step, actor in enumerate(self.actors):
                place = slice(step * count, (step + 1) * count)
                here = every.each(lambda part, place=place: part[place])
                intervention = self._alternatives(here, actions, exploration, only=step)
                with intervene(intervention):
                    changed = self._restarts.restart(actor.name, cache)
                entries = step * count + tf.range(count)
                alternative = Alternative(entries, intervention.applied[self.modules[step]])
                results.append((changed, intervention.unchanged, alternative))
        changed, unchanged, alternatives = zip(*results, strict=True)
        return self._measurement(
            every,
            exploration,
            targets,
            tf.tile(factual, [len(self.modules), 1]),
            tf.concat(changed, axis=0),
            tf.concat(unchanged, axis=0),
            list(alternatives),
        )

    def true_log_probability(self, outputs, labels):
        """Log probability of each image's label.

        Args:
            outputs: float tensor (n, classes), what the network answered.
            labels: int32 tensor (n,).
        Returns:
            Float tensor (n,).
        """
        return label_log_probability(outputs, labels, self.from_logits)

    def hindsight(self, outputs, labels, directions=None):
        """What a critic may know of a batch in training.

        Args:
            outputs: float tensor (batch, classes), what the network answered.
            labels: int32 tensor (batch,).
            directions: list of true directions, where the critic needs them, or None.
        Returns:
            `dreal_tf.critics.Hindsight`.
        """
        of_classes = log_probabilities(outputs, self.from_logits)
        errors = tf.one_hot(labels, outputs.shape[-1]) - tf.exp(of_classes)
        return Hindsight(labels, tf.stop_gradient(errors), directions)

    def _alternatives(self, assignment, actions, exploration, only=None):
        return Alternatives(
            self.modules,
            assignment.steps,
            self.baseline,
            actions,
            exploration,
            assignment.forms,
            assignment.partners,
            self.noise,
            assignment.seed,
            only,
        )

    def _measurement(self, assignment, exploration, targets, factual, changed, unchanged, alternatives):
        labels = tf.gather(targets.labels, assignment.images)
        log_p = self.true_log_probability(factual, labels)
        # An alternative that changes no action changes nothing, whatever the rounding of two passes.
        log_p_changed = tf.where(unchanged, log_p, self.true_log_probability(changed, labels))
        gain = relative_gain(log_p, log_p_changed)
        right = tf.argmax(factual, axis=1, output_type=tf.int32) == labels
        baselines = [float(form == "baseline") for form in exploration]
        if assignment.forms is None:
            ablated = tf.fill(tf.shape(labels), baselines[0])
        else:
            ablated = tf.gather(baselines, assignment.forms)
        return Measurement(
            images=assignment.images,
            steps=assignment.steps,
            difference=log_p - log_p_changed,
            gain=gain,
            reward=reward(gain, right, self.penalty),
            right=right,
            ablated=ablated,
            counted=tf.gather(targets.counted, assignment.images),
            alternatives=alternatives,
        )


def _taken(images, positions):
    return tf.nest.map_structure(lambda part: tf.gather(part, positions), images)


def _both_arms(assignment):
    """The entries twice, the first time with no step to change."""
    doubled = assignment.each(lambda part: tf.concat([part, part], axis=0))
    unchanged = -tf.ones_like(assignment.steps)
    return doubled._replace(steps=tf.concat([unchanged, assignment.steps], axis=0))
