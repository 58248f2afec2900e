"""The contract of critics."""

from typing import NamedTuple

import keras


class Verdict(NamedTuple):
    """What a critic says of the steps of a batch.

    Attributes:
        critiques: float32 tensor (batch, steps), the quality of each action, in the unit of the
            reward; its gradient with respect to an action is what the actor climbs.
        directions: list of float32 tensors, one per step, shaped like its action: that gradient,
            from a critic that knows it (nats per unit of the action); None from any other.
        costs: float32 tensor (batch, steps), what changing the action by chance costs on average
            (nats), from a critic that knows it; None from any other.
        scales: float32 tensor (batch,), above 0: how large differences between an image's actions
            are expected to be (no unit), from a critic that compares them relative to that; None
            from any other.
        features: list of pairs, one for each list of steps that are reckoned side by side: what
            their directions are linear in, a float32 tensor (steps · batch, units), and what they
            read of the states, a float tensor (steps · batch, ...), from a critic that makes them
            again for the images that were measured; None from any other.
    """

    critiques: object
    directions: object = None
    costs: object = None
    scales: object = None
    features: object = None


class Hindsight(NamedTuple):
    """What is known of a batch in training and not at inference.

    Attributes:
        labels: int32 tensor (batch,), the true labels.
        errors: float32 tensor (batch, classes), what the network's answer got wrong: 1 at the true
            label and 0 elsewhere, less the probabilities it gave. (It is the gradient of the
            label's log probability with respect to the logits.)
        directions: list of float32 tensors, one per step, shaped like its action: the true gradient
            of the label's log probability with respect to the action; None unless asked for.
    """

    labels: object
    errors: object
    directions: object = None


class Critic(keras.layers.Layer):
    """Predicts the quality of every action of a network, and says what it learns from.

    `DREAL` builds a critic for its network, calls it once per training step on the states (without
    gradient) and the actions, and asks it for its own loss. A subclass overrides `build`, `call`
    and `loss`.

    Class attributes:
        needs_directions: bool. Whether `call` must be given the true directions, which cost a
            backward pass through the whole network.
    Attributes:
        exploration: tuple of str, the alternatives that it wants measured, see
            `dreal_tf.method.rewards.Alternatives`.
        noise: float > 0. Standard deviation of the alternative "noise" (logits).
    Call arguments:
        steps: sequence of `Step` in depth order.
        hindsight: `Hindsight`, which a critic may ignore. A critic is gone at inference, so its
            actors never see it.
    Returns:
        `Verdict`.
    """

    needs_directions = False
    exploration = ("baseline",)
    noise = 1.0

    def build(self, step_specs, classes):
        """Makes the weights for a network's steps.

        Args:
            step_specs: sequence of `StepSpec`, in depth order.
            classes: int. Number of classes.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it is made of.")

    def call(self, steps, hindsight):
        raise NotImplementedError(f"{type(self).__name__} must say how it judges.")

    def loss(self, verdict, steps, measurement):
        """What the critic minimises: L_r.

        Args:
            verdict: `Verdict`, what `call` gave for the steps.
            steps: sequence of `Step`.
            measurement: `dreal_tf.method.rewards.Measurement` of some of their actions.
        Returns:
            Float scalar, a mean over this replica's measurements.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it learns from.")

    def get_build_config(self):
        return None  # The network says which steps there are, each time anew.
