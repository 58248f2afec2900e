"""The data that the parts of a training step exchange."""

from typing import NamedTuple


class FactualPass(NamedTuple):
    """The network's outputs for a batch, with its own actions.

    Attributes:
        images, labels, sample_weight: the batch. In evaluation under replicas all attributes but the
            labels, their weights and the loss may be padded.
        outputs: dict of `logits` (batch, classes); `states`, `actions`, dicts of tensors (batch, ...) by
            module name; and `cached_activations`, see `dreal_tf.method.rewards.CounterfactualPass`.
        targets: `dreal_tf.method.formulas.Targets`.
        loss: float scalar, the task loss, scaled for the sum over replicas.
        gradients: list of tensors or None, the task loss's gradient for each trainable variable of
            the network (W and theta), scaled by the optimizer's loss scale and clipped; None in
            evaluation, or if the task loss is not to move the network.
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
    """The critic's results, from before its update, except `dq_da` with `update="alternating"`.

    Attributes:
        critiques: float tensor (batch, modules).
        critic_loss: float scalar, a mean over the samples.
        actor_loss: float scalar, a mean over the batch; logged only.
        trust: float tensor (modules,).
        dq_da: list of tensors, one per module, shaped like its action (batch, ...): the gradient of the
            critiques; None in evaluation.
    """

    critiques: object
    critic_loss: object
    actor_loss: object
    trust: object
    dq_da: object = None
