"""The contract of critics."""

import keras


class Critic(keras.layers.Layer):
    """Predicts the quality of every action of a network, and says what it learns from.

    `DREAL` builds a critic for its network, calls it once per training step on the states (without
    gradient) and the actions, and asks it for its own loss. A subclass overrides `build`, `call`
    and `loss`.

    Call arguments:
        steps: sequence of `Step` in depth order.
        labels: int32 tensor (batch,), the true labels in training; None where they are not known.
            A critic may ignore them.
    Returns:
        Float32 tensor (batch, steps): one critique per step, in the unit of the reward.
    """

    def build(self, step_specs):
        """Makes the weights for a network's steps.

        Args:
            step_specs: sequence of `StepSpec`, in depth order.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it is made of.")

    def call(self, steps, labels=None):
        raise NotImplementedError(f"{type(self).__name__} must say how it judges.")

    def loss(self, critiques, measurement):
        """What the critic minimises: L_r.

        Args:
            critiques: float tensor (batch, steps), what `call` gave for the actions.
            measurement: `dreal_tf.rewards.Measurement` of some of these actions.
        Returns:
            Float scalar, a mean over this replica's measurements.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it learns from.")

    def get_build_config(self):
        return None  # The network says which steps there are, each time anew.
