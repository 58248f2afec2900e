"""The range of a gate's values, derived from the operations that compute it."""

import math

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
