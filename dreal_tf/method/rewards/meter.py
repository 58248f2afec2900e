"""Measures what actions are worth: an extra pass without gradient, with alternatives in their place."""

from typing import NamedTuple

import keras
import tensorflow as tf

from dreal_tf.keras_internals import layers_inside, takes_training
from dreal_tf.layers import AttentionActor, intervene
from dreal_tf.method.critics import Hindsight
from dreal_tf.method.rewards.alternatives import Replacements, check_exploration
from dreal_tf.method.rewards.assignment import (
    Assignment,
    draw_assignment,
    draw_images,
    every_assignment,
    share_of,
)
from dreal_tf.method.rewards.changes import Changes
from dreal_tf.method.rewards.extra_pass import ExtraPass
from dreal_tf.method.rewards.reward import (
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


class RewardMeter:
    """Measures what the actions of a network are worth.

    Args:
        network: functional `keras.Model` with auxiliary outputs, see `DREAL`.
        trajectory: `dreal_tf.networks.backbones.Trajectory`, the steps to measure.
        baseline, exploration, noise: see `dreal_tf.method.rewards.Alternatives`.
        penalty: float >= 0, see `dreal_tf.method.rewards.reward`.
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
        self.modules = trajectory.modules
        self.actors = trajectory.actors
        self.baseline = baseline
        self.penalty = penalty
        self.exploration = tuple(exploration)
        self.noise = noise
        self.from_logits = True
        # Dropout in the factual pass would pass for a difference between the two arms.
        self.stochastic = any(map(_may_be_random, layers_inside(network)))
        self.extra_pass = ExtraPass(network, self.actors)

    def factual(self, images, training=False):
        """The factual pass: what the network gives for a batch, and what an extra pass needs of it.

        Args:
            images: the batch, a float tensor or a structure of them.
            training: bool.
        Returns:
            Dict of the network's outputs and `borders`, see `ExtraPass`; without these where the
            pass drops out at random, so that its values are none that a second pass could share.
        """
        outputs = dict(self.extra_pass.factual(images, training=training))
        if training and self.stochastic:
            del outputs["borders"]
        return outputs

    def draw(self, targets, fraction, seed):
        """Draws what is measured of a batch.

        Args:
            targets: `Targets` of the batch.
            fraction: float in (0, 1]. Share of its images.
            seed: int tensor (2,).
        Returns:
            `Assignment`, see `draw_assignment`.
        """
        batch = keras.ops.shape(targets.labels)[0]
        measured = share_of(batch, fraction)
        return draw_assignment(batch, measured, len(self.modules), seed, len(self.exploration))

    def same_images(self, targets, fraction):
        """A share of a batch's images, the same whenever it is asked for; all steps of each.

        Args:
            targets, fraction: as of `draw`.
        Returns:
            `Assignment`, for `exact`.
        """
        batch = keras.ops.shape(targets.labels)[0]
        return Assignment(draw_images(batch, share_of(batch, fraction), seed=(0, 0)), None)

    def measure(self, images, targets, outputs, assignment, statistics=(), exploration=None):
        """Measures some actions of a batch by one extra pass, whatever the number of steps.

        Args:
            images: the batch, a float tensor or a structure of them.
            targets: `Targets` of the batch.
            outputs: what `factual` gave for the batch. Without `borders` the measured images take
                the factual pass once more, at inference.
            assignment: `Assignment`: one changed step for each image from `draw_assignment`, or
                every step of some images from `every_assignment`.
            statistics: pairs (variable, value) under which the extra pass runs, such as the
                batch's own BatchNorm statistics.
            exploration: sequence of str in place of the meter's own, or None.
        Returns:
            `Measurement` of the assigned pairs.
        """
        exploration = self.exploration if exploration is None else tuple(exploration)
        with tf.name_scope("extra_pass"), keras.StatelessScope(list(statistics)):
            factual, positions = self._shared(images, outputs, assignment)

            replacements = Replacements(
                self.baseline, outputs["actions"], exploration, self.noise, assignment.seed
            )
            names, actions = (self.modules, self.actors), factual["actions"]
            changes = Changes(*names, assignment, positions, actions, replacements)
            with intervene(changes):
                begins = self._begins(assignment)
                changed = self.extra_pass(factual["borders"], positions, begins)
        factual = tf.gather(factual["logits"], positions)
        return self._measurement(assignment, exploration, targets, factual, changed, changes)

    def exact(self, images, targets, outputs, drawn, statistics=(), exploration=None):
        """Measures every step of the chosen images.

        Args:
            images, targets, outputs, statistics, exploration: as of `measure`.
            drawn: `Assignment`, whose images are measured.
        Returns:
            `Measurement` of all pairs of a chosen image and a step, steps varying slowest.
        """
        forms = len(self.exploration if exploration is None else exploration)
        every = every_assignment(drawn, len(self.modules), forms)
        return self.measure(images, targets, outputs, every, statistics, exploration)

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
            `dreal_tf.method.critics.Hindsight`.
        """
        of_classes = log_probabilities(outputs, self.from_logits)
        errors = tf.one_hot(labels, outputs.shape[-1]) - tf.exp(of_classes)
        return Hindsight(labels, tf.stop_gradient(errors), directions)

    def _shared(self, images, outputs, assignment):
        """Outputs with borders, and the position in these of each measured pair's image."""
        if "borders" in outputs:
            return outputs, assignment.images
        count = keras.ops.shape(assignment.images)[0] // assignment.rounds
        chosen = assignment.images[:count]
        chosen = tf.nest.map_structure(lambda part: tf.gather(part, chosen), images)
        positions = tf.tile(tf.range(count), [assignment.rounds])
        return self.factual(chosen), positions

    def _begins(self, assignment):
        """Where the rows begin that join at each actor: those that can change its first step."""
        steps = len(self.actors)
        firsts = [s for s in range(steps) if s == 0 or self.actors[s] is not self.actors[s - 1]]
        return [assignment.begin(step, steps) for step in (*firsts, steps)]

    def _measurement(self, assignment, exploration, targets, factual, changed, changes):
        labels = tf.gather(targets.labels, assignment.images)
        log_p = self.true_log_probability(factual, labels)
        # An alternative that changes no action changes nothing, whatever the rounding of two passes.
        log_p_changed = self.true_log_probability(changed, labels)
        log_p_changed = tf.where(changes.unchanged(), log_p, log_p_changed)
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
            alternatives=changes.applied,
        )


def _may_be_random(layer):
    """Whether a layer may answer otherwise in each training pass.

    Those of Keras keep a seed. What others do in training cannot be seen: a stochastic depth of one's
    own may draw without one.
    """
    if any(v.name == "seed_generator_state" for v in layer.variables):
        return True
    known = isinstance(layer, AttentionActor) or type(layer).__module__.startswith(
        ("keras.", "dreal_tf.")
    )
    return takes_training(layer) and not known
