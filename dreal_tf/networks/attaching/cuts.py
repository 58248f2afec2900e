"""Cuts the graph of a network around its attention modules."""

import math
from typing import NamedTuple

import keras
import numpy as np

from dreal_tf.keras_internals import node_of
from dreal_tf.networks.attaching.graph import Alias

ANY = (-math.inf, math.inf)
RANGES = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, math.inf),
}
ARITHMETIC = {
    "Add": np.add,
    "Subtract": np.subtract,
    "Multiply": np.multiply,
    "Divide": np.divide,
    "TrueDivide": np.divide,
}
# Operations that rearrange values and keep their range.
MOVING = ("Reshape", "ExpandDims", "Transpose", "Permute", "Squeeze", "Cast", "Identity", "Dropout")
RESIZING = ("Resize", "Resizing", "UpSampling2D")


def range_of(tensor):
    """The range of a symbolic tensor.

    Args:
        tensor: symbolic tensor.
    Returns:
        Pair of float: the least and the greatest possible value; infinite if unknown.
    Example:
        >>> images = keras.Input((4, 4, 3))
        >>> range_of(keras.layers.ReLU(6.0)(images + 3.0) * (1 / 6))
        (0.0, 1.0)
    """
    node = node_of(tensor)
    if node is None:
        return ANY
    operation = node.operation
    if isinstance(operation, Alias):
        operation = operation.operation
    kind = type(operation).__name__
    activation = getattr(operation, "activation", None)
    ending = activation.__name__ if callable(activation) else _snake(kind)
    if kind == "ReLU":
        plain = not operation.negative_slope and not operation.threshold
        most = math.inf if operation.max_value is None else float(operation.max_value)
        known = (0.0, most) if plain else ANY
    elif ending in RANGES:
        known = RANGES[ending]
    elif (kind in MOVING or _keeps_range(operation)) and len(node.input_tensors) == 1:
        known = range_of(node.input_tensors[0])
    else:
        known = _arithmetic(kind, node) if kind in ARITHMETIC else ANY
    return known


def _keeps_range(operation):
    """Whether an operation resizes maps to means of their values."""
    method = getattr(operation, "interpolation", None)
    return type(operation).__name__ in RESIZING and method in ("nearest", "bilinear", "area")


def _arithmetic(kind, node):
    """The range of an operation on one tensor and one number."""
    values = keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
    if len(values) != 2 or len(node.input_tensors) != 1:
        return ANY
    first, second = (
        range_of(value) if isinstance(value, keras.KerasTensor) else (value, value) for value in values
    )
    if not all(isinstance(end, int | float) for end in (*first, *second)):
        return ANY
    with np.errstate(invalid="ignore", divide="ignore"):
        ends = [ARITHMETIC[kind](a, b) for a in first for b in second]
    return ANY if np.isnan(ends).any() else (float(min(ends)), float(max(ends)))


def _snake(name):
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


ACTIVATIONS = ("sigmoid", "hard_sigmoid", "tanh", "softmax")  # Activations that may end a gate.
PRODUCTS = ("Einsum", "Matmul", "Dot")


class Cut(NamedTuple):
    """An attention map in a graph, with the state it is computed from and the output it produces.

    Attributes:
        name: str, the operation or layer that contains it.
        kind: str, the kind of the action.
        state, action, output: symbolic tensors of the graph.
        range: pair of float, the least and the greatest value of a gate.
        layers: tuple of layers: the opened layer that computes nothing else, whose weights are its own.
        opened: tuple of the layers that were opened to find it, the outermost first.
        mask: bool array that broadcasts to a pairwise action: False for keys that a query may not attend
            to; None if there are none.
    """

    name: str
    kind: str
    state: object
    action: object
    output: object
    range: tuple = (0.0, 1.0)
    layers: tuple = ()
    opened: tuple = ()
    mask: object = None


class NoGate(Exception):
    """An operation or layer is no attention map; the message is the reason."""


def kind_of(operation):
    """The class name of an operation; for an `Alias`, of the operation that it wraps."""
    return type(operation.operation if isinstance(operation, Alias) else operation).__name__


def cut_named(graph, name):
    """The attention map that an operation computes.

    Args:
        graph: `FlatGraph`.
        name: str.
    Returns:
        `Cut`.
    Raises:
        NoGate: if it computes none.
    """
    cut = _at(graph, graph.node_named(name))
    _check(graph, cut)
    return cut._replace(name=name)


