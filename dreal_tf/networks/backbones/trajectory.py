"""The steps of a network that are judged: which they are, and their actions proposed again."""

import keras
import tensorflow as tf

from dreal_tf.modules import Step, staged
from dreal_tf.networks.backbones.backbone import actors_of


class Trajectory:
    """The steps of a network, in depth order.

    Args:
        network: functional `keras.Model` with auxiliary outputs, see `DREAL`.
        stages: collection of str, the stages whose steps are judged; None for all.
    Attributes:
        specs: list of `StepSpec`.
        actors: list of `AttentionActor`, the actor of each step.
        stages: tuple of str, all stages of the network that have attention.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> Trajectory(network, stages={"conv3", "conv4"}).modules
        ['conv3_1/se', 'conv4_1/se']
    """

    def __init__(self, network, stages=None):
        states, actions = network.output["states"], network.output["actions"]
        found = []
        for actor in actors_of(network):
            steps = [Step(states[module], actions[module]) for module in actor.modules()]
            found += [(spec, actor, n) for n, spec in enumerate(actor.step_specs(steps))]
        specs = staged([spec for spec, _, _ in found])
        self.stages = tuple(dict.fromkeys(spec.stage for spec in specs))
        self.specs, self.actors, self._indices = [], [], []
        for spec, (_, actor, index) in zip(specs, found, strict=True):
            if stages is None or spec.stage in stages:
                self.specs.append(spec)
                self.actors.append(actor)
                self._indices.append(index)

    @property
    def variables(self):
        """The actors' variables that are trainable now, each once: theta."""
        variables = [v for actor in self.actors for v in actor.trainable_variables]
        return list({id(v): v for v in variables}.values())

    @property
    def modules(self):
        """Module names of the steps."""
        return [spec.module for spec in self.specs]

    def emitted(self, outputs):
        """The steps of a pass, without gradient.

        Args:
            outputs: what the network gave, a dict of `logits`, `states` and `actions`.
        Returns:
            List of `Step`.
        """
        return [
            Step(
                tf.stop_gradient(outputs["states"][module]),
                tf.stop_gradient(outputs["actions"][module]),
            )
            for module in self.modules
        ]

    def proposed_again(self, outputs, training=True):
        """The same steps with a gradient from each action to its own actor, and nothing beyond.

        Each actor reads its stopped state once more, in the mode of the pass and so with the same
        batch statistics and random state; what it would update is discarded.

        Args:
            outputs: what the network gave, a dict of `logits`, `states` and `actions`.
            training: bool. The mode of that pass.
        Returns:
            List of `Step`.
        """
        steps = []
        with keras.StatelessScope():
            for (state, _), actor, index in zip(
                self.emitted(outputs), self.actors, self._indices, strict=True
            ):
                steps.append(Step(state, actor(state, propose_only=index, training=training)))
        return steps
