"""The data that the parts of a training step exchange."""

from typing import NamedTuple


class FactualPass(NamedTuple):
    """The network's outputs for a batch, with its own actions.

    Attributes:
        images, labels, sample_weight: the batch.
        outputs: dict, from `dreal_tf.method.rewards.RewardEstimator.factual`.
        targets: `dreal_tf.method.formulas.Targets`.
        loss: float scalar, the task loss, scaled for the sum over replicas.
        gradients: list of tensors, the task loss's for each trainable variable of the network; None
            if none is to be moved by it.
        privileged: `dreal_tf.method.types.PrivilegedInputs`; None without a critic.
        deferred: `dreal_tf.method.rewards.DeferredUpdates` of a pass in training mode; None at
            inference.
    """

    images: object
    labels: object
    sample_weight: object
    outputs: dict
    targets: object
    loss: object
    gradients: object = None
    privileged: object = None
    deferred: object = None


class UpdateResult(NamedTuple):
    """The results of a training step with the critic.

    Attributes:
        critiques: float tensor (batch, modules).
        critic_loss, actor_loss: float scalars, means over the batch.
        trust: float tensor (modules,).
        actor_gradients: list of tensors or None, the actor loss's gradient for each variable of
            theta; None in evaluation.
    """

    critiques: object
    critic_loss: object
    actor_loss: object
    trust: object
    actor_gradients: object = None
