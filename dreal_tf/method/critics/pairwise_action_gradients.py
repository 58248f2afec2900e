"""Heads that give dQ/dA of pairwise actions: one value for each pair of a query and a key. [ours]"""

import keras
import tensorflow as tf

from dreal_tf.method.critics.pairwise_axes import own_key, pairwise_axes

EMBEDDED = ("window", "members")  # Axes whose entries have no features of their own.


class AxisVectors(keras.layers.Layer):
    """One vector for each entry of an axis, by the meaning of the axis.

    A position's vector is computed from its features, that of a halved position from the average of
    two by two. Offsets of a window and other members, which are the same in every image, have an
    embedding each.

    Args:
        role: str of `dreal_tf.method.critics.pairwise_axes.QUERIES`.
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


class PairwiseActionGradient(keras.layers.Layer):
    """dQ/dA of each pair of a query and a key: a product of one vector for each.

    Heads weigh the same vectors differently.

    Args:
        spec: `ModuleSpec` of a pairwise action.
        units: int >= 1. Length of the vectors.
    Call arguments:
        features: float32 tensor (batch, width), the critic's features of the image.
        state: float tensor (batch, height, width, channels), of any height and width.
        action: float tensor (batch, ..., queries, keys).
    Returns:
        Float32 tensor shaped like the action.
    Raises:
        ValueError: if critics do not know the axes of the module.
    Example:
        >>> axes = ("heads", "places", "window")
        >>> spec = ModuleSpec("conv2_1/own", "conv2", "pairwise", (4, 4, 6), (2, 16, 9), axes)
        >>> head, state = PairwiseActionGradient(spec, 8), np.ones((1, 4, 4, 6), "float32")
        >>> tuple(head(np.ones((1, 3), "float32"), state, np.ones((1, 2, 16, 9), "float32")).shape)
        (1, 2, 16, 9)
    """

    def __init__(self, spec, units, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.spec = spec
        self.units = units

    def build(self, features_shape):
        axes, shape = pairwise_axes(self.spec.axes), self.spec.action_shape
        self.heads = shape[0] if axes.heads else 1
        self.queries = AxisVectors(axes.queries, shape[-2], self.units, name="queries")
        self.keys = AxisVectors(axes.keys, shape[-1], self.units, name="keys")
        for vectors in (self.queries, self.keys):
            vectors.build((None, None, None, self.spec.state_shape[-1]))
        self.query = zero_query(self.heads * self.units, features_shape)

    def call(self, features, state, action):
        return self.gradient(self.query(features), state, action)

    def features(self, state):
        """The state itself."""
        return state

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


class CrissCrossActionGradient(keras.layers.Layer):
    """dQ/dA of each pair of a position and one of its column or its row.

    No tensor is larger than the action. A position cannot attend to its own key in the column part:
    there the gradient is 0.

    Args:
        spec: `ModuleSpec` of a pairwise action with the axes ([heads], rows, columns, cross).
        units: int >= 1. Length of the vectors.
    Call arguments:
        features: float32 tensor (batch, width), the critic's features of the image.
        state: float tensor (batch, height, width, channels), of any height and width.
        action: float tensor (batch, [heads,] height, width, height + width).
    Returns:
        Float32 tensor shaped like the action.
    Example:
        >>> axes = ("rows", "columns", "cross")
        >>> spec = ModuleSpec("conv5_1/cc", "conv5", "pairwise", (4, 3, 6), (4, 3, 7), axes)
        >>> head, state = CrissCrossActionGradient(spec, 8), np.ones((2, 4, 3, 6), "float32")
        >>> tuple(head(np.ones((2, 5), "float32"), state, np.ones((2, 4, 3, 7), "float32")).shape)
        (2, 4, 3, 7)
    """

    def __init__(self, spec, units, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.spec = spec
        self.units = units

    def build(self, features_shape):
        self.heads = self.spec.action_shape[0] if pairwise_axes(self.spec.axes).heads else 1
        self.queries = keras.layers.Dense(self.units, dtype="float32", name="queries")
        self.keys = keras.layers.Dense(self.units, dtype="float32", name="keys")
        for dense in (self.queries, self.keys):
            dense.build((None, None, None, self.spec.state_shape[-1]))
        self.query = zero_query(self.heads * self.units, features_shape)

    def call(self, features, state, action):
        return self.gradient(self.query(features), state, action)

    def features(self, state):
        """The state itself."""
        return state

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
