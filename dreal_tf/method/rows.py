"""Rows: modules of one shape go through an operation together, and samples find their rows in it.

The blocks of a stage have channel actions of one shape. Their batches are concatenated along the
first axis: the graph then holds one operation for the stage instead of one for each block, and takes
as much less time to trace and optimize. Channel actions are small, so the copy costs nothing; larger
actions stay one by one.
"""

import numpy as np
import tensorflow as tf
from keras import ops


def group_by_shape(actions, keys=None):
    """Groups modules that can share an operation: channel actions of one shape.

    Args:
        actions: sequence of tensors, the action of each module.
        keys: sequence of hashables that must be equal within a group as well; None for none.
    Returns:
        List of lists of int, positions of modules; each occurs once.
    Example:
        >>> channel, spatial = np.ones((2, 1, 1, 6)), np.ones((2, 4, 4, 1))
        >>> group_by_shape([channel, spatial, channel, spatial])
        [[0, 2], [1], [3]]
    """
    groups = {}
    for position, action in enumerate(actions):
        shape = tuple(action.shape[1:])
        is_channel = len(shape) == 3 and shape[:2] == (1, 1)
        key = None if keys is None else keys[position]
        groups.setdefault((key, shape) if is_channel else position, []).append(position)
    return list(groups.values())


def concat_rows(tensors):
    """Concatenates tensors (n, ...) along the first axis: (len(tensors) · n, ...)."""
    return tensors[0] if len(tensors) == 1 else tf.concat(tensors, axis=0)


def known_arrays(tensors):
    """The tensors as arrays, if all their values are known when the graph is traced; else as given.

    A graph with known positions has far fewer operations, and compiles. (Keras converts the arrays
    that a layer is called with to constant tensors.)
    """
    values = [tf.get_static_value(tensor) for tensor in tensors]
    return tensors if any(value is None for value in values) else values


def split_rows(tensor, count):
    """Splits a tensor (count · n, ...) into a list of `count` tensors (n, ...)."""
    return [tensor] if count == 1 else tf.split(tensor, count, axis=0)


def expand_dims_like(values, action):
    """Reshapes (n,) to (n, 1, ...), which broadcasts against an action (n, ...)."""
    return tf.reshape(values, [-1] + [1] * (action.shape.rank - 1))


def sampled_rows(positions, batch, samples):
    """Finds the rows of a group's concatenated batches that were sampled.

    Args:
        positions: list of int, the modules of the group.
        batch: int or int scalar. Images of each.
        samples: `dreal_tf.method.types.RewardSamples`.
    Returns:
        Three int32 arrays or tensors (m,), one entry for each row of the group's counterfactuals: the
        position among the samples; the module's position; the row in the concatenated batches.
    """
    entries = known_arrays([samples.counterfactuals[position].rows for position in positions])
    if isinstance(entries[0], np.ndarray):
        order = np.repeat(np.arange(len(entries), dtype=np.int32), [len(part) for part in entries])
        entries, modules = np.concatenate(entries), np.int32(positions)[order]
    else:
        counts = tf.stack([ops.shape(part)[0] for part in entries])
        order = tf.repeat(np.arange(len(entries), dtype=np.int32), counts)
        entries, modules = tf.concat(entries, axis=0), tf.gather(np.int32(positions), order)
    return entries, modules, tf.gather(samples.images, entries) + order * batch


def predicted_differences(dq_da, actions, samples):
    """The first-order difference that dQ/dA predicts for each sample: <dQ/dA, action - counterfactual>.

    Args:
        dq_da: list of float tensors, one per module, shaped like its action.
        actions: list of float tensors, the actions of the batch.
        samples: `dreal_tf.method.types.RewardSamples`.
    Returns:
        Float32 tensor (n,), one entry per sample, to be compared with its `difference`. No gradient
        flows to the actions.
    Example:
        >>> action = np.full((2, 1, 1, 2), 0.5, "float32")
        >>> fields = dict.fromkeys(RewardSamples._fields) | {"images": [1], "modules": [0]}
        >>> zeros = CounterfactualAction(np.int32([0]), np.zeros((1, 1, 1, 2), "float32"))
        >>> samples = RewardSamples(**fields | {"counterfactuals": [zeros]})
        >>> dq_da = np.float32([[0, 0], [1, 3]]).reshape(2, 1, 1, 2)
        >>> predicted_differences([dq_da], [action], samples).numpy().tolist()
        [2.0]
    """
    groups = []
    for positions in group_by_shape(dq_da):
        batch = ops.shape(dq_da[positions[0]])[0]
        entries, modules, rows = sampled_rows(positions, batch, samples)
        gradient = tf.gather(concat_rows([dq_da[position] for position in positions]), rows)
        action = concat_rows([tf.stop_gradient(actions[position]) for position in positions])
        groups.append((positions, entries, modules, gradient, tf.gather(action, rows)))
    return sum_of_products(groups, samples)


def sum_of_products(groups, samples):
    """`predicted_differences` from the gradients and actions of the sampled rows alone.

    Args:
        groups: list of tuples, one for each group of modules: the positions of its modules; the
            samples' and the modules' positions, as `sampled_rows` gives them; dQ/dA and the action,
            both (m, ...), of these rows.
        samples: `dreal_tf.method.types.RewardSamples`.
    Returns:
        Float32 tensor (n,).
    """
    products, entries_of_products = [], []
    for positions, entries, modules, gradient, action in groups:
        counterfactual = concat_rows([samples.counterfactuals[p].action for p in positions])
        change = tf.cast(action, tf.float32) - tf.cast(counterfactual, tf.float32)  # (m, ...)
        product = tf.cast(gradient, tf.float32) * change
        product = tf.reduce_sum(product, axis=list(range(1, product.shape.rank)))  # (m,)
        # A module's rows include some of its neighbours': the plan is random, so the graph does not
        # know where exactly one module's rows end.
        of_module = tf.gather(samples.modules, entries) == modules
        products.append(tf.where(of_module, product, 0.0))
        entries_of_products.append(entries)
    entries = tf.concat(entries_of_products, axis=0)  # (rows of all modules,)
    count = ops.shape(samples.images)[0]
    return tf.math.unsorted_segment_sum(concat_rows(products), entries, count)
