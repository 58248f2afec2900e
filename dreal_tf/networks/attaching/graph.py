"""A functional network as a graph of operations, nested models opened."""

import functools
import inspect
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.errors import InputError
from dreal_tf.keras_internals import mask_of, node_of, nodes_of, output_structure, takes_training

ATTENTION = (
    keras.layers.MultiHeadAttention,
    keras.layers.GroupQueryAttention,
    keras.layers.Attention,
)
# The number of images while a layer is traced, a large prime: a side of a shape that is a multiple of it
# stands for that many per image, and the layer can compute with it.
IMAGES = 7919


def traced(layer, args, kwargs):
    """Traces the `call` of a layer as a graph of Keras operations.

    Args:
        layer: built `keras.layers.Layer`.
        args, kwargs: the arguments of the call, which include symbolic tensors.
    Returns:
        `keras.Function` that gives the list of the symbolic outputs; the list of the tensors in `args` and
        `kwargs` that are its inputs; and the structure of all outputs, constants in it.
    Raises:
        InputError: if `call` cannot be traced, or differs between training and inference.
    Example:
        >>> graph, *_ = traced(keras.layers.ReLU(), (keras.Input((4,)),), {})
        >>> [type(operation).__name__ for operation in graph.operations]
        ['InputLayer', 'ReLU']
    """
    if layer.activity_regularizer is not None:
        raise _opaque(layer, "it has an activity regularizer")
    if has_scores(layer):  # Without scores, Keras takes a path that computes no attention map.
        kwargs = kwargs | {"return_attention_scores": True}
        if kwargs.get("use_causal_mask"):
            args, kwargs = (), _with_causal_mask(layer, args, kwargs)
    inputs = [t for t in keras.tree.flatten((args, kwargs)) if isinstance(t, keras.KerasTensor)]
    inputs = list({id(tensor): tensor for tensor in inputs}.values())
    if any(mask_of(tensor) is not None for tensor in inputs):
        raise _opaque(layer, "its input is masked")
    graph, outputs = _graph(layer, args, kwargs, inputs)
    if takes_training(layer):
        modes = [_graph(layer, args, kwargs | {"training": mode}, inputs)[0] for mode in (True, False)]
        kinds = [[type(operation) for operation in mode.operations] for mode in modes]
        if kinds[0] != kinds[1]:
            raise _opaque(layer, "its `call` goes another way in training")
    return graph, inputs, outputs


def has_scores(layer):
    """Whether a layer is one of Keras's that can return its attention scores."""
    return isinstance(layer, ATTENTION)


def _with_causal_mask(layer, args, kwargs):
    """All arguments by name, the mask as one: Keras makes it of shapes that tracing does not know."""
    named = inspect.signature(layer.call).bind(*args, **kwargs).arguments
    query, value = named["inputs"][:2] if "inputs" in named else (named["query"], named["value"])
    if isinstance(layer, keras.layers.Attention) or None in (query.shape[1], value.shape[1]):
        return named
    mask = np.tril(np.ones((1, query.shape[1], value.shape[1]), bool))
    if named.get("attention_mask") is not None:
        mask = keras.ops.logical_and(named["attention_mask"], mask)
    return named | {"use_causal_mask": False, "attention_mask": mask}


def _graph(layer, args, kwargs, inputs):
    fresh = {}
    for tensor in inputs:
        images, *sides = tensor.shape
        images = IMAGES if images is None else images
        fresh[id(tensor)] = keras.Input(batch_shape=(images, *sides), dtype=tensor.dtype)

    def replaced(value):
        return fresh.get(id(value), value)

    args, kwargs = keras.tree.map_structure(replaced, (args, kwargs))
    losses = len(layer.losses)
    try:
        outputs = layer.call(*args, **kwargs)
        symbolic = [t for t in keras.tree.flatten(outputs) if isinstance(t, keras.KerasTensor)]
        graph = keras.Function(list(fresh.values()), symbolic)
    except Exception as error:  # Custom code can fail on symbolic tensors in any way.
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
        raise _opaque(layer, f"its `call` cannot be traced ({problem})") from error
    if len(layer.losses) != losses:
        raise _opaque(layer, "its `call` adds a loss")
    if any(_counts_images(node) for node in nodes_of(graph)):
        raise _opaque(layer, "its `call` makes values for a number of images")
    return graph, outputs