def cuts_named(graph, name):
    """The attention maps that an operation or an opened layer computes, the layers inside it first.

    Args:
        graph: `FlatGraph`.
        name: str.
    Returns:
        List of `Cut`, at least one. An opened layer's own maps are called as the layer, and numbered from
        the second on.
    Raises:
        NoGate: if there is none.
    """
    if name not in graph.regions:
        return [cut_named(graph, name)]
    cuts, own, reasons = [], [], []
    for inner in graph.regions_in(name):
        try:
            cuts += cuts_named(graph, inner)
        except NoGate as reason:
            reasons.append(str(reason))
    nodes = [node for node in graph.nodes_in(name) if may_be_gate(node)]
    for node in nodes:
        try:
            cut = _at(graph, node)
            _check(graph, cut)
            own.append(cut)
        except NoGate as reason:
            reasons.append(str(reason))
    region = graph.regions[name]
    alone = len(own) == 1 and not cuts
    for number, cut in enumerate(own, start=1):
        if alone and cut.kind == "pairwise":
            # The rest of the layer, such as a projection, belongs to its attention.
            mask = _mask_of(region, cut)
            cut = _pairwise(graph, name, cut.action, region.output)._replace(mask=mask)
        called = f"{name}_{number}" if number > 1 else name
        layers = (region.layer,) if alone else ()
        cuts.append(cut._replace(name=called, layers=layers))
    if not cuts:
        raise NoGate((reasons or ["a layer with no attention in it"])[-1])
    return [cut._replace(opened=(region.layer, *cut.opened)) for cut in cuts]


def may_be_gate(node):
    """Whether a node may apply a gate, or make scores."""
    return kind_of(node.operation) == "Multiply" or _is_softmax(node)


def _at(graph, node):
    kind = kind_of(node.operation)
    if kind == "Multiply":
        return _gate(graph, node)
    if _is_softmax(node):
        return _scores(graph, node)
    activation = getattr(node.operation, "activation", None)
    ends = getattr(activation, "__name__", None) in ACTIVATIONS or kind in ("Sigmoid", "HardSigmoid")
    readers = graph.readers.get(id(node.outputs[0]), [])
    if ends and len(readers) == 1 and kind_of(readers[0].operation) == "Multiply":
        return _gate(graph, readers[0])
    raise NoGate(f"a {kind}, which ends no attention")


def _gate(graph, node):
    """The cut at a product of a state and a gate that is computed from it."""
    if len(node.input_tensors) != 2:
        raise NoGate("a product of something else than two maps")
    name, output, reasons = node.operation.name, node.outputs[0], []
    for value, action in (node.input_tensors, node.input_tensors[::-1]):
        of_value, span = graph.passes_through(action, value), range_of(action)
        kind = _kind_of_gate(value, action)
        if not of_value and (kind is None or math.inf in span or -math.inf in span):
            reasons.append("a product of two maps of which none is made of the other")
        elif kind is None:
            reasons.append(
                f"a product of maps of shapes {value.shape} and {action.shape}, which selects neither "
                "among channels (1, 1, channels) nor among places (height, width, 1)"
            )
        else:
            # A gate that ends in an activation may be made of an earlier map than the one it multiplies.
            state = value if of_value else graph.narrowest(value, action)
            selects = slice(3, 4) if kind == "channel" else slice(1, 3)
            if state is not None and state.shape[selects] == value.shape[selects]:
                return Cut(name, kind, state, action, output, range=span)
            reasons.append("a gate that is made of a map of another size than the one it multiplies")
    raise NoGate(reasons[-1] if reasons[0].startswith("a product of two") else reasons[0])


def _kind_of_gate(value, action):
    if len(value.shape) != 4 or len(action.shape) != 4:
        return None
    if action.shape[1:3] == (1, 1) and action.shape[3] == value.shape[3]:
        return "channel"
    among_positions = action.shape[1:3] == value.shape[1:3]
    # A map for each channel is a gate if it was made at another size; an activation such as swish is not.
    whole = action.shape[3] == value.shape[3] and _is_resized(action)
    return "spatial" if among_positions and (action.shape[3] == 1 or whole) else None


