"""Pure functions that layers with pairwise actions share."""

import tensorflow as tf
from keras import ops


def rows_of(maps):
    """Maps as rows of features, one row per position.

    Args:
        maps: float tensor (batch, height, width, channels).
    Returns:
        Float tensor (batch, height · width, channels).
    Example:
        >>> tuple(rows_of(np.zeros((2, 3, 5, 4))).shape)
        (2, 15, 4)
    """
    height, width = ops.shape(maps)[1:3]
    return ops.reshape(maps, (-1, height * width, maps.shape[-1]))


def maps_of(rows, like):
    """Rows of features reshaped to maps.

    Args:
        rows: float tensor (batch, height · width, channels).
        like: tensor (batch, height, width, ...) with the height and width of the maps.
    Returns:
        Float tensor (batch, height, width, channels).
    Example:
        >>> tuple(maps_of(np.zeros((2, 15, 4)), like=np.zeros((2, 3, 5, 7))).shape)
        (2, 3, 5, 4)
    """
    height, width = ops.shape(like)[1:3]
    return ops.reshape(rows, (-1, height, width, rows.shape[-1]))


def row_stochastic(logits, dtype):
    """Softmax over the last axis, computed in float32 whatever the precision of the network.

    Args:
        logits: float tensor (..., keys).
        dtype: str, dtype of the result.
    Returns:
        Tensor of the shape of `logits`; rows sum to 1.
    Example:
        >>> row_stochastic(np.float16([[0.0, 0.0]]), "float16").numpy().tolist()
        [[0.5, 0.5]]
    """
    # Not `keras.ops.softmax`, which warns about rows of one key: a map of one position has such rows.
    return ops.cast(tf.nn.softmax(ops.cast(logits, "float32"), axis=-1), dtype)


def attends(action):
    """1 for each image whose action attends to anything, 0 for one whose action is all zeros.

    A residual actor multiplies its branch by this. The identity action thus removes the whole branch,
    including the offset of its BatchNorm.

    Args:
        action: float tensor (batch, ...), values >= 0.
    Returns:
        Tensor (batch, 1, 1, 1) of the dtype of `action`.
    Example:
        >>> attends(np.float32([[[0.5, 0.5]], [[0, 0]]])).numpy().ravel().tolist()
        [1.0, 0.0]
    """
    axes = tuple(range(1, len(action.shape)))
    anything = ops.cast(ops.any(action != 0, axis=axes), action.dtype)
    return ops.reshape(anything, (-1, 1, 1, 1))
