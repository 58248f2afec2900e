"""Inserts attention layers into an existing network, and takes attention out of one."""

import fnmatch
from collections.abc import Sequence
from typing import Any

import keras

from dreal_tf.errors import InputError, check_objects, unknown_name
from dreal_tf.keras_internals import node_of
from dreal_tf.layers import ACTORS, AttentionActor
from dreal_tf.networks.attaching.cuts import cut_named
from dreal_tf.networks.attaching.graph import FlatGraph, graph_of, operations_of, replayed


def insert(
    network: keras.Model,
    attention: str | AttentionActor = "se",
    after: str | Sequence[str] | None = None,
    identity: bool = True,
    **arguments: Any,
) -> keras.Model:
    """Inserts attention layers after some layers of a network and keeps the network's weights.

    Args:
        network: functional or Sequential `keras.Model`, which may contain nested models. It stays
            unchanged; the new network consists of the same layers and shares their weights.
        attention: str, a kind such as "se" or "cbam", see the README's table, or an
            `AttentionActor` used as a pattern.
        after: str or sequence of str: names of layers, or patterns such as "conv*_block*_3_bn",
            the last BatchNorm of each block of `keras.applications`' ResNets.
        identity: bool. Whether the new layers initially pass their maps through unchanged, see
            `AttentionActor`'s `blended`; if not, they start as in their papers.
        **arguments: arguments of the layers, such as `reduction=16`.
    Returns:
        Functional `keras.Model`. The layer after "conv2_block1_3_bn" is called
        "conv2_block1_3_bn_se", its module "conv2_block1_3_bn/se"; a second one there is called
        "conv2_block1_3_bn_2_se".
    Raises:
        InputError: if no layer has such a name, or the output of a layer is no map.
    Example:
        >>> images = keras.Input((8, 8, 3))
        >>> maps = keras.layers.Conv2D(16, 3, name="first")(images)
        >>> network = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))
        >>> refined = insert(network, "se", after="fir*", reduction=4)
        >>> pixels = np.ones((1, 8, 8, 3), "float32")
        >>> refined.layers[2].name, bool(np.all(refined(pixels) == network(pixels)))
        ('first_se', True)
    """
    pattern = _pattern(attention, identity, arguments)
    patterns = (after,) if isinstance(after, str) else tuple(after or ())
    graph = graph_of(network)
    if graph is None or not patterns:
        raise InputError(
            "Expected a functional or Sequential network that is built, and the layers to insert "
            f"attention after. Received: {type(network).__name__}, after={after!r}. Give both; "
            "[layer.name for layer in network.layers] has the names."
        )

    used_names = set(_names(graph))

    def refined(node, operation, args, kwargs):
        return _refined(pattern, operation.name, operation(*args, **kwargs), used_names)

    return _Rebuilding(layers_matching(network, patterns), refined).of(network)


def layers_matching(network, patterns):
    """The names of the layers of a network, nested models included, that some patterns match.

    Args:
        network: functional or Sequential `keras.Model`.
        patterns: sequence of str, names or patterns.
    Returns:
        List of str, in depth order.
    Raises:
        InputError: if a pattern matches none.
    """
    names = list(_names(graph_of(network)))
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise unknown_name("layer of the network or pattern of layers", pattern, names)
    return [name for name in names if any(fnmatch.fnmatchcase(name, each) for each in patterns)]


def remove(network, names):
    """Takes attention out of a network: the state of each named module passes unchanged.

    Args:
        network: functional or Sequential `keras.Model`, which may contain nested models. It stays
            unchanged; the new network consists of the same layers and shares their weights.
        names: collection of str: names of actors, or of gates for which `bypass` finds a product.
    Returns:
        Functional `keras.Model`.
    Example:
        >>> images = keras.Input((8, 8, 4))
        >>> refined = SqueezeExcite(2, name="first_se")(images)
        >>> network = keras.Model(images, keras.layers.GlobalAveragePooling2D()(refined))
        >>> [layer.name for layer in network.layers[1:]], len(remove(network, ["first_se"]).layers)
        (['first_se', 'global_average_pooling2d'], 2)
    """
    known = list(_names(graph_of(network)))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise unknown_name("attention of the network", unknown[0], known)
    flat = FlatGraph(network)
    products = dict(bypass(cut_named(flat, n)) for n in names if not _is_actor(flat, n))

    def passed(node, operation, args, kwargs):
        state = keras.tree.flatten((args, kwargs))[products.get(operation.name, 0)]
        return [state] * len(node.outputs)  # An actor's actions, if it returns them, are not read.

    chosen = {name for name in names if _is_actor(flat, name)} | set(products)
    return _Rebuilding(chosen, passed).of(network)


