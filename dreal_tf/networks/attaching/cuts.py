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
    elif kind in MOVING and len(node.input_tensors) == 1:
        known = range_of(node.input_tensors[0])
    else:
        known = _arithmetic(kind, node) if kind in ARITHMETIC else ANY
    return known


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
        layers: tuple of the layers that were opened to find it and whose weights it uses.
    """

    name: str
    kind: str
    state: object
    action: object
    output: object
    range: tuple = (0.0, 1.0)
    layers: tuple = ()


class NoGate(Exception):
    """An operation or layer is no attention map; the message is the reason."""


def kind_of(operation):
    """The class name of an operation; for an `Alias`, of the operation that it wraps."""
    return type(operation.operation if isinstance(operation, Alias) else operation).__name__


def cut_named(graph, name):
    """The attention map that an operation or an opened layer computes.

    Args:
        graph: `FlatGraph`.
        name: str.
    Returns:
        `Cut`.
    Raises:
        NoGate: if it computes none.
    """
    if name in graph.regions:
        cut = _in_region(graph, graph.regions[name])
    else:
        cut = _at(graph, graph.node_named(name))
    _check_read(graph, cut)
    return cut._replace(name=name)


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
    reasons = []
    for state, action in (node.input_tensors, node.input_tensors[::-1]):
        if not graph.passes_through(action, state):
            reasons.append("a product of two maps of which none is made of the other")
        elif (kind := _kind_of_gate(state.shape, action.shape)) is None:
            reasons.append(
                f"a product of maps of shapes {state.shape} and {action.shape}, which selects neither "
                "among channels (1, 1, channels) nor among places (height, width, 1)"
            )
        else:
            output, span = node.outputs[0], range_of(action)
            return Cut(node.operation.name, kind, state, action, output, range=span)
    raise NoGate(reasons[-1] if reasons[0].startswith("a product of two") else reasons[0])


def _kind_of_gate(state, action):
    if len(state) != 4 or len(action) != 4:
        return None
    if action[1:3] == (1, 1) and action[3] == state[3]:
        return "channel"
    return "spatial" if action[1:3] == state[1:3] and action[3] == 1 else None


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
    if len(node.input_tensors) > 1 or node.arguments.kwargs.get("mask") is not None:
        raise NoGate("attention with a mask, whose keys are not all valid")
    if len(action.shape) not in (3, 4):
        raise NoGate(f"a softmax of shape {action.shape}, not ([heads,] queries, keys)")
    product = _product(graph, action)
    if product is None:
        raise NoGate("a softmax that weighs no values")
    output = product.outputs[0]
    return _pairwise(graph, node.operation.name, action, output)


def _product(graph, tensor):
    """The only reader of a tensor, dropout skipped, if it is a product; else None."""
    readers = graph.readers.get(id(tensor), [])
    while len(readers) == 1 and kind_of(readers[0].operation) == "Dropout":
        readers = graph.readers.get(id(readers[0].outputs[0]), [])
    is_product = len(readers) == 1 and kind_of(readers[0].operation) in PRODUCTS
    return readers[0] if is_product else None


def _pairwise(graph, name, action, output):
    state = graph.narrowest(action, output)
    if state is None:
        raise NoGate("attention whose queries, keys and values are not all made of one map")
    return Cut(name, "pairwise", state, action, output)


def _in_region(graph, region):
    """The only cut inside an opened layer."""
    if region.masked:
        raise NoGate("attention with a mask, whose keys are not all valid")
    inside = {id(tensor) for tensor in region.tensors}
    cuts, reasons = [], []
    for node in graph.nodes:
        if id(node.outputs[0]) not in inside:
            continue
        kind = kind_of(node.operation)
        try:
            if _is_softmax(node):
                cut = _scores(graph, node)
                # The rest of the layer, such as a projection, belongs to its attention.
                cuts.append(_pairwise(graph, "", cut.action, region.output))
            elif kind == "Multiply":
                cuts.append(_gate(graph, node))
        except NoGate as reason:
            reasons.append(str(reason))
    if len(cuts) > 1:
        raise NoGate(f"a layer with {len(cuts)} attention maps in it")
    if not cuts:
        raise NoGate((reasons or ["no attention in it"])[0])
    return cuts[0]._replace(layers=(region.layer,))


def _check_read(graph, cut):
    """Raises `NoGate` if more than the output reads a map, since its ablation is then ambiguous."""
    pending, seen = [cut.action], set()
    while pending:
        tensor = pending.pop()
        if tensor is cut.output or id(tensor) in seen:
            continue
        if tensor is graph.output:
            raise NoGate("an attention map that is read elsewhere too")
        seen.add(id(tensor))
        pending += [out for reader in graph.readers.get(id(tensor), []) for out in reader.outputs]
