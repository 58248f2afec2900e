"""Directions of pairwise actions: advice to each pair of a query and a key. [ours]"""

import keras
import tensorflow as tf

from dreal_tf.method.critics.pairwise_axes import own_key, pairwise_axes

LEARNT = ("window", "members")  # What has no features of its own.


class AxisVectors(keras.layers.Layer):
    """One vector for each entry of an axis, by what the axis stands for.

    Places: from their features. Halved places: from the average of theirs, two by two. Offsets of a
    window and other members, which are the same things in every image: learnt, one by one.

    Args:
        role: str of `dreal_tf.method.critics.pairwise_axes.QUERIES`.
        length: int >= 1, or None. Entries of the axis; must be known of what is learnt.
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
        if self.role in LEARNT:
            # As large as what normalized features give, however many there are to be learnt.
            start = keras.initializers.RandomNormal(stddev=1.0)
            self.learnt = self.add_weight((self.length, self.units), start, name="learnt")
        else:
            self.dense = keras.layers.Dense(self.units, dtype="float32", name="dense")
            self.dense.build(state_shape)

    def call(self, state):
        batch = tf.shape(state)[0]
        if self.role in LEARNT:
            return tf.repeat(self.learnt[None], batch, axis=0)
        if self.role == "halved":
            state = tf.nn.avg_pool2d(state, ksize=2, strides=2, padding="SAME")
        places = tf.shape(state)[1] * tf.shape(state)[2]
        return tf.reshape(self.dense(state), tf.stack([batch, places, self.units]))


class PairwiseDirection(keras.layers.Layer):
    """Advice to each pair of a query and a key: a product of one vector for each.

    Heads look for different things in the same vectors.

    Args:
        spec: `StepSpec` of a pairwise action.
        units: int >= 1. Length of the vectors.
    Call arguments:
        features: float32 tensor (batch, width), what the critic knows of the image.
        state: float tensor (batch, height, width, channels), of any height and width.
        action: float tensor (batch, ..., queries, keys).
    Returns:
        Float32 tensor shaped like the action.
    Raises:
        ValueError: if the axes of the step are none that critics know.
    Example:
        >>> axes = ("heads", "places", "window")
        >>> spec = StepSpec("conv2_1/own", "conv2", "pairwise", (4, 4, 6), (2, 16, 9), axes)
        >>> head, state = PairwiseDirection(spec, 8), np.ones((1, 4, 4, 6), "float32")
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
        self.sought = _sought(self.heads * self.units, features_shape)

    def call(self, features, state, action):
        return self.advise(self.sought(features), state, action)

    def own(self, state):
        """What `advise` reads of the state: all of it."""
        return state

    def advise(self, sought, state, action):
        """The advice for what is sought, (batch, heads · units)."""
        state = tf.cast(state, tf.float32)
        queries = self.queries(state)  # (batch, queries, units)
        sought = tf.reshape(sought, [-1, self.heads, 1, self.units])
        keys = self.keys(state)[:, None] * sought  # (batch, heads, keys, units)
        # Two by two: einsum of all three could pair queries with keys before it sums over units.
        pairs = tf.einsum("bqu,bhku->bhqk", queries, keys)
        count = tf.cast(tf.shape(queries)[1], tf.float32)
        return tf.reshape(pairs / tf.sqrt(count), tf.shape(action))


class CrissCrossDirection(keras.layers.Layer):
    """Advice to each pair of a place and one of its column or its row.

    Never larger than the action. A place has nothing to do with its own key in the column part:
    there the advice is 0.

    Args:
        spec: `StepSpec` of a pairwise action with the axes ([heads], rows, columns, cross).
        units: int >= 1. Length of the vectors.
    Call arguments:
        features: float32 tensor (batch, width), what the critic knows of the image.
        state: float tensor (batch, height, width, channels), of any height and width.
        action: float tensor (batch, [heads,] height, width, height + width).
    Returns:
        Float32 tensor shaped like the action.
    Example:
        >>> axes = ("rows", "columns", "cross")
        >>> spec = StepSpec("conv5_1/cc", "conv5", "pairwise", (4, 3, 6), (4, 3, 7), axes)
        >>> head, state = CrissCrossDirection(spec, 8), np.ones((2, 4, 3, 6), "float32")
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
        self.sought = _sought(self.heads * self.units, features_shape)

    def call(self, features, state, action):
        return self.advise(self.sought(features), state, action)

    def own(self, state):
        """What `advise` reads of the state: all of it."""
        return state

    def advise(self, sought, state, action):
        """The advice for what is sought, (batch, heads · units)."""
        state = tf.cast(state, tf.float32)
        height, width = tf.shape(state)[1], tf.shape(state)[2]
        sought = tf.reshape(sought, [-1, self.heads, 1, 1, self.units])
        queries = self.queries(state)[:, None] * sought  # (batch, heads, height, width, units)
        keys = self.keys(state)  # (batch, height, width, units)
        column = tf.einsum("bnhwu,bjwu->bnhwj", queries, keys)
        row = tf.einsum("bnhwu,bhju->bnhwj", queries, keys)
        pairs = tf.concat([column, row], axis=4) * (1.0 - own_key(height, width))
        count = tf.cast(height * width, tf.float32)
        return tf.reshape(pairs / tf.sqrt(count), tf.shape(action))


def _sought(units, features_shape):
    """What is looked for: linear in the features, and nothing at first."""
    dense = keras.layers.Dense(
        units, use_bias=False, kernel_initializer="zeros", dtype="float32", name="sought"
    )
    dense.build(features_shape)
    return dense
