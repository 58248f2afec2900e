"""The modules of a network that the method trains, and a second proposal of their actions."""

import keras
import tensorflow as tf

from dreal_tf.modules import ModuleOutput, assign_stages
from dreal_tf.networks.backbones.backbone import actors_of


class Trajectory:
    """The modules of a network, in depth order.

    Args:
        network: functional `keras.Model` with auxiliary outputs, see `DREAL`.
        stages: collection of str, the stages whose modules are kept; None for all.
    Attributes:
        specs: list of `ModuleSpec`.
        actors: list of `AttentionActor`, the actor of each module.
        stages: tuple of str, all stages of the network that have attention.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> Trajectory(network, stages={"conv3", "conv4"}).modules
        ['conv3_1/se', 'conv4_1/se']
    """

    def __init__(self, network, stages=None):
        states, actions = network.output["states"], network.output["actions"]
        candidates = []
        for actor in actors_of(network):
            outputs = [ModuleOutput(states[module], actions[module]) for module in actor.modules()]
            candidates += [(spec, actor, n) for n, spec in enumerate(actor.module_specs(outputs))]
        specs = assign_stages([spec for spec, _, _ in candidates])
        self.stages = tuple(dict.fromkeys(spec.stage for spec in specs))
        self.specs, self.actors, self._indices = [], [], []
        for spec, (_, actor, index) in zip(specs, candidates, strict=True):
            if stages is None or spec.stage in stages:
                self.specs.append(spec)
                self.actors.append(actor)
                self._indices.append(index)

    @property
    def variables(self):
        """Theta: the actors' variables that are currently trainable, each once."""
        variables = [v for actor in self.actors for v in actor.trainable_variables]
        return list({id(v): v for v in variables}.values())

    @property
    def modules(self):
        """The module names."""
        return [spec.module for spec in self.specs]

    def emitted(self, outputs):
        """The states and actions of a forward pass, without gradient.

        Args:
            outputs: dict of `logits`, `states` and `actions`, from the network.
        Returns:
            List of `ModuleOutput`.
        """
        return [
            ModuleOutput(
                tf.stop_gradient(outputs["states"][module]),
                tf.stop_gradient(outputs["actions"][module]),
            )
            for module in self.modules
        ]

    def propose_again(self, outputs, training=True):
        """The actions of a forward pass, differentiable by their own actors' variables only.

        Each actor reads its state again without gradient. It runs in the mode of the forward pass,
        with the same batch statistics and random state, and its updates are discarded.

        Args:
            outputs: dict of `logits`, `states` and `actions`, from the network.
            training: bool. The mode of the forward pass.
        Returns:
            List of tensors, one per module, equal to the actions of the pass.
        """
        modules = zip(self.modules, self.actors, self._indices, strict=True)
        with keras.StatelessScope():
            return [
                actor(
                    tf.stop_gradient(outputs["states"][module]),
                    propose_only=index,
                    training=training,
                )
                for module, actor, index in modules
            ]
