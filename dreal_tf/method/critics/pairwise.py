"""Pairwise actions, as critics read them: their axes, and heads that give dQ/dA. [ours]"""

from typing import NamedTuple

import keras
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


EMBEDDED = ("window", "members")  # Axes whose entries have no features of their own.


class AxisVectors(keras.layers.Layer):
    """One vector for each entry of an axis, by the meaning of the axis.

    A position's vector is computed from its features, that of a halved position from the average of
    two by two. Offsets of a window and other members, which are the same in every image, have an
    embedding each.

    Args:
        role: str of `dreal_tf.method.critics.pairwise.QUERIES`.
        length: int >= 1, or None. Entries of the axis; required for embeddings.
        units: int >= 1. Length of the vectors.
    Call arguments:
        state: float32 tensor (batch, height, width, channels), of any height and width.
    Returns:
        Float32 tensor (batch, entries, units).
    Example:
        >>> state = np.ones((2, 5, 3, 6), "float32")
        >>> tuple(AxisVectors("halved", None, 8)(state).shape)
        (2, 6, 8)
        >>> tuple(AxisVectors("window", 9, 8)(state).shape)
        (2, 9, 8)
    """

    def __init__(self, role, length, units, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.role = role
        self.length = length
        self.units = units

    def build(self, state_shape):
        if self.role in EMBEDDED:
            # As large as the vectors of normalized features, whatever the number of entries.
            start = keras.initializers.RandomNormal(stddev=1.0)
            self.embedding = self.add_weight((self.length, self.units), start, name="embedding")
        else:
            self.dense = keras.layers.Dense(self.units, dtype="float32", name="dense")
            self.dense.build(state_shape)

    def call(self, state):
        batch = tf.shape(state)[0]
        if self.role in EMBEDDED:
            return tf.repeat(self.embedding[None], batch, axis=0)
        if self.role == "halved":
            state = tf.nn.avg_pool2d(state, ksize=2, strides=2, padding="SAME")
        positions = tf.shape(state)[1] * tf.shape(state)[2]
        return tf.reshape(self.dense(state), tf.stack([batch, positions, self.units]))


class ActionGradientHead(keras.layers.Layer):
    """A head that gives dQ/dA of one kind of action; a subclass defines `build` and `gradient`.

    Args:
        spec: `ModuleSpec` of the action.
        units: int >= 1, or None for a head that does not tell positions apart.
    Call arguments:
        features: float32 tensor (batch, width), the critic's features of the image.
        state: float tensor (batch, height, width, channels), of any height and width.
        action: float tensor (batch, ...).
    Returns:
        Float32 tensor shaped like the action.
    """

    def __init__(self, spec, units=None, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.spec = spec
        self.units = units

    def call(self, features, state, action):
        return self.gradient(self.query(features), self.features(state), action)

    def features(self, state):
        """The part of the state that `gradient` reads."""
        return state


class PairwiseActionGradient(ActionGradientHead):
    """dQ/dA of each pair of a query and a key: a product of one vector for each.

    Heads weigh the same vectors differently.

    Args:
        spec: `ModuleSpec` of a pairwise action.
        units: int >= 1. Length of the vectors.
    Call arguments:
        features, state: see `ActionGradientHead`.
        action: float tensor (batch, ..., queries, keys).
    Raises:
        ValueError: if critics do not know the axes of the module.
    Example:
        >>> axes = ("heads", "places", "window")
        >>> spec = ModuleSpec("conv2_1/own", "conv2", "pairwise", (4, 4, 6), (2, 16, 9), axes)
        >>> head, state = PairwiseActionGradient(spec, 8), np.ones((1, 4, 4, 6), "float32")
        >>> tuple(head(np.ones((1, 3), "float32"), state, np.ones((1, 2, 16, 9), "float32")).shape)
        (1, 2, 16, 9)
    """

    def build(self, features_shape):
        axes, shape = pairwise_axes(self.spec.axes), self.spec.action_shape
        self.heads = shape[0] if axes.heads else 1
        self.queries = AxisVectors(axes.queries, shape[-2], self.units, name="queries")
        self.keys = AxisVectors(axes.keys, shape[-1], self.units, name="keys")
        for vectors in (self.queries, self.keys):
            vectors.build((None, None, None, self.spec.state_shape[-1]))
        self.query = zero_query(self.heads * self.units, features_shape)

    def gradient(self, query, state, action):
        """dQ/dA for a query (batch, heads · units), shaped like the action."""
        state = tf.cast(state, tf.float32)
        queries = self.queries(state)  # (batch, queries, units)
        query = tf.reshape(query, [-1, self.heads, 1, self.units])
        keys = self.keys(state)[:, None] * query  # (batch, heads, keys, units)
        # Two by two: einsum of all three could pair queries with keys before it sums over units.
        pairs = tf.einsum("bqu,bhku->bhqk", queries, keys)
        count = tf.cast(tf.shape(queries)[1], tf.float32)
        return tf.reshape(pairs / tf.sqrt(count), tf.shape(action))


class CrissCrossActionGradient(ActionGradientHead):
    """dQ/dA of each pair of a position and one of its column or its row.

    No tensor is larger than the action. A position cannot attend to its own key in the column part:
    there the gradient is 0.

    Args:
        spec: `ModuleSpec` of a pairwise action with the axes ([heads], rows, columns, cross).
        units: int >= 1. Length of the vectors.
    Call arguments:
        features, state: see `ActionGradientHead`.
        action: float tensor (batch, [heads,] height, width, height + width).
    Example:
        >>> axes = ("rows", "columns", "cross")
        >>> spec = ModuleSpec("conv5_1/cc", "conv5", "pairwise", (4, 3, 6), (4, 3, 7), axes)
        >>> head, state = CrissCrossActionGradient(spec, 8), np.ones((2, 4, 3, 6), "float32")
        >>> tuple(head(np.ones((2, 5), "float32"), state, np.ones((2, 4, 3, 7), "float32")).shape)
        (2, 4, 3, 7)
    """

    def build(self, features_shape):
        self.heads = self.spec.action_shape[0] if pairwise_axes(self.spec.axes).heads else 1
        self.queries = keras.layers.Dense(self.units, dtype="float32", name="queries")
        self.keys = keras.layers.Dense(self.units, dtype="float32", name="keys")
        for dense in (self.queries, self.keys):
            dense.build((None, None, None, self.spec.state_shape[-1]))
        self.query = zero_query(self.heads * self.units, features_shape)

    def gradient(self, query, state, action):
        """dQ/dA for a query (batch, heads · units), shaped like the action."""
        state = tf.cast(state, tf.float32)
        height, width = tf.shape(state)[1], tf.shape(state)[2]
        query = tf.reshape(query, [-1, self.heads, 1, 1, self.units])
        queries = self.queries(state)[:, None] * query  # (batch, heads, height, width, units)
        keys = self.keys(state)  # (batch, height, width, units)
        column = tf.einsum("bnhwu,bjwu->bnhwj", queries, keys)
        row = tf.einsum("bnhwu,bhju->bnhwj", queries, keys)
        pairs = tf.concat([column, row], axis=4) * (1.0 - own_key(height, width))
        count = tf.cast(height * width, tf.float32)
        return tf.reshape(pairs / tf.sqrt(count), tf.shape(action))


def zero_query(units, features_shape):
    """The critic's query: linear in its features, and 0 before any training."""
    dense = keras.layers.Dense(
        units, use_bias=False, kernel_initializer="zeros", dtype="float32", name="query"
    )
    dense.build(features_shape)
    return dense
