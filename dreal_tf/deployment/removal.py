"""How a module is removed from a network: dropped, or folded into the layer before or after it."""

import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.keras_internals import layers_inside, nodes_of
from dreal_tf.layers import intervene
from dreal_tf.networks.attaching import AttachedNetwork
from dreal_tf.networks.backbones import actors_of, plain_network

FOLDED, REMOVED, KEPT = "folded", "removed", "kept"
AUXILIARY = ("states", "actions")  # Outputs that predictions do not need.


class RemovalPlan(NamedTuple):
    """How one actor can be removed from a network.

    Attributes:
        done: "folded": a constant gate replaces the actor, inside the BatchNorm before it or the
            convolution after it; "removed": the actor's state passes unchanged; "kept": neither is
            possible.
        reason: str, why it is this one.
        layer: str, the name of that BatchNorm or convolution, or None.
        constants: tuple of float32 arrays, one a module of the actor: its constant gate, (channels,)
            or (1,); empty unless it is folded.
        exact: bool. Whether the replacement is the static action itself.
        blend: float. The weight at which the actor blends its gate in, see `AttentionActor`; 1: fully.
    """

    done: str
    reason: str
    layer: str | None = None
    constants: tuple = ()
    exact: bool = False
    blend: float = 1.0

    @property
    def gain(self):
        """Factor of the state's channels, float32 (channels,) or (1,)."""
        gate = math.prod(self.constants)
        return gate if self.blend == 1 else np.asarray(1 + self.blend * (gate - 1), np.float32)


def removal_plans(network, static):
    """How each actor of a network can be removed.

    A gate y = A·F, F = gamma·x̂ + beta, becomes constant when the static action a replaces A, and then
    gamma' = a·gamma and beta' = a·beta contain all of it. F must come from a BatchNorm, through
    nothing but activations with f(a·x) = a·f(x) for a >= 0 (ReLU, leaky ReLU), and nothing else may
    read it. If F comes from elsewhere, but only one convolution or dense layer reads y, as in inverted
    residual blocks, the input channels of its kernel are multiplied by a. Neither can hold a spatial
    gate: the mean of its static action over positions is folded instead. A gate that does not fold, and
    an action that mixes positions, are replaced by the identity if the actor has an identity action.

    Args:
        network: functional `keras.Model` with actors, with or without auxiliary outputs.
        static: dict of float arrays (1, ...) by module name, the mean action over some images.
    Returns:
        Dict of `RemovalPlan` by the actor's name, in depth order.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> static = {f"conv{n}_1/se": np.full((1, 1, 1, 2 ** (n + 2)), 0.5) for n in (2, 3, 4)}
        >>> plan = removal_plans(network, static)["conv3_1_se"]
        >>> plan.done, plan.layer, plan.gain[:2].tolist()
        ('folded', 'conv3_1_2_bn', [0.5, 0.5])
    """
    graph = _Graph(network)
    return {actor.name: _removal_plan(graph, actor, static) for actor in actors_of(network)}


def _removal_plan(graph, actor, static):
    if not actor.is_removable:
        return RemovalPlan(KEPT, "nothing can replace it: its layer does more than attend")
    if actor.is_gate:
        exact = "spatial" not in actor.kinds
        folded = RemovalPlan(
            FOLDED,
            reason="its static action" if exact else "its static action, averaged over positions,",
            constants=tuple(map(_constant, actor.kinds, (static[m] for m in actor.modules()))),
            exact=exact,
            blend=float(actor.blend) if actor.blended else 1.0,
        )
        layer, obstacle = graph.norm_before(actor, positive=folded.gain.min() >= 0)
        layer = layer or graph.kernel_after(actor)
        if layer is not None:
            return folded._replace(layer=layer, reason=f"{folded.reason} is in {layer} now")
    else:
        obstacle = "its action mixes positions"
    if all(actor.has_identity(index) for index in range(len(actor.kinds))):
        return RemovalPlan(REMOVED, f"its state passes unchanged: {obstacle}")
    return RemovalPlan(KEPT, f"nothing can replace it: {obstacle}")


def _constant(kind, action):
    """A module's static action as one number for each channel, or one for all of them."""
    action = np.asarray(action, "float64")
    return np.asarray(action.reshape(-1) if kind == "channel" else [action.mean()], np.float32)


