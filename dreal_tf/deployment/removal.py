"""How a module is removed from a network: dropped, or folded into the weights beside it."""

import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.keras_internals import nodes_of
from dreal_tf.layers import AttentionActor, intervene
from dreal_tf.networks.backbones import actors_of

FOLDED, REMOVED, KEPT = "folded", "removed", "kept"
AUXILIARY = ("states", "actions")  # Outputs of a network that are no use to it.


class WayOut(NamedTuple):
    """How an actor can be taken out of a network.

    Attributes:
        done: "folded": a constant gate takes its place, as part of the BatchNorm before it; "removed":
            its state passes unchanged; "kept": neither is possible.
        reason: str, why it is this one.
        norm: str, the name of that BatchNorm, or None.
        constants: tuple of float32 arrays, one per step of the actor: its constant gate, (channels,)
            or (1,); empty where nothing is folded.
        exact: bool. Whether what takes the actor's place is its static action itself.
        blend: float. What the actor blends in of it, see `AttentionActor`; 1: all of it.
    """

    done: str
    reason: str
    norm: str | None = None
    constants: tuple = ()
    exact: bool = False
    blend: float = 1.0

    @property
    def gain(self):
        """What the BatchNorm's scale and offset are multiplied by, (channels,) or (1,)."""
        return blended(math.prod(self.constants), self.blend)


def blended(gate, blend):
    """What a blended gate amounts to.

    Args:
        gate: float array.
        blend: float. The weight it is blended in with.
    Returns:
        Float32 array of its shape.
    Example:
        >>> blended(np.float32([0.0, 1.0]), 0.5).tolist()
        [0.5, 1.0]
    """
    return gate if blend == 1 else np.asarray(1 + blend * (gate - 1), np.float32)


def ways_out(network, static):
    """How each actor of a network can be taken out.

    A gate y = A·F, F = gamma·x̂ + beta, becomes constant with the static action a in A's place, and
    then gamma' = a·gamma and beta' = a·beta hold all of it. For this F must come from a BatchNorm,
    by way of nothing but activations that scale along with what they are given (ReLU, leaky ReLU),
    and nothing else may read it. Of a spatial gate, which BatchNorm has no place for, the mean of
    the static action over places is taken: its scale stays. Where a gate does not fold, and for
    actions that mix places, the actor is passed by, if it has an action that does so.

    Args:
        network: functional `keras.Model` with actors, auxiliary outputs or not.
        static: dict of float arrays (1, ...) by module name, the mean action over some images.
    Returns:
        Dict of `WayOut` by the actor's name, in depth order.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> static = {f"conv{n}_1/se": np.full((1, 1, 1, 2 ** (n + 2)), 0.5) for n in (2, 3, 4)}
        >>> way = ways_out(network, static)["conv3_1_se"]
        >>> way.done, way.norm, way.gain[:2].tolist()
        ('folded', 'conv3_1_2_bn', [0.5, 0.5])
    """
    graph = _Graph(network)
    return {actor.name: _way_out(graph, actor, static) for actor in actors_of(network)}


def _way_out(graph, actor, static):
    kind = type(actor)
    gate = (kind.refine, kind.walk) == (AttentionActor.refine, AttentionActor.walk)
    if gate and "pairwise" not in kind.kinds:
        constants = tuple(
            _constant(kind, static[module])
            for module, kind in zip(actor.modules(), actor.kinds, strict=True)
        )
        blend = float(actor.blend) if actor.blended else 1.0
        gain = blended(math.prod(constants), blend)
        norm, obstacle = graph.norm_before(actor, positive=gain.min() >= 0)
        if norm is not None:
            exact = "spatial" not in actor.kinds
            of_what = "its static action" if exact else "its static action, places averaged,"
            return WayOut(FOLDED, f"{of_what} is in {norm} now", norm, constants, exact, blend)
    else:
        obstacle = "its action mixes places"
    if all(actor.has_identity(index) for index in range(len(actor.kinds))):
        return WayOut(REMOVED, f"its state passes unchanged: {obstacle}")
    return WayOut(KEPT, f"nothing can take its place: {obstacle}")


def _constant(kind, action):
    """A step's static action as one number for each channel, or for all of them."""
    action = np.asarray(action, "float64")
    return np.asarray(action.reshape(-1) if kind == "channel" else [action.mean()], np.float32)