def _counts_images(node):
    """Whether an operation holds the number of images in another way than as one side of a known shape."""
    if node.is_input or isinstance(node.operation, keras.layers.Layer):
        return False
    values = keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
    sides = [
        side for value in values for side in getattr(value, "shape", ())[:1] if tf.is_tensor(value)
    ]
    if type(node.operation).__name__ == "Reshape":
        shape = node.outputs[0].shape
        counts = len([side for side in shape if _of_images(side)])
        return counts > 1 or (counts == 1 and None in shape)
    held = [v for name, v in vars(node.operation).items() if not name.startswith("_")]
    return any(_of_images(side) for side in [*sides, *keras.tree.flatten(held)])


def _of_images(side):
    return isinstance(side, int) and side > 0 and side % IMAGES == 0


def _opaque(layer, reason):
    return InputError(
        "Expected a layer whose `call` is made of Keras layers and `keras.ops`, the same in training "
        f"and at inference, to find its attention map in it. Received: {layer.name!r} "
        f"({type(layer).__name__}): {reason}. Write it so, or make it a `dreal_tf.AttentionActor`."
    )


MASKS = ("mask", "attention_mask", "query_mask", "value_mask", "key_mask")  # Arguments of attention.


def graph_of(model):
    """The functional graph of a model, or None if it has none.

    Args:
        model: any object; functional models and built Sequential models have a graph.
    """
    if isinstance(model, keras.Sequential):
        if not hasattr(model, "inputs"):  # It was never built.
            return None
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model if isinstance(model, keras.Model) and isinstance(model, keras.Function) else None


def operations_of(graph):
    """All operations of a graph but its inputs, those of nested models included."""
    for operation in graph.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        yield operation
        if (nested := graph_of(operation)) is not None:
            yield from operations_of(nested)


def replayed(graph, inputs, apply):
    """Passes tensors through a graph, operation by operation.

    Args:
        graph: functional `keras.Model` or `keras.Function`.
        inputs: sequence of tensors, one for each input of the graph.
        apply: callable (node, args, kwargs) that returns the outputs of a node.
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
    """Wraps an operation under another name, since names in a network must be unique.

    Args:
        operation: `keras.Operation`; a layer keeps its weights.
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
    """The part of a flat graph that replaces an opened layer.

    Attributes:
        layer: the opened layer.
        within: str, name of the region that contains it, or None.
        output: symbolic tensor, the layer's first output.
        tensors: list of symbolic tensors made inside it.
        masked: bool or "causal". Whether the layer was called with a mask.
    """

    layer: object
    within: str | None
    output: object
    tensors: list
    masked: bool | str


