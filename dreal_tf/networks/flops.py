"""Costs of networks and their modules at inference, counted on the graph: multiply-adds and weights."""

import math
from typing import NamedTuple

import tensorflow as tf

from dreal_tf.errors import InputError
from dreal_tf.keras_internals import called_graph


def multiply_adds(network, image_shape=None):
    """Multiply-adds of a network's convolutions and matrix products, for one image.

    The traced graph is counted, so that layers of any kind are included. As usual, element-wise
    operations, pooling and normalisation do not count.

    Args:
        network: `keras.Model` of one input.
        image_shape: tuple (height, width, channels); None for the network's own.
    Returns:
        int.
    Raises:
        InputError: if a size is unknown, or the network contains a loop, which has no fixed count.
    Example:
        >>> multiply_adds(residual_network((32, 32, 3), 10, depth=20))
        40551040
    """
    shape = tuple(image_shape or network.input_shape[1:])
    if None in shape:
        raise InputError(
            f"Expected the size of the images. Received: {shape}. Give `image_shape`, such as "
            "(224, 224, 3)."
        )
    spec = tf.TensorSpec((1, *shape), network.inputs[0].dtype)
    return function_cost(lambda images: network(images, training=False), spec).multiply_adds


class Cost(NamedTuple):
    """The cost of a function for one image.

    Attributes:
        multiply_adds: int, of its convolutions and matrix products.
        parameters: int, the trainable weights that it reads.
    """

    multiply_adds: int
    parameters: int


def function_cost(function, spec):
    """The cost of a function of one tensor.

    Args:
        function: callable from a tensor to tensors.
        spec: `tf.TensorSpec` of the tensor, of known shape, batch size 1.
    Returns:
        `Cost`.
    Raises:
        InputError: if the function contains a loop, which has no fixed count.
    Example:
        >>> dense = keras.layers.Dense(3)
        >>> function_cost(dense, tf.TensorSpec((1, 4)))
        Cost(multiply_adds=12, parameters=15)
    """
    graph = tf.function(function).get_concrete_function(spec).graph
    weights = {id(variable): variable for variable in graph.trainable_variables}.values()
    return Cost(_of_graph(graph), sum(math.prod(variable.shape) for variable in weights))


def _of_graph(graph):
    count = 0
    for operation in graph.get_operations():
        if operation.type in ("PartitionedCall", "StatefulPartitionedCall"):
            # Keras runs some layers as separate functions, such as grouped convolutions on CPU.
            count += _of_graph(called_graph(graph, operation.get_attr("f").name))
        else:
            count += _of_operation(operation)
    return count


def _of_operation(operation):
    if operation.type in ("Conv2D", "DepthwiseConv2dNative"):
        return _of_convolution(operation)
    if operation.type in ("MatMul", "BatchMatMulV2", "BatchMatMul"):
        if any(map(_is_constant, operation.inputs)):
            return 0  # It selects or interpolates positions and applies no weights.
        transposed = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
        summed = operation.inputs[0].shape[-2 if transposed else -1]
        return _size(operation.outputs[0]) * summed
    if operation.type == "Einsum":
        return _of_einsum(operation)
    if "While" in operation.type:
        raise InputError(
            f"Expected a network without loops. Received: {operation.name!r}, a {operation.type}. "
            "Unroll it."
        )
    return 0


def _of_convolution(operation):
    height, width, channels, _ = operation.inputs[1].shape
    result = operation.outputs[0]
    if operation.type == "DepthwiseConv2dNative":
        return _size(result) * height * width
    return _size(result) * height * width * channels


def _of_einsum(operation):
    """One multiply-add for each combination of all indices of the equation."""
    inputs = operation.get_attr("equation").decode().split("->")[0].split(",")
    lengths = {}
    for labels, tensor in zip(inputs, operation.inputs, strict=True):
        shape = list(tensor.shape)
        if "..." in labels:
            before, after = labels.split("...")
            middle = shape[len(before) : len(shape) - len(after)]
            lengths |= {f"...{n}": length for n, length in enumerate(reversed(middle))}
            shape = shape[: len(before)] + shape[len(shape) - len(after) :]
            labels = before + after
        lengths |= dict(zip(labels, shape, strict=True))
    return math.prod(lengths.values()) if len(inputs) > 1 else 0


def _is_constant(tensor):
    """Whether a tensor depends on constants alone, not on the image or a weight."""
    operation = tensor.op
    if not operation.inputs:
        return operation.type == "Const"
    return all(map(_is_constant, operation.inputs))


def _size(tensor):
    return math.prod(tensor.shape)
