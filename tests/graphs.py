"""Sizes and operations of traced graphs."""

import tensorflow as tf

UNSIZED = ("BroadcastGradientArgs",)  # Lists of axes, never longer than a shape.


def largest_tensor(function, *shapes):
    """Elements of the largest tensor in the graph of a function, whatever that function calls included.

    Fails where the size of a tensor is not known, or the graph of a function that is called.

    Args:
        function: a callable of float32 tensors.
        shapes: a tuple of ints for each of them.
    Returns:
        Int.
    """
    signature = [tf.TensorSpec(shape) for shape in shapes]
    graphs, names, largest = [tf.function(function).get_concrete_function(*signature).graph], set(), 0
    for graph in graphs:  # Grows as functions are found.
        for operation in graph.get_operations():
            for output in operation.outputs if operation.type not in UNSIZED else ():
                if output.dtype not in (tf.resource, tf.variant):
                    assert output.shape.is_fully_defined(), output
                    largest = max(largest, output.shape.num_elements())
            for attribute in operation.node_def.attr.values():
                for called in (attribute.func, *attribute.list.func):
                    if called.name and called.name not in names:
                        names.add(called.name)
                        graphs.append(graph._get_function(called.name).graph)
    return largest


def operations_of(graph):
    """The type of each operation, those of called functions included as often as these are defined."""
    graphs, names, types = [graph], set(), []
    for part in graphs:  # Grows as functions are found.
        for operation in part.get_operations():
            types.append(operation.type)
            for attribute in operation.node_def.attr.values():
                for called in (attribute.func, *attribute.list.func):
                    if called.name and called.name not in names:
                        names.add(called.name)
                        graphs.append(part._get_function(called.name).graph)
    return types