class _Graph:
    """Who reads what on the way from a network's input to its outputs, auxiliary ones left out."""

    def __init__(self, network):
        outputs = network.output
        if isinstance(outputs, dict):
            outputs = {name: part for name, part in outputs.items() if name not in AUXILIARY}
        self.read_outside = {id(tensor) for tensor in keras.tree.flatten(outputs)}
        plain = keras.Model(network.input, outputs)
        self.makers, self.readers, self.uses = {}, {}, {}
        for node in nodes_of(plain):
            self.uses.setdefault(node.operation.name, []).append(node)
            self.makers |= {id(tensor): node for tensor in node.outputs}
            for tensor in node.input_tensors:
                self.readers.setdefault(id(tensor), []).append(node.operation)

    def norm_before(self, actor, positive):
        """The name of the BatchNorm that an actor's gate folds into and None, or None and why not."""
        uses = self.uses.get(actor.name, ())
        if len(uses) != 1:
            return None, f"it stands in {len(uses)} places"
        tensor = uses[0].input_tensors[0]
        while True:
            maker = self.makers[id(tensor)]
            layer = maker.operation
            if len(self.readers[id(tensor)]) > 1 or id(tensor) in self.read_outside:
                return None, f"it is not all that reads what {layer.name} gives"
            if isinstance(layer, keras.layers.BatchNormalization):
                obstacle = _obstacle(layer, tensor.ndim, len(self.uses[layer.name]))
                return (None, obstacle) if obstacle else (layer.name, None)
            if not _scales_along(layer):
                return None, f"it follows {layer.name}, no BatchNorm"
            if not positive:
                return None, f"it is below 0 in places, and follows {layer.name}"
            tensor = maker.input_tensors[0]


def _obstacle(norm, rank, uses):
    """Why a BatchNorm cannot hold the gate that follows it, or None."""
    if uses > 1:
        return f"{norm.name} stands in {uses} places"
    if norm.gamma is None:
        return f"{norm.name} has no scale"
    if norm.axis % rank != rank - 1:
        return f"{norm.name} is not over channels"
    return None


def _scales_along(layer):
    """Whether f(a·x) = a·f(x) for every a >= 0."""
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.threshold
    homogeneous = keras.activations.relu, keras.activations.leaky_relu, keras.activations.linear
    is_activation = isinstance(layer, keras.layers.Activation) and layer.activation in homogeneous
    return is_activation or isinstance(layer, keras.layers.LeakyReLU | keras.layers.Identity)


def without_actors(network, ways):
    """A network without some of its actors; the one given stays as it is.

    Args:
        network: functional `keras.Model` with actors, auxiliary outputs or not.
        ways: dict of `WayOut`, see `ways_out`, by the name of each actor to be taken out.
    Returns:
        Functional `keras.Model` with layers and weights of its own, which answers as `network` does
        under `imposed(ways)`, up to rounding.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> ways = ways_out(network, {m: np.ones(a.shape[1:])[None]
        ...     for m, a in network.output["actions"].items()})
        >>> smaller = without_actors(network, {"conv2_1_se": ways["conv2_1_se"]})
        >>> sorted(smaller.output["actions"])
        ['conv3_1/se', 'conv4_1/se']
    """
    copies = {}

    def copied(layer):
        copies[layer.name] = type(layer).from_config(layer.get_config())
        return copies[layer.name]

    def called(layer, *inputs, **arguments):
        if layer.name not in ways:
            return layer(*inputs, **arguments)
        outputs = keras.tree.flatten(network.get_layer(layer.name).output)
        return tuple(inputs[:1]) * len(outputs)  # The state, in place of all that came of it.

    smaller = keras.models.clone_model(network, clone_function=copied, call_function=called)
    if isinstance(network.output, dict):
        gone = {m for a in actors_of(network) if a.name in ways for m in a.modules()}
        outputs = dict(smaller.output)
        for name in AUXILIARY:
            outputs[name] = {m: t for m, t in outputs[name].items() if m not in gone}
        smaller = keras.Model(smaller.input, outputs, name=network.name)
    for layer in network.layers:
        if layer.name not in ways and layer.weights:
            copies[layer.name].set_weights(layer.get_weights())
    for way in ways.values():
        if way.done == FOLDED:
            norm = copies[way.norm]
            for variable in (norm.gamma, norm.beta):
                if variable is not None:
                    variable.assign(variable * way.gain)
    return smaller


def imposed(ways):
    """The actions that a network without some actors amounts to, for `dreal_tf.layers.intervene`.

    Args:
        ways: dict of `WayOut`, see `without_actors`.
    Returns:
        Context manager: while it is active, the named actors' actions are those that take their
        place.
    """

    def decide(actor, index, state, action):
        way = ways.get(actor.name)
        if way is None:
            return action
        if way.done == REMOVED:
            return actor.identity_action(action, index)
        return tf.broadcast_to(tf.cast(way.constants[index], action.dtype), tf.shape(action))

    return intervene(decide)
