"""Passes that begin in the middle of a network."""

import keras
import tensorflow as tf

from dreal_tf.backbones import actors_of


class Restarts:
    """A network that can restart at each of its actors, so that ablations share what lies before.

    Args:
        network: functional `keras.Model` from images to logits.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> network, images = plain_network(network), np.ones((2, 8, 8, 1), "float32")
        >>> restarts = Restarts(network)
        >>> logits, cache = restarts.start(images)
        >>> again = restarts.restart("conv4_1_se", cache)
        >>> bool(np.allclose(again, network(images)))
        True
    """

    def __init__(self, network):
        nodes = [
            node
            for depth in sorted(network._nodes_by_depth, reverse=True)
            for node in network._nodes_by_depth[depth]
        ]
        logits = network.outputs[0]
        self.inputs, self.suffixes, cached = {}, {}, {}
        for actor in actors_of(network):
            borders = _borders(nodes, actor)
            self.inputs[actor.name] = [id(tensor) for tensor in borders]
            self.suffixes[actor.name] = keras.Function(borders, logits)
            cached |= {id(tensor): tensor for tensor in borders}
        self.keys = list(cached)
        self.prefix = keras.Function(network.inputs, [logits, *cached.values()])

    def start(self, images):
        """The logits (batch, classes), and what every restart needs, for one inference pass."""
        logits, *values = self.prefix(tf.nest.flatten(images))
        return logits, dict(zip(self.keys, values, strict=True))

    def restart(self, actor_name, cache):
        """The logits (batch, classes), computed again from the actor on."""
        return self.suffixes[actor_name]([cache[key] for key in self.inputs[actor_name]])


def _borders(nodes, actor):
    """The tensors that the part of the graph from `actor` on reads from the part before it."""
    after, borders = set(), {}
    for node in nodes:
        reached = any(id(tensor) in after for tensor in node.input_tensors)
        if node.operation is actor or reached:
            after.update(id(tensor) for tensor in node.outputs)
            borders |= {id(t): t for t in node.input_tensors if id(t) not in after}
    return list(borders.values())