def bypass(cut):
    """The product that a gate can be used_names out of, and the position of its state in it.

    Args:
        cut: `dreal_tf.networks.attaching.cuts.Cut`.
    Returns:
        Pair of the name of a Multiply layer or operation and the position of the state among its inputs;
        None if the network has no operation of its own that does nothing but apply the gate.
    """
    node = node_of(cut.output)
    positions = [n for n, tensor in enumerate(node.input_tensors) if tensor is cut.state]
    is_own = type(node.operation).__name__ == "Multiply" and not cut.layers
    return (node.operation.name, positions[0]) if is_own and positions else None


def _is_actor(graph, name):
    return any(
        n.operation.name == name and isinstance(n.operation, AttentionActor) for n in graph.nodes
    )


def _pattern(attention, identity, arguments):
    """The layer that all new layers copy."""
    check_objects(attention=attention)
    if isinstance(attention, AttentionActor):
        kind, config = type(attention), attention.get_config()
    elif attention in ACTORS:
        kind, config = ACTORS[attention], {}
    else:
        raise unknown_name("attention kind", attention, ACTORS)
    if kind.placement.where == "convolution":
        raise InputError(
            "Expected attention that refines a map. Received: "
            f"attention={kind.attention!r}, which takes the place of a convolution. Build the network "
            "with it instead."
        )
    # A kind that starts as identity has a weight of 0; with that of `blended` neither gets a gradient.
    blended = identity and not kind.starts_as_identity
    return kind.from_config(config | {"blended": blended} | arguments)


def _names(graph):
    return (operation.name for operation in operations_of(graph))


class _Rebuilding:
    """Rebuilds networks with some layers changed; a nested model only once, however often it is called.

    Args:
        names: collection of str, the layers to change.
        change: callable (node, operation, args, kwargs) that returns the tensors that the network reads
            in place of the node's outputs.
    """

    def __init__(self, names, change):
        self.names = frozenset(names)
        self.change = change
        self.made = {}

    def of(self, network):
        if id(network) not in self.made:
            graph = graph_of(network)
            fresh = [
                keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)
                for tensor in graph.inputs
            ]
            outputs = replayed(graph, fresh, self._applied)
            inputs = keras.tree.pack_sequence_as(graph.input, fresh)
            self.made[id(network)] = keras.Model(inputs, outputs, name=network.name)
        return self.made[id(network)]

    def _applied(self, node, args, kwargs):
        operation = node.operation
        nested = graph_of(operation)
        if nested is not None and not self.names.isdisjoint(_names(nested)):
            operation = self.of(operation)
        if operation.name in self.names:
            return self.change(node, operation, args, kwargs)
        return operation(*args, **kwargs)


def _refined(pattern, name, outputs, used_names):
    """The output of a layer, refined by a new layer like `pattern`, whose name is none of those used_names."""
    if not isinstance(outputs, keras.KerasTensor) or len(outputs.shape) != 4:
        shape = getattr(outputs, "shape", None)
        raise InputError(
            "Expected layers that give one map (batch, height, width, channels), to insert "
            f"attention after. Received: {name!r}, which gives shape {shape}. Choose others."
        )
    number, new = 1, f"{name}_{pattern.attention}"
    while new in used_names:
        number += 1
        new = f"{name}_{number}_{pattern.attention}"
    used_names.add(new)
    return type(pattern).from_config(pattern.get_config() | {"name": new})(outputs)