def _is_resized(tensor):
    """Whether a map was resized and then at most given an activation."""
    while (node := node_of(tensor)) is not None and len(node.input_tensors) == 1:
        if kind_of(node.operation) in RESIZING:
            return True
        if kind_of(node.operation) not in (*MOVING, "Activation", "Sigmoid", "HardSigmoid"):
            return False
        tensor = node.input_tensors[0]
    return False


def _is_softmax(node):
    """Whether a node is a softmax over the last axis."""
    operation = node.operation
    if isinstance(operation, Alias):
        operation = operation.operation
    activation = getattr(operation, "activation", None)
    if type(operation).__name__ == "Softmax" or activation is keras.activations.softmax:
        axis = getattr(operation, "axis", -1)
        axis = axis[0] if isinstance(axis, tuple | list) and len(axis) == 1 else axis
        return axis in (-1, len(node.outputs[0].shape) - 1)
    return False


def _scores(graph, node):
    """The cut at a softmax whose result is multiplied by values."""
    action = node.outputs[0]
    masks = [*node.arguments.args[1:], node.arguments.kwargs.get("mask")]
    masks = [mask for mask in masks if mask is not None]
    if any(isinstance(mask, keras.KerasTensor) for mask in masks):
        raise NoGate(
            "attention under a mask that is no constant: it is an input, or made of the images"
        )
    if len(action.shape) not in (3, 4):
        raise NoGate(f"a softmax of shape {action.shape}, not ([heads,] queries, keys)")
    product = _product(graph, action)
    if product is None:
        raise NoGate("a softmax that weighs no values")
    output = product.outputs[0]
    return _pairwise(graph, node.operation.name, action, output, *masks)


def _product(graph, tensor):
    """The only reader of a tensor, dropout skipped, if it is a product; else None."""
    readers = graph.readers.get(id(tensor), [])
    while len(readers) == 1 and kind_of(readers[0].operation) == "Dropout":
        readers = graph.readers.get(id(readers[0].outputs[0]), [])
    is_product = len(readers) == 1 and kind_of(readers[0].operation) in PRODUCTS
    return readers[0] if is_product else None


def _pairwise(graph, name, action, output, mask=None):
    state = graph.narrowest(action, output)
    if state is None:
        raise NoGate("attention whose queries, keys and values are not all made of one map")
    mask = None if mask is None else np.asarray(mask).astype(bool)
    return Cut(name, "pairwise", state, action, output, mask=mask)


def _mask_of(region, cut):
    """The constant mask of an opened layer, which Keras's `Attention` does not give to its softmax."""
    if cut.mask is not None or not region.masked:
        return cut.mask
    sides = cut.action.shape[-2:]
    if region.masked != "causal" or None in sides:
        raise NoGate(
            "attention under a mask that is no constant: it is an input, or made of the images"
        )
    return np.tril(np.ones(sides, bool))


def _check(graph, cut):
    """Raises `NoGate` if a map is not one per image, or more than the output reads it.

    Its ablation is ambiguous if several parts read it.
    """
    if cut.kind == "pairwise":
        parts = max(graph.rows_per_image[id(tensor)] or 1 for tensor in (cut.state, cut.action))
        if parts > 1:
            raise NoGate(
                f"attention whose first axis holds {parts} maps an image, of windows or heads, not 1"
            )
    shared = _made_between(cut.state, cut.action) & _made_between(cut.state, cut.output, cut.action)
    if any(_learns_from_batch(node.operation) for node in graph.nodes if id(node) in shared):
        raise NoGate(
            "attention with a BatchNorm that both its map and the values it weighs are made of"
        )
    pending, seen = [cut.action], set()
    while pending:
        tensor = pending.pop()
        if tensor is cut.output or id(tensor) in seen:
            continue
        if tensor is graph.output:
            raise NoGate("an attention map that is read elsewhere too")
        seen.add(id(tensor))
        pending += [out for reader in graph.readers.get(id(tensor), []) for out in reader.outputs]


def _made_between(begin, end, *stops):
    """Ids of the nodes by which `end` is computed from `begin`, without going beyond `stops`."""
    made, pending, ends = set(), [end], {id(begin), *map(id, stops)}
    while pending:
        tensor = pending.pop()
        node = node_of(tensor)
        if id(tensor) not in ends and node is not None and id(node) not in made:
            made.add(id(node))
            pending += node.input_tensors
    return made


def _learns_from_batch(operation):
    layer = operation.operation if isinstance(operation, Alias) else operation
    return isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
