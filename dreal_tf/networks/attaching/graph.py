"""A network's graph laid out flat: nested models and opened layers become their operations."""

from typing import NamedTuple

import keras

from dreal_tf.errors import InputError
from dreal_tf.keras_internals import node_of, nodes_of, output_structure, takes_training
from dreal_tf.networks.attaching.opening import has_scores, traced

MASKS = ("mask", "attention_mask", "query_mask", "value_mask", "key_mask")  # Arguments of attention.


def graph_of(model):
    """The functional graph of a model, or None where it has none that can be seen.

    Args:
        model: anything; functional and Sequential models have one.
    """
    if isinstance(model, keras.Sequential):
        if not hasattr(model, "inputs"):  # It was never built.
            return None
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model if isinstance(model, keras.Model) and isinstance(model, keras.Function) else None


def replayed(graph, inputs, apply):
    """Takes tensors through a graph, operation by operation.

    Args:
        graph: functional `keras.Model` or `keras.Function`.
        inputs: sequence of tensors, one for each of its inputs.
        apply: callable (node, args, kwargs) that gives the outputs of a node.
    Returns:
        The graph's outputs, in its own structure.
    """
    values = {id(old): new for old, new in zip(graph.inputs, inputs, strict=True)}
    for node in nodes_of(graph):
        if not node.is_input:
            results = keras.tree.flatten(apply(node, *node.arguments.fill_in(values)))
            values |= {id(old): new for old, new in zip(node.outputs, results, strict=True)}
    outputs = [values[id(tensor)] for tensor in graph.outputs]
    return keras.tree.pack_sequence_as(output_structure(graph), outputs)


class Alias(keras.layers.Layer):
    """An operation under another name, as a network may hold no name twice.

    Args:
        operation: `keras.Operation`; a layer's weights are its own still.
        name: str.
    """

    def __init__(self, operation, name):
        super().__init__(name=name)
        self.operation = operation

    def call(self, *args, training=None, **kwargs):
        if takes_training(self.operation):
            kwargs["training"] = training
        return self.operation(*args, **kwargs)


class Region(NamedTuple):
    """What an opened layer became.

    Attributes:
        layer: the layer.
        within: str, name of the region that it lies in, or None.
        output: symbolic tensor, what it gives.
        tensors: list of symbolic tensors made inside it.
        masked: bool. Whether it was called with a mask.
    """

    layer: object
    within: str | None
    output: object
    tensors: list
    masked: bool


