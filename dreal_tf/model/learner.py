"""What critic and actors learn from a measurement."""

from typing import NamedTuple

import tensorflow as tf

from dreal_tf.method import losses
from dreal_tf.method.critics import predicted_differences
from dreal_tf.replicas import per_replica


class Lesson(NamedTuple):
    """What a training step has found out.

    Attributes:
        critiques: float tensor (batch, steps).
        critic_loss, actor_loss: float scalars, means over the batch.
        trust: float tensor (steps,), by which the actors heed the critic.
        climb: list of tensors, the actor loss's gradient for each variable of theta.
    """

    critiques: object
    critic_loss: object
    actor_loss: object
    trust: object
    climb: object


class Learner:
    """Moves the critic, and says how the actors climb it.

    Args:
        critic: `dreal_tf.method.critics.Critic`, built.
        trajectory: `dreal_tf.networks.backbones.Trajectory`, the steps it judges.
        trust: `dreal_tf.model.Trust`, or None: the critic is obeyed whatever it knows.
        alternating: bool. Whether the actors climb the critic that this step has made of it, and
            not the one it was.
    """

    def __init__(self, critic, trajectory, trust=None, alternating=False):
        self.critic = critic
        self.trajectory = trajectory
        self.trust = trust
        self.alternating = alternating

    def learn(self, factual, measurement, move_critic, scale_loss):
        """One step of both.

        Args:
            factual: `dreal_tf.model.factual_pass.FactualPass`.
            measurement: `dreal_tf.method.rewards.Measurement` of some of its actions.
            move_critic: callable that applies gradients to the critic's variables.
            scale_loss: callable, the network's optimizer's loss scaling.
        Returns:
            `Lesson`.
        """
        hindsight = factual.hindsight
        with tf.name_scope("actors"), tf.GradientTape() as tape:
            steps = self.trajectory.proposed_again(factual.outputs, factual.training)
            actions = [step.action for step in steps]
        verdict, critic_loss, advice, gradients = self._judge(steps, measurement, hindsight)
        trusted = self._trusted(advice, steps, measurement)
        move_critic(after([*advice, verdict.critiques], gradients))
        if self.alternating:
            _, _, advice, _ = self._judge(steps, measurement, hindsight)
        pushes = self._pushes(advice, trusted, factual.targets, scale_loss)
        climb = tape.gradient(actions, self.trajectory.variables, output_gradients=pushes)
        actor_loss = losses.actor_loss(verdict.critiques, factual.targets.weights)
        return Lesson(verdict.critiques, critic_loss, actor_loss, trusted, climb)

    def test(self, factual, measurement):
        """The same `Lesson` without learning; its climb is None."""
        steps = self.trajectory.emitted(factual.outputs)
        verdict = self.critic(steps, factual.hindsight)
        return Lesson(
            verdict.critiques,
            self.critic.loss(verdict, steps, measurement),
            losses.actor_loss(verdict.critiques, factual.targets.weights),
            tf.ones([len(steps)]) if self.trust is None else self.trust.weights_now(),
            None,
        )

    def _judge(self, steps, measurement, hindsight):
        """The verdict, the critic loss, the critic's directions, and its own gradients."""
        actions = [step.action for step in steps]
        variables = self.critic.trainable_variables
        with tf.name_scope("critic"), tf.GradientTape(persistent=True) as tape:
            tape.watch(actions)
            verdict = self.critic(steps, hindsight)
            critic_loss = self.critic.loss(verdict, steps, measurement)
            scaled = per_replica(critic_loss)
        # A critic may ignore an action; it then has no advice for it.
        zero = tf.UnconnectedGradients.ZERO
        advice = tape.gradient(verdict.critiques, actions, unconnected_gradients=zero)
        gradients = tape.gradient(scaled, variables) if variables else []
        return verdict, critic_loss, advice, gradients

    def _trusted(self, advice, steps, measurement):
        if self.trust is None:
            return tf.ones([len(advice)])
        predicted = predicted_differences(advice, steps, measurement)
        return self.trust(predicted, measurement.difference, measurement.steps, measurement.counted)

    def _pushes(self, advice, trusted, targets, scale_loss):
        """The actor loss's gradient with respect to each action."""
        scale = scale_loss(per_replica(tf.ones([])))
        scale /= tf.cast(tf.size(targets.weights) * len(advice), tf.float32)
        weights = -scale * trusted[:, None] * targets.weights  # (steps, batch)
        of_rank = {}  # By the rank of the actions: the weights of all steps in a shape that fits.
        for rank in {direction.shape.rank for direction in advice}:
            shape = [len(advice), -1] + [1] * (rank - 1)
            of_rank[rank] = tf.unstack(tf.reshape(weights, shape), num=len(advice))
        pushes = []
        for position, direction in enumerate(advice):
            own = of_rank[direction.shape.rank][position]
            pushes.append(tf.cast(own, direction.dtype) * direction)
        return pushes


def after(known, gradients):
    """The gradients, available only when what the old weights still serve for has been computed.

    TensorFlow may move a weight in place while an operation that nothing ties to its gradient, such
    as the extra pass, still reads it.

    Args:
        known: list of tensors to wait for.
        gradients: list of tensors or None.
    Returns:
        List of tensors or None.
    Example:
        >>> float(after([tf.constant(1.0)], [tf.constant(2.0), None])[0])
        2.0
    """
    with tf.control_dependencies(known):
        return [gradient if gradient is None else tf.identity(gradient) for gradient in gradients]
