"""Directions: a critic's advice to each kind of action, a tensor of the action's own shape.

Every head is linear in the features without a bias, and starts at zero: a critic that has learnt
nothing advises nothing, nor does any where the features are zero.
"""

import math

import keras
import tensorflow as tf


def direction_head(spec, units, grid, name):
    """The head that advises the actions of a step.

    Args:
        spec: `StepSpec`.
        units: int >= 1. Features by which places are told apart.
        grid: int >= 1. Side of the grid to which an axis that is no map is averaged (cells).
        name: str.
    Returns:
        Keras layer; `head(features, state, action)` gives a tensor shaped like `action`.
    """
    if spec.kind == "channel":
        return ChannelDirection(spec, name=name)
    if spec.kind == "spatial":
        return SpatialDirection(spec, units, name=name)
    return PairwiseDirection(spec, units, grid, name=name)


class ChannelDirection(keras.layers.Layer):
    """Advice to each channel: linear in the features.

    Args:
        spec: `StepSpec` of a channel action.
    Call arguments:
        features: float32 tensor (batch, width), what the critic knows of the image.
        state: float tensor (batch, height, width, channels).
        action: float tensor (batch, 1, 1, channels).
    Returns:
        Float32 tensor (batch, 1, 1, channels).
    Example:
        >>> spec = StepSpec("conv2_1/se", "conv2", "channel", (4, 4, 6), (1, 1, 6))
        >>> head, state = ChannelDirection(spec), np.ones((2, 4, 4, 6), "float32")
        >>> tuple(head(np.ones((2, 3), "float32"), state, state[:, :1, :1]).shape)
        (2, 1, 1, 6)
    """

    def __init__(self, spec, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.spec = spec

    def build(self, features_shape):
        self.dense = keras.layers.Dense(
            self.spec.action_shape[-1],
            use_bias=False,
            kernel_initializer="zeros",
            dtype="float32",
            name="dense",
        )
        self.dense.build(features_shape)

    def call(self, features, state, action):
        return self.dense(features)[:, None, None, :]


class SpatialDirection(keras.layers.Layer):
    """Advice to each place: how far its own features agree with what the critic looks for.

    Args:
        spec: `StepSpec` of a spatial action.
        units: int >= 1. Features by which places are told apart.
    Call arguments:
        features: float32 tensor (batch, width), what the critic knows of the image.
        state: float tensor (batch, height, width, channels), of any height and width.
        action: float tensor (batch, height, width, 1).
    Returns:
        Float32 tensor (batch, height, width, 1).
    Example:
        >>> spec = StepSpec("conv2_1/gate", "conv2", "spatial", (4, 4, 6), (4, 4, 1))
        >>> head, state = SpatialDirection(spec, 8), np.ones((2, 4, 4, 6), "float32")
        >>> tuple(head(np.ones((2, 3), "float32"), state, state[..., :1]).shape)
        (2, 4, 4, 1)
    """

    def __init__(self, spec, units, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.spec = spec
        self.units = units

    def build(self, features_shape):
        channels = self.spec.state_shape[-1]
        self.places = keras.layers.Dense(self.units, dtype="float32", name="places")
        self.places.build((None, None, None, channels))
        self.sought = keras.layers.Dense(
            self.units,
            use_bias=False,
            kernel_initializer="zeros",
            dtype="float32",
            name="sought",
        )
        self.sought.build(features_shape)

    def call(self, features, state, action):
        state = tf.cast(state, tf.float32)
        agreement = tf.einsum("bhwu,bu->bhw", self.places(state), self.sought(features))
        places = tf.cast(tf.shape(state)[1] * tf.shape(state)[2], tf.float32)
        return (agreement / tf.sqrt(places))[..., None]


class PairwiseDirection(keras.layers.Layer):
    """Advice to each pair of a query and a key: a product of one vector for each.

    An axis of places has vectors from their features; any other axis, such as a window's offsets or
    a set of descriptors, has learnt ones along a profile that is stretched to its length.

    Args:
        spec: `StepSpec` of a pairwise action.
        units: int >= 1. Length of the vectors.
        grid: int >= 1. A profile has grid² entries.
    Call arguments:
        features: float32 tensor (batch, width), what the critic knows of the image.
        state: float tensor (batch, height, width, channels).
        action: float tensor (batch, ..., queries, keys).
    Returns:
        Float32 tensor shaped like the action.
    Example:
        >>> spec = StepSpec("conv2_1/pair", "conv2", "pairwise", (4, 4, 6), (16, 16))
        >>> head, state = PairwiseDirection(spec, 8, 2), np.ones((2, 4, 4, 6), "float32")
        >>> tuple(head(np.ones((2, 3), "float32"), state, np.ones((2, 16, 16), "float32")).shape)
        (2, 16, 16)
    """

    def __init__(self, spec, units, grid, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.spec = spec
        self.units = units
        self.grid = grid

    def build(self, features_shape):
        self.heads = math.prod(self.spec.action_shape[:-2])
        self.queries = self._axis(-2, "queries")
        self.keys = self._axis(-1, "keys")
        self.sought = keras.layers.Dense(
            self.heads * self.units,
            use_bias=False,
            kernel_initializer="zeros",
            dtype="float32",
            name="sought",
        )
        self.sought.build(features_shape)

    def _axis(self, axis, name):
        height, width, channels = self.spec.state_shape
        places = None if None in (height, width) else height * width
        if self.spec.action_shape[axis] == places:
            dense = keras.layers.Dense(self.units, dtype="float32", name=name)
            dense.build((None, None, channels))
            return dense
        return self.add_weight((self.grid**2, self.units), "glorot_uniform", name=f"{name}_profile")

    def _vectors(self, axis, state, length):
        if isinstance(axis, keras.layers.Dense):
            return axis(tf.reshape(state, [tf.shape(state)[0], -1, state.shape[-1]]))
        stretched = tf.image.resize(axis[None, :, None, :], [length, 1])[:, :, 0, :]
        return tf.repeat(stretched, tf.shape(state)[0], axis=0)

    def call(self, features, state, action):
        state, shape = tf.cast(state, tf.float32), tf.shape(action)
        queries = self._vectors(self.queries, state, shape[-2])  # (batch, queries, units)
        keys = self._vectors(self.keys, state, shape[-1])  # (batch, keys, units)
        sought = tf.reshape(self.sought(features), [-1, self.heads, self.units])
        pairs = tf.einsum("bqu,bhu,bku->bhqk", queries, sought, keys)
        return tf.reshape(pairs / tf.sqrt(tf.cast(shape[-2], tf.float32)), shape)
