"""The data that critics, rewards and the training step exchange."""

from typing import NamedTuple


class PrivilegedInputs(NamedTuple):
    """The inputs that a critic sees in training and nobody sees at inference.

    Attributes:
        labels: int32 tensor (batch,), the true labels.
        errors: float32 tensor (batch, classes): 1 at the true label and 0 elsewhere, less the
            predicted probabilities. It is the gradient of log p of the label with respect to the logits.
        true_action_gradients: list of float32 tensors, one per module, shaped like its action: the
            gradient of the score with respect to the action; None unless the critic needs it.
    """

    labels: object
    errors: object
    true_action_gradients: object = None


class CriticOutput(NamedTuple):
    """A critic's predictions for a batch.

    Attributes:
        critiques: float32 tensor (batch, modules), the quality Q of each action. The unit is the
            critic's own: that of the reward, or nats. The gradient of a critique with respect to its
            action is dQ/dA, which the actor follows.
        dq_da: list of float32 tensors, one per module, shaped like its action: that gradient, from a
            critic that computes it without a tape; None from any other. `DREAL` takes it by a tape; tests
            compare the two.
        predicted_differences: float32 tensor (n,), <dQ/dA, action - counterfactual> for each of the
            reward samples the critic was given, in the unit of the critiques, from a critic that
            computes it; None from any other.
        costs: float32 tensor (batch, modules), what any change of the action costs on average
            (nats), from a critic that predicts it; None from any other.
        scales: float32 tensor (batch,), above 0: the expected size of differences between an image's
            actions (no unit), from a critic that compares them relative to it; None from any other.
    """

    critiques: object
    dq_da: object = None
    predicted_differences: object = None
    costs: object = None
    scales: object = None


class CounterfactualAction(NamedTuple):
    """The actions that replaced one module's own in some rows of a counterfactual pass.

    Attributes:
        rows: int32 array (m,), or tensor if m is not known when the graph is traced. Positions among
            the reward samples; some may belong to other modules.
        action: float tensor (m, ...). The action applied in these rows: the replacement, or the
            module's own wherever the row belongs to another module.
    """

    rows: object
    action: object


class RewardSamples(NamedTuple):
    """Measured rewards of some actions of a batch: n pairs of an image and a module.

    Attributes:
        images: int32 tensor (n,). Position of the image in the batch.
        modules: int32 tensor (n,). Position of the module among those that are trained by reward.
        difference: float tensor (n,). Score with the action less score with its counterfactual (nats).
        gain: float tensor (n,). Relative gain in the true class's probability (no unit).
        reward: float tensor (n,). The reward (no unit). It means something only where `ablated` is 1.
        correct: bool tensor (n,). Whether the network's prediction was correct.
        ablated: float tensor (n,). 1 where the counterfactual was the reference action, else 0.
        mask: float tensor (n,). 1 where the sample counts; 0 where the image has no dominant label or
            no weight.
        counterfactuals: list of `CounterfactualAction`, one per module.
    """

    images: object
    modules: object
    difference: object
    gain: object
    reward: object
    correct: object
    ablated: object
    mask: object
    counterfactuals: object
