"""Inserts attention layers into an existing network."""

import fnmatch
from collections.abc import Sequence
from typing import Any

import keras

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.layers import ACTORS, AttentionActor
from dreal_tf.networks.attaching.graph import graph_of, replayed


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
        "conv2_block1_3_bn_se", its module "conv2_block1_3_bn/se".
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
    names = list(_names(graph))
    for fitting in patterns:
        if not fnmatch.filter(names, fitting):
            raise unknown_name("layer of the network or pattern of layers", fitting, names)
    return _Insertion(pattern, patterns).into(network)


def _pattern(attention, identity, arguments):
    """The layer that all new layers copy."""
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
    """The names of all operations, those of nested models included."""
    for operation in graph.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        yield operation.name
        if (nested := graph_of(operation)) is not None:
            yield from _names(nested)


class _Insertion:
    """Rebuilds networks with attention; a nested model only once, even if it is called repeatedly."""

    def __init__(self, pattern, after):
        self.pattern = pattern
        self.after = after
        self.made = {}

    def into(self, network):
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
        if nested is not None and any(map(self._chosen, _names(nested))):
            operation = self.into(operation)
        outputs = operation(*args, **kwargs)
        return self._refined(outputs, operation.name) if self._chosen(operation.name) else outputs

    def _chosen(self, name):
        return any(fnmatch.fnmatchcase(name, fitting) for fitting in self.after)

    def _refined(self, outputs, name):
        if not isinstance(outputs, keras.KerasTensor) or len(outputs.shape) != 4:
            shape = getattr(outputs, "shape", None)
            raise InputError(
                "Expected layers that give one map (batch, height, width, channels), to insert "
                f"attention after. Received: {name!r}, which gives shape {shape}. Choose others."
            )
        kind, config = type(self.pattern), self.pattern.get_config()
        return kind.from_config(config | {"name": f"{name}_{self.pattern.attention}"})(outputs)