class _Graph:
    """The makers and readers of each tensor between a network's input and its main outputs."""

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
                return None, f"other layers read the output of {layer.name} too"
            if isinstance(layer, keras.layers.BatchNormalization):
                obstacle = _obstacle(layer, tensor.ndim, len(self.uses[layer.name]))
                return (None, obstacle) if obstacle else (layer.name, None)
            if not _is_homogeneous(layer):
                return None, f"it follows {layer.name}, no BatchNorm"
            if not positive:
                return None, f"it is below 0 in places, and follows {layer.name}"
            tensor = maker.input_tensors[0]

    def kernel_after(self, actor):
        """The name of the only layer that reads an actor's output if its kernel can hold the gate."""
        tensor = self.uses[actor.name][0].outputs[0]
        readers = self.readers.get(id(tensor), ())
        if len(readers) != 1 or id(tensor) in self.read_outside or len(self.uses[actor.name]) > 1:
            return None
        layer = readers[0]
        holds = isinstance(layer, keras.layers.DepthwiseConv2D | keras.layers.Dense) or (
            isinstance(layer, keras.layers.Conv2D) and layer.groups == 1
        )
        channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
        return layer.name if holds and channels_last and len(self.uses[layer.name]) == 1 else None


def _obstacle(norm, rank, uses):
    """Why a BatchNorm cannot hold the gate that follows it, or None."""
    if uses > 1:
        return f"{norm.name} stands in {uses} places"
    if norm.gamma is None:
        return f"{norm.name} has no scale"
    if norm.axis % rank != rank - 1:
        return f"{norm.name} is not over channels"
    return None


def _is_homogeneous(layer):
    """Whether f(a·x) = a·f(x) for every a >= 0."""
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.threshold
    homogeneous = keras.activations.relu, keras.activations.leaky_relu, keras.activations.linear
    is_activation = isinstance(layer, keras.layers.Activation) and layer.activation in homogeneous
    return is_activation or isinstance(layer, keras.layers.LeakyReLU | keras.layers.Identity)


def without_actors(network, plans):
    """A copy of a network without some of its actors.

    Args:
        network: functional `keras.Model` with actors, with or without auxiliary outputs. It stays
            unchanged.
        plans: dict of `RemovalPlan`, see `removal_plans`, by the name of each actor to remove.
    Returns:
        Functional `keras.Model` with its own layers and weights. It predicts what `network` predicts
        under `imposed(plans)`, up to rounding.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> plans = removal_plans(network, {m: np.ones(a.shape[1:])[None]
        ...     for m, a in network.output["actions"].items()})
        >>> smaller = without_actors(network, {"conv2_1_se": plans["conv2_1_se"]})
        >>> sorted(smaller.output["actions"])
        ['conv3_1/se', 'conv4_1/se']
    """
    if isinstance(network, AttachedNetwork):
        smaller = network.without(plans)
        _fold(plans, {layer.name: layer for layer in layers_inside(plain_network(smaller))})
        return smaller
    copies = {}

    def copied(layer):
        copies[layer.name] = type(layer).from_config(layer.get_config())
        return copies[layer.name]

    def called(layer, *inputs, **arguments):
        if layer.name not in plans:
            return layer(*inputs, **arguments)
        outputs = keras.tree.flatten(network.get_layer(layer.name).output)
        return tuple(inputs[:1]) * len(outputs)  # The state replaces every output of the actor.

    smaller = keras.models.clone_model(network, clone_function=copied, call_function=called)
    if isinstance(network.output, dict):
        removed = {m for a in actors_of(network) if a.name in plans for m in a.modules()}
        outputs = dict(smaller.output)
        for name in AUXILIARY:
            outputs[name] = {m: t for m, t in outputs[name].items() if m not in removed}
        smaller = keras.Model(smaller.input, outputs, name=network.name)
    for layer in network.layers:
        if layer.name not in plans and layer.weights:
            copies[layer.name].set_weights(layer.get_weights())
    _fold(plans, copies)
    return smaller


def _fold(plans, layers):
    """Multiplies the weights of layers, a dict by name, by the constant gates of plans."""
    for plan in plans.values():
        if plan.done != FOLDED:
            continue
        layer = layers[plan.layer]
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in (layer.gamma, layer.beta):
                if variable is not None:
                    variable.assign(variable * plan.gain)
        else:
            layer.kernel.assign(layer.kernel * plan.gain[:, None])  # (..., input channels, outputs)


def imposed(plans):
    """Imposes the actions that amount to a network without some actors, by `dreal_tf.layers.intervene`.

    Args:
        plans: dict of `RemovalPlan`, see `without_actors`.
    Returns:
        Context manager: while it is active, the named actors emit their replacements.
    """

    def decide(actor, index, state, action):
        plan = plans.get(actor.name)
        if plan is None:
            return action
        if plan.done == REMOVED:
            return actor.identity_action(action, index)
        return tf.broadcast_to(tf.cast(plan.constants[index], action.dtype), tf.shape(action))

    return intervene(decide)
