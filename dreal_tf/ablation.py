"""Ablation: the action of one step replaced by its baseline, image by image."""

import keras
import tensorflow as tf

from dreal_tf.backbones import actors_of
from dreal_tf.errors import unknown_name
from dreal_tf.layers.anchored_mean import anchored_mean

BASELINES = ("mean", "static", "identity")


class Ablation:
    """An intervention (see `dreal_tf.layers.intervene`) that ablates one step in each image.

    Args:
        modules: sequence of str, the module names of the steps that can be ablated.
        assigned: int32 tensor (n,). For each image of the pass the position in `modules` of the
            step to ablate; -1 for none.
        baseline: str, one of `BASELINES`: the action that takes the place of the step's own.
        actions: dict of the actions of an unablated pass by module name; read by "static", whose
            baseline is their mean over images.
    Attributes:
        unchanged: bool tensor (n,), after the pass: whether the action equalled its baseline.
    Example:
        >>> actor, state = SqueezeExcite(2, name="gate"), np.random.rand(2, 4, 4, 8)
        >>> with intervene(Ablation(["gate/se"], np.int32([-1, 0]))):
        ...     _, action = actor(state, return_action=True)
        >>> np.ptp(action.numpy(), axis=3).ravel() > 0  # The second is flat.
        array([ True, False])
    """

    def __init__(self, modules, assigned, baseline="mean", actions=None):
        if baseline not in BASELINES:
            raise unknown_name("baseline action", baseline, BASELINES)
        self.position = {module: position for position, module in enumerate(modules)}
        self.assigned = tf.convert_to_tensor(assigned)
        self.baseline = baseline
        self.actions = actions
        self.unchanged = tf.zeros_like(self.assigned, dtype=bool)

    def __call__(self, actor, index, state, action):
        module = actor.modules()[index]
        if module not in self.position:
            return action
        chosen = self.assigned == self.position[module]  # (n,)
        if self.baseline == "static":
            mean = anchored_mean(self.actions[module], axes=(0,))[:1]
            replacement = tf.broadcast_to(tf.cast(mean, action.dtype), tf.shape(action))
        else:
            replacement = actor.baseline_action(action, self.baseline, index)
        same = tf.reduce_all(action == replacement, axis=list(range(1, action.shape.rank)))
        self.unchanged |= chosen & same
        where = tf.reshape(chosen, [-1] + [1] * (action.shape.rank - 1))
        return tf.where(where, replacement, action)


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


def plain_network(network):
    """The network from images to logits alone, sharing the layers of `network`.

    Args:
        network: functional `keras.Model` whose output is a dict that holds `logits`.
    Returns:
        Functional `keras.Model`.
    """
    return keras.Model(network.input, network.output["logits"], name=network.name)
