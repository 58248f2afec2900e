"""The axes of pairwise actions, as critics read them. [ours]"""

from typing import NamedTuple

import tensorflow as tf

from dreal_tf.errors import InputError

QUERIES = ("places", "halved", "window", "members")
KEYS = (*QUERIES, "cross")


class PairwiseAxes(NamedTuple):
    """The axes of a pairwise action, without the batch axis.

    Attributes:
        heads: bool. Whether the first axis is one of heads.
        queries: str of `QUERIES`; "places" too where rows and columns are axes of their own.
        keys: str of `KEYS`.
    """

    heads: bool
    queries: str
    keys: str


def pairwise_axes(axes):
    """Reads the `axes` of a pairwise module.

    Args:
        axes: tuple of str of `dreal_tf.modules.AXES`, see `ModuleSpec`.
    Returns:
        `PairwiseAxes`.
    Raises:
        ValueError: if critics know no such pairs of queries and keys.
    Example:
        >>> pairwise_axes(("heads", "places", "window"))
        PairwiseAxes(heads=True, queries='places', keys='window')
        >>> pairwise_axes(("rows", "columns", "cross"))
        PairwiseAxes(heads=False, queries='places', keys='cross')
    """
    heads = axes[:1] == ("heads",)
    queries, keys = axes[int(heads) : -1], axes[-1:]
    on_grid = queries == ("rows", "columns")
    known = (on_grid or (len(queries) == 1 and queries[0] in QUERIES)) and keys[0] in KEYS
    # The keys of a cross are counted from the row and the column of their query.
    if not known or (keys == ("cross",) and not on_grid):
        raise InputError(
            f"Expected a pairwise action with the axes ([heads], queries, keys): queries of {QUERIES} "
            f"or both rows and columns, keys of {QUERIES}, or of a cross where there are rows and "
            f"columns. Received: axes={axes}. Name the axes of the actor so, or add a "
            "head for them to `dreal_tf.method.critics`."
        )
    return PairwiseAxes(heads, "places" if on_grid else queries[0], keys[0])


def own_key(height, width):
    """1 on each position's own key in the column part of a cross, which it cannot attend to; else 0.

    A position is in its column and in its row; it counts once, in the row.

    Args:
        height, width: int >= 1 or int tensors, of the state.
    Returns:
        Float32 tensor (height, 1, height + width): rows, any column, keys.
    Example:
        >>> own_key(2, 1)[:, 0].numpy().tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    return tf.pad(tf.eye(height)[:, None, :], [[0, 0], [0, 0], [0, width]])


def flat_rows(rows, axes=()):
    """Rows without selectivity: their mean over the keys that a query can attend to, 0 on others.

    Args:
        rows: float32 tensor (batch, ..., queries, keys).
        axes: tuple of str, of the pairwise module, see `ModuleSpec`.
    Returns:
        Float32 tensor, of the shape of `rows` or with a last axis of 1.
    Example:
        >>> cross = np.float32([[0, 0.7, 0.3], [0.1, 0, 0.9]]).reshape(1, 2, 1, 3)
        >>> flat_rows(cross, ("rows", "columns", "cross"))[0, :, 0].numpy().tolist()
        [[0.0, 0.5, 0.5], [0.5, 0.0, 0.5]]
        >>> flat_rows(np.float32([[[0.25, 0.75]]])).numpy().tolist()
        [[[0.5]]]
    """
    if axes[-1:] != ("cross",):
        return tf.reduce_mean(rows, axis=-1, keepdims=True)
    others = 1.0 - own_key(tf.shape(rows)[-3], tf.shape(rows)[-2])
    total = tf.reduce_sum(rows * others, axis=-1, keepdims=True)
    return others * total / tf.reduce_sum(others, axis=-1, keepdims=True)
