"""The mean that baseline actions are made of: a pure function."""

from keras import ops


def anchored_mean(action, axes):
    """Mean over `axes`, tiled back to the shape of `action`.

    The mean of the differences to the first element is added to that element, so that the mean of
    a constant is that constant to the last bit: ablating a constant action changes nothing.

    Args:
        action: float tensor of any shape.
        axes: tuple of int. The axes along which the action selects.
    Returns:
        Float tensor of the shape and dtype of `action`.
    Example:
        >>> anchored_mean(np.float32([[1.0, 3.0], [0.1, 0.1]]), axes=(1,)).numpy().tolist()
        [[2.0, 2.0], [0.10000000149011612, 0.10000000149011612]]
    """
    axes = tuple(axis % len(action.shape) for axis in axes)
    action = ops.convert_to_tensor(action)
    first = action[tuple(slice(0, 1 if axis in axes else None) for axis in range(len(action.shape)))]
    # float32, or the sum over a large map overflows or stalls under mixed precision.
    difference = ops.cast(action, "float32") - ops.cast(first, "float32")
    mean = ops.cast(first, "float32") + ops.mean(difference, axis=axes, keepdims=True)
    return ops.broadcast_to(ops.cast(mean, action.dtype), ops.shape(action))
