"""Estimates rewards by one counterfactual pass, in which some actions are replaced.

No gradient is taken of it: the caller stands outside of every tape.
"""

import keras
import tensorflow as tf
from keras import ops

from dreal_tf.keras_internals import layers_inside, takes_training
from dreal_tf.layers import AttentionActor, intervene
from dreal_tf.method.formulas import log_probabilities, per_example_score, relative_gain, reward
from dreal_tf.method.rewards.counterfactual_pass import (
    ActionReplacer,
    CounterfactualActions,
    CounterfactualPass,
    check_exploration,
)
from dreal_tf.method.rewards.sampling_plan import (
    SamplingPlan,
    count_of_fraction,
    full_plan,
    sample_images,
    sample_plan,
)
from dreal_tf.method.types import PrivilegedInputs, RewardSamples

ESTIMATORS = ("sampled", "exact")


class RewardEstimator:
    """Measures the rewards of a network's actions. It needs no critic.

    Args:
        network: functional `keras.Model` with auxiliary outputs, see `DREAL`.
        trajectory: `dreal_tf.networks.backbones.Trajectory`, the modules to measure.
        reference_action: "mean", "static" or "identity": the action of an ablated module.
        penalty: float >= 0, see `dreal_tf.method.formulas.reward`.
        exploration, noise: see `dreal_tf.method.rewards.ActionReplacer`.
    Attributes:
        from_logits: bool. Whether the network ends in logits.
    """

    def __init__(
        self,
        network,
        trajectory,
        reference_action="mean",
        penalty=1.0,
        exploration=("reference",),
        noise=1.0,
    ):
        check_exploration(exploration)  # Here, before any training starts.
        self.modules = trajectory.modules
        self.actors = trajectory.actors
        self.reference_action = reference_action
        self.penalty = penalty
        self.exploration = tuple(exploration)
        self.noise = noise
        self.from_logits = True
        # Dropout in the factual pass would look like a difference between the two passes.
        self.stochastic = any(map(_may_be_random, layers_inside(network)))
        self.counterfactual_pass = CounterfactualPass(network, self.actors)

    def factual(self, images, training=False):
        """Runs the factual pass.

        Args:
            images: the batch, a float tensor or a structure of them.
            training: bool.
        Returns:
            Dict of the network's outputs and `cached_activations`, see `CounterfactualPass`. These
            are missing if the network drops out at random, since no second pass can share them.
        """
        outputs = dict(self.counterfactual_pass.factual(images, training=training))
        if training and self.stochastic:
            del outputs["cached_activations"]
        return outputs

    def sample_plan(self, targets, fraction, seed):
        """Samples which actions of a batch are measured.

        Args:
            targets: `Targets` of the batch.
            fraction: float in (0, 1] of its images.
            seed: int tensor (2,).
        Returns:
            `SamplingPlan`, see `dreal_tf.method.rewards.sample_plan`.
        """
        batch = ops.shape(targets.labels)[0]
        count = count_of_fraction(batch, fraction)
        return sample_plan(batch, count, len(self.modules), seed, len(self.exploration))

    def fixed_plan(self, targets, fraction):
        """A fraction of a batch's images, the same ones each time; for `estimate_all`.

        Args:
            targets, fraction: see `sample_plan`.
        Returns:
            `SamplingPlan`.
        """
        batch = ops.shape(targets.labels)[0]
        images = sample_images(batch, count_of_fraction(batch, fraction), seed=(0, 0))
        return SamplingPlan(images, None)

    def estimate(self, images, targets, outputs, plan, statistics=(), exploration=None):
        """Measures rewards by one counterfactual pass, whatever the number of modules.

        Args:
            images: the batch, a float tensor or a structure of them.
            targets: `Targets` of the batch.
            outputs: what `factual` gave for the batch. Without `cached_activations` the sampled
                images run through a second factual pass, at inference.
            plan: `SamplingPlan`: one module of each image, or every module of some images.
            statistics: pairs (variable, value) under which the pass runs, such as the batch's own
                BatchNorm statistics.
            exploration: sequence of str instead of the estimator's own, or None.
        Returns:
            `RewardSamples`, one for each row of the plan.
        """
        exploration = self.exploration if exploration is None else tuple(exploration)
        with tf.name_scope("counterfactual_pass"), keras.StatelessScope(list(statistics)):
            factual, rows = self._cached(images, outputs, plan)
            actions = CounterfactualActions(
                self.modules,
                self.actors,
                plan,
                rows,
                factual["actions"],
                ActionReplacer(
                    self.reference_action, outputs["actions"], exploration, self.noise, plan.seed
                ),
            )
            with intervene(actions):
                counterfactual = self.counterfactual_pass(
                    factual["cached_activations"], rows, self._row_splits(plan)
                )
        logits = tf.gather(factual["logits"], rows)  # (rows, classes)
        return self._samples(plan, exploration, targets, logits, counterfactual, actions)

    def estimate_all(self, images, targets, outputs, plan, statistics=(), exploration=None):
        """Measures every module of a plan's images.

        Args:
            images, targets, outputs, statistics, exploration: see `estimate`.
            plan: `SamplingPlan`, whose images are measured.
        Returns:
            `RewardSamples` of all pairs of an image and a module, modules varying slowest.
        """
        kinds = len(self.exploration if exploration is None else exploration)
        every = full_plan(plan, len(self.modules), kinds)
        return self.estimate(images, targets, outputs, every, statistics, exploration)

    def score(self, labels, outputs):
        """`dreal_tf.method.formulas.per_example_score` of what the network ends in.

        Args:
            labels: int32 tensor (n,).
            outputs: float tensor (n, classes).
        Returns:
            Float32 tensor (n,), in nats.
        """
        return per_example_score(labels, outputs, self.from_logits)

    def is_correct(self, labels, outputs):
        """Whether the network's prediction is the label.

        Args:
            labels: int32 tensor (n,).
            outputs: float tensor (n, classes).
        Returns:
            Bool tensor (n,).
        """
        return tf.argmax(outputs, axis=1, output_type=tf.int32) == labels

    def privileged_inputs(self, outputs, labels, true_action_gradients=None):
        """The privileged inputs of a critic for a batch.

        Args:
            outputs: float tensor (batch, classes), what the network ends in.
            labels: int32 tensor (batch,).
            true_action_gradients: see `PrivilegedInputs`.
        Returns:
            `dreal_tf.method.types.PrivilegedInputs`.
        """
        log_p = log_probabilities(outputs, self.from_logits)
        errors = tf.one_hot(labels, outputs.shape[-1]) - tf.exp(log_p)
        return PrivilegedInputs(labels, tf.stop_gradient(errors), true_action_gradients)

    def _cached(self, images, outputs, plan):
        """Outputs with cached activations, and the position in them of each row's image."""
        if "cached_activations" in outputs:
            return outputs, plan.images
        count = ops.shape(plan.images)[0] // plan.repeats
        distinct = plan.images[:count]
        images = tf.nest.map_structure(lambda part: tf.gather(part, distinct), images)
        return self.factual(images), tf.tile(tf.range(count), [plan.repeats])

    def _row_splits(self, plan):
        """For each actor, the lowest row that can belong to its first module; then the row count."""
        modules = len(self.actors)
        firsts = [m for m in range(modules) if m == 0 or self.actors[m] is not self.actors[m - 1]]
        return [plan.first_row(module, modules) for module in (*firsts, modules)]

    def _samples(self, plan, exploration, targets, factual, counterfactual, actions):
        labels = tf.gather(targets.labels, plan.images)
        score = self.score(labels, factual)
        # A replacement that changes nothing has difference 0, however two passes round.
        counterfactual_score = self.score(labels, counterfactual)
        counterfactual_score = tf.where(actions.unchanged(), score, counterfactual_score)
        gain = relative_gain(score, counterfactual_score)
        correct = self.is_correct(labels, factual)
        is_reference = [float(kind == "reference") for kind in exploration]
        if plan.kinds is None:
            ablated = tf.fill(tf.shape(labels), is_reference[0])
        else:
            ablated = tf.gather(is_reference, plan.kinds)
        return RewardSamples(
            images=plan.images,
            modules=plan.modules,
            difference=score - counterfactual_score,
            gain=gain,
            reward=reward(gain, correct, self.penalty),
            correct=correct,
            ablated=ablated,
            mask=tf.gather(targets.mask, plan.images),
            counterfactuals=actions.applied,
        )


def _may_be_random(layer):
    """Whether a layer may give other values in each training pass.

    Keras's random layers keep a seed. Any other layer with an argument `training` may be random
    without one, such as a user's own stochastic depth.
    """
    if any(v.name == "seed_generator_state" for v in layer.variables):
        return True
    known = isinstance(layer, AttentionActor) or type(layer).__module__.startswith(
        ("keras.", "dreal_tf.")
    )
    return takes_training(layer) and not known
