"""The contract of critics."""

import keras


class Critic(keras.layers.Layer):
    """Predicts the quality of every action of a network.

    `DREAL` builds a critic for its network, calls it on the states (without gradient) and the actions,
    and minimises its `loss`. Critiques must be differentiable with respect to the actions. One
    training step may call a critic several times, with samples and without, and instruments call it
    on parts of a batch. A subclass overrides `build`, `call`, `loss` and `get_config`, is registered
    with Keras, and computes in float32 (`dtype="float32"`); one that recipes build by name also takes
    `units` and `grid`.

    Class attributes:
        needs_true_action_gradients: bool. Whether `call` must be given the true action gradients,
            which cost a backward pass through the whole network.
    Attributes:
        exploration: tuple of str, the kinds of counterfactual that it learns from, see
            `dreal_tf.method.rewards.ActionReplacer`.
        noise: float > 0. Standard deviation of the kind "noise" (logits).
    Call arguments:
        modules: sequence of `ModuleOutput` in depth order.
        privileged: `PrivilegedInputs`, which a critic may ignore. The critic is gone at inference, so
            its actors never see them.
        samples: `RewardSamples` of some of the actions, or None. With them, `call` may also compute
            what `loss` needs, such as `predicted_differences`.
    Returns:
        `CriticOutput`.
    """

    needs_true_action_gradients = False
    exploration = ("reference",)
    noise = 1.0

    def build(self, module_specs, classes):
        """Makes the weights for a network's modules.

        Args:
            module_specs: sequence of `ModuleSpec`, in depth order.
            classes: int. Number of classes.
        """
        raise NotImplementedError(f"{type(self).__name__} must override `build`.")

    def call(self, modules, privileged, samples=None):
        raise NotImplementedError(f"{type(self).__name__} must override `call`.")

    def loss(self, output, samples):
        """The loss that the critic minimises: L_r.

        Args:
            output: `CriticOutput`, from `call` with these samples.
            samples: `dreal_tf.method.types.RewardSamples` of some of the actions.
        Returns:
            Float scalar, a mean over this replica's samples.
        """
        raise NotImplementedError(f"{type(self).__name__} must override `loss`.")

    def get_build_config(self):
        return None  # The network says which modules there are, each time it is loaded.