class FlatGraph:
    """A network laid out: its own layers, without anything nested.

    Args:
        network: functional or Sequential `keras.Model`.
        opens: callable (layer) -> bool: whether to take a layer apart into the operations of its
            `call`.
    Attributes:
        inputs: structure of symbolic tensors; `output`: symbolic tensor.
        nodes: list of nodes in an order in which they can be computed.
        regions: dict of `Region` by the name of the layer that was opened.
    """

    def __init__(self, network, opens):
        self.opens = opens
        self.regions, self._begun, self._named, self._aliases, self._made = {}, {}, {}, {}, []
        self._within = None  # Name of the region that is being laid out.
        graph = graph_of(network)
        fresh = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in graph.inputs]
        self.inputs = keras.tree.pack_sequence_as(graph.input, fresh)
        self.output = self._inlined(graph, fresh)
        self._arrange()

    def _inlined(self, graph, inputs):
        return replayed(graph, inputs, self._applied)

    def _applied(self, node, args, kwargs):
        operation = node.operation
        nested = graph_of(operation)
        if nested is not None:
            return self._inlined(nested, keras.tree.flatten(args[0]))
        if self.opens(operation):
            return self._opened(operation, args, kwargs)
        outputs = self._unique(operation)(*args, **kwargs)
        self._made += keras.tree.flatten(outputs)
        return outputs

    def _opened(self, layer, args, kwargs):
        if any(layer is region.layer for region in self.regions.values()):
            raise InputError(
                f"Expected each attention layer in one place. Received: {layer.name!r}, which is "
                "shared by several. Give each place a layer of its own."
            )
        name, outer = self._region_name(layer), self._within
        # The mode is the network's: Keras hands it down to every layer, whatever a call said.
        kwargs = {name: value for name, value in kwargs.items() if name != "training"}
        graph, given = traced(layer, args, kwargs)
        begin, self._within = len(self._made), name
        outputs = self._inlined(graph, given)
        self._within = outer
        first = keras.tree.flatten(outputs)[0]
        masked = any(kwargs.get(name) is not None for name in MASKS) or kwargs.get("use_causal_mask")
        self.regions[name] = Region(layer, outer, first, self._made[begin:], bool(masked))
        # Scores come along whether the network asked for them or not.
        asked = kwargs.get("return_attention_scores") or not has_scores(layer)
        return outputs if asked else first

    def _region_name(self, layer):
        """The layer's name; inside another one that is opened, behind that one's name."""
        outer = self._begun.get(self._within)
        stem = name = layer.name if outer is None else f"{outer.name}_{layer.name}"
        number = 0
        while name in self._begun:
            number += 1
            name = f"{stem}_{number}"
        self._begun[name] = layer
        return name

    def _unique(self, operation):
        """The operation, under another name where its own is taken by another operation."""
        if self._named.setdefault(operation.name, operation) is operation:
            return operation
        if id(operation) not in self._aliases:
            stem = f"{self._within}_{operation.name}" if self._within else operation.name
            name, number = stem, 1
            while name in self._named:
                name, number = f"{stem}_{number}", number + 1
            self._aliases[id(operation)] = Alias(operation, name)
            self._named[name] = operation
        return self._aliases[id(operation)]

    def _arrange(self):
        """Notes which operation makes and which ones read each tensor, and what each depends on."""
        self.nodes, self.readers, self.rank, self.through = [], {}, {}, {}
        for tensor in keras.tree.flatten(self.inputs):
            self._note(tensor, frozenset())
        needed = _ancestors(self.output)
        for made in self._made:
            node = node_of(made)
            if made is not node.outputs[0] or id(node) not in needed:
                continue
            self.nodes.append(node)
            read = list({id(tensor): tensor for tensor in node.input_tensors}.values())
            for tensor in read:
                self.readers.setdefault(id(tensor), []).append(node)
            through = [self.through[id(tensor)] for tensor in read if id(tensor) in self.through]
            common = frozenset.intersection(*through) if through else frozenset()
            for tensor in node.outputs:
                self._note(tensor, common)

    def _note(self, tensor, through):
        self.rank[id(tensor)] = len(self.rank)
        self.through[id(tensor)] = through | {id(tensor)}

    def names(self):
        """Names of all operations and opened layers."""
        return list(dict.fromkeys([*(node.operation.name for node in self.nodes), *self.regions]))

    def outermost(self, name):
        """The name of the layer of the network in which a region lies; any other name as it is."""
        while name in self.regions and self.regions[name].within is not None:
            name = self.regions[name].within
        return name

    def node_named(self, name):
        """The one node of an operation.

        Raises:
            InputError: if it is used in several places.
        """
        nodes = [node for node in self.nodes if node.operation.name == name]
        if len(nodes) > 1:
            raise InputError(
                f"Expected each attention layer in one place. Received: {name!r}, which is shared by "
                f"{len(nodes)}. Give each place a layer of its own."
            )
        return nodes[0]

    def passes_through(self, tensor, other):
        """Whether all that `tensor` is made of has come through `other`."""
        return tensor is not other and id(other) in self.through[id(tensor)]

    def narrowest(self, *tensors):
        """The last tensor through which all that makes each of `tensors` has come, or None."""
        common = frozenset.intersection(*(self.through[id(tensor)] for tensor in tensors))
        common -= {id(tensor) for tensor in tensors}
        found = [t for t in self.tensors() if id(t) in common and len(t.shape) in (3, 4)]
        return max(found, key=lambda t: self.rank[id(t)], default=None)

    def tensors(self):
        """All symbolic tensors, in an order in which they can be computed."""
        made = [tensor for node in self.nodes for tensor in node.outputs]
        return [*keras.tree.flatten(self.inputs), *made]


def _ancestors(tensor):
    """Ids of the nodes that a tensor is made by."""
    found, left = set(), [tensor]
    while left:
        node = node_of(left.pop())
        if id(node) not in found:
            found.add(id(node))
            left += node.input_tensors
    return found