class FlatGraph:
    """A network as a flat graph of operations, without nested models.

    Args:
        network: functional or Sequential `keras.Model`.
        opens: callable (layer) -> bool: whether to replace a layer by the operations of its `call`.
        tries: callable (layer) -> bool: the same for layers that stay as they are if they cannot be traced.
    Attributes:
        inputs: structure of symbolic tensors.
        output: symbolic tensor.
        nodes: list of nodes in topological order.
        regions: dict of `Region` by the name of the opened layer.
        closed: dict by layer of the `InputError` that says why it cannot be traced.
    """

    def __init__(self, network, opens=lambda layer: False, tries=lambda layer: False):
        self.opens, self.tries = opens, tries
        self.regions, self._begun, self._aliases, self._made = {}, {}, {}, []
        self.closed = {}
        self._within = None  # Name of the region that is being flattened.
        graph = graph_of(network)
        # The network's own operations keep their names; those inside opened layers get others.
        self._named = {operation.name: operation for operation in reversed(list(operations_of(graph)))}
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
        if self.tries(operation):
            begun = dict(self._begun)
            try:
                return self._opened(operation, args, kwargs)
            except InputError as error:
                self.closed[operation.name], self._begun = error, begun
        shape = node.outputs[0].shape
        if type(operation).__name__ == "Reshape" and any(map(_of_images, shape)):
            outputs = keras.ops.reshape(args[0], [-1 if _of_images(side) else side for side in shape])
        else:
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
        # Keras passes the network's training mode to every layer and overrides the call's own.
        kwargs = {name: value for name, value in kwargs.items() if name != "training"}
        graph, tensors, outputs = traced(layer, args, kwargs)
        begin, self._within = len(self._made), name
        made = iter(self._inlined(graph, tensors))
        self._within = outer
        outputs = keras.tree.map_structure(
            lambda leaf: next(made) if isinstance(leaf, keras.KerasTensor) else leaf, outputs
        )
        first = keras.tree.flatten(outputs)[0]
        masked = any(kwargs.get(name) is not None for name in MASKS)
        masked = masked or ("causal" if kwargs.get("use_causal_mask") else False)
        self.regions[name] = Region(layer, outer, first, self._made[begin:], masked)
        # The traced graph always returns scores; the network may not expect them.
        expects_all = kwargs.get("return_attention_scores") or not has_scores(layer)
        return outputs if expects_all else first

    def _region_name(self, layer):
        """A unique name: the layer's, after that of the opened layer that contains it."""
        outer = self._begun.get(self._within)
        stem = name = layer.name if outer is None else f"{outer.name}_{layer.name}"
        number = 0
        while name in self._begun:
            number += 1
            name = f"{stem}_{number}"
        self._begun[name] = layer
        return name

    def _unique(self, operation):
        """The operation, wrapped in an `Alias` if another operation already has its name."""
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
        """Records the nodes, the readers of each tensor and the tensors that it depends on."""
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
        """The names of all operations and opened layers."""
        return list(dict.fromkeys([*(node.operation.name for node in self.nodes), *self.regions]))

    def nodes_in(self, region=None):
        """The nodes of a region, or of the network, without those of the regions inside it."""
        inside = [r for r in self.regions.values() if r.within == region]
        others = {id(tensor) for each in inside for tensor in each.tensors}
        of = None if region is None else {id(tensor) for tensor in self.regions[region].tensors}
        first = [(id(node.outputs[0]), node) for node in self.nodes]
        return [node for key, node in first if key not in others and (of is None or key in of)]

    def regions_in(self, region=None):
        """The names of the regions directly inside a region, or inside the network."""
        return [name for name, each in self.regions.items() if each.within == region]

    @functools.cached_property
    def rows_per_image(self):
        """By the id of a tensor: the length of its first axis for one image, None if unknown."""
        tensors, images = self.tensors(), keras.tree.flatten(self.inputs)
        one = [tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype) for tensor in images]
        function = tf.function(keras.Function(images, tensors), autograph=False)
        outputs = function.get_concrete_function(one).structured_outputs
        return {id(tensor): out.shape[0] for tensor, out in zip(tensors, outputs, strict=True)}

    def node_named(self, name):
        """The only node of an operation.

        Raises:
            InputError: if the operation has several nodes.
        """
        nodes = [node for node in self.nodes if node.operation.name == name]
        if len(nodes) > 1:
            raise InputError(
                f"Expected each attention layer in one place. Received: {name!r}, which is shared by "
                f"{len(nodes)}. Give each place a layer of its own."
            )
        return nodes[0]

    def passes_through(self, tensor, other):
        """Whether every path from the inputs to `tensor` passes through `other`."""
        return tensor is not other and id(other) in self.through[id(tensor)]

    def narrowest(self, *tensors):
        """The last map through which every path from the inputs to `tensors` passes, or None."""
        common = frozenset.intersection(*(self.through[id(tensor)] for tensor in tensors))
        common -= {id(tensor) for tensor in tensors}
        maps = [t for t in self.tensors() if id(t) in common and len(t.shape) in (3, 4)]
        return max(maps, key=lambda t: self.rank[id(t)], default=None)

    def tensors(self):
        """All symbolic tensors, in topological order."""
        made = [tensor for node in self.nodes for tensor in node.outputs]
        return [*keras.tree.flatten(self.inputs), *made]


def _ancestors(tensor):
    """Ids of the nodes that a tensor is computed by."""
    ancestors, pending = set(), [tensor]
    while pending:
        node = node_of(pending.pop())
        if id(node) not in ancestors:
            ancestors.add(id(node))
            pending += node.input_tensors
    return ancestors
