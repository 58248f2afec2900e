"""What the factual pass of a step gives the rest of it."""

from typing import NamedTuple


class FactualPass(NamedTuple):
    """The network's answer to a batch, with its own actions.

    Attributes:
        judged: images, labels, logits and sample weights of the batch, as `compute_metrics` takes
            them.
        targets: `dreal_tf.method.rewards.Targets`.
        outputs: dict, what `dreal_tf.method.rewards.RewardMeter.factual` gave.
        task_loss: float scalar, scaled for the sum over replicas.
        gradients: list of tensors, the task loss's for each trainable variable of the network; None
            where nothing is to be moved by it.
        hindsight: `dreal_tf.method.critics.Hindsight`.
        held: `dreal_tf.method.rewards.HeldUpdates` of a pass in training mode; None at inference.
    """

    judged: tuple
    targets: object
    outputs: dict
    task_loss: object
    gradients: object = None
    hindsight: object = None
    held: object = None

    @property
    def training(self):
        """Whether the network ran in training mode."""
        return self.held is not None

    def batch_statistics(self):
        """The statistics that the pass was normalised by, where these are the batch's own."""
        return self.held.batch_statistics() if self.training else ()
