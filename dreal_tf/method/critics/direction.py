"""Directions: a critic's advice to each kind of action, a tensor of the action's own shape.

Every head is linear in the features without a bias, and starts at zero: a critic that has learnt
nothing advises nothing, nor does any where the features are zero. What is sought, `head.sought` of
the features, is apart from the advice that follows from it, so that steps that share a head can seek
in one product.
"""

import keras
import tensorflow as tf

from dreal_tf.method.critics.pairwise_axes import pairwise_axes
from dreal_tf.method.critics.pairwise_direction import LEARNT, CrissCrossDirection, PairwiseDirection
from dreal_tf.method.critics.summary import area_pool

SIDES = 2  # A channel's map is seen in quarters, ...
FINE = 2 * SIDES  # ... and its strength in sixteenths.
OWN_FEATURES = 2 + SIDES**2


def direction_head(spec, units, name):
    """The head that advises the actions of a step.

    Args:
        spec: `StepSpec`.
        units: int >= 1. Features by which places are told apart.
        name: str.
    Returns:
        Keras layer; `head(features, state, action)` gives a tensor shaped like `action`.
    """
    if spec.kind == "channel":
        return ChannelDirection(spec, name=name)
    if spec.kind == "spatial":
        return SpatialDirection(spec, units, name=name)
    if pairwise_axes(spec.axes).keys == "cross":
        return CrissCrossDirection(spec, units, name=name)
    return PairwiseDirection(spec, units, name=name)


def sharing(spec):
    """What steps have in common that can share a head: stage, kind, and the sizes of its weights.

    Args:
        spec: `StepSpec`.
    Returns:
        Hashable.
    Example:
        >>> blocks = [StepSpec(f"conv3_{n}/se", "conv3", "channel", (8, 8, 6), (1, 1, 6)) for n in (1, 2)]
        >>> sharing(blocks[0]) == sharing(blocks[1])
        True
    """
    of_weights = ("heads", *LEARNT)
    lengths = [n for axis, n in zip(spec.axes, spec.action_shape, strict=False) if axis in of_weights]
    return (spec.stage, spec.kind, spec.axes, spec.state_shape[-1], *lengths)


def pooled(spec, state):
    """What the critic reads of a step's state: of a channel action's, the means of its sixteenths.

    One reading of the maps then serves all that is made of them: they are by far the largest thing
    that a critic reads. Small maps are kept, and so are those of the other kinds, to which places
    matter.

    Args:
        spec: `StepSpec`.
        state: float tensor (batch, height, width, channels), of any height and width.
    Returns:
        Float tensor, another state of the same step; its averages over the whole map and over its
        quarters are the state's own.
    """
    return _fine(tf.cast(state, tf.float32)) if spec.kind == "channel" else state


def pooled_shape(spec, state):
    """The shape that `pooled` gives a step's state, without the batch axis.

    Args:
        spec: `StepSpec`.
        state: tensor (batch, height, width, channels), pooled before or not.
    Returns:
        Tuple of int or None.
    Example:
        >>> spec = StepSpec("conv2_1/se", "conv2", "channel", (8, 8, 6), (1, 1, 6))
        >>> pooled_shape(spec, np.ones((2, 8, 8, 6)))
        (4, 4, 6)
    """
    height, width, channels = state.shape[1:]
    coarse = spec.kind == "channel" and not _small(height, width)
    return (FINE, FINE, channels) if coarse else (height, width, channels)


class ChannelDirection(keras.layers.Layer):
    """Advice to each channel: how far its own features agree with what the critic looks for.

    Args:
        spec: `StepSpec` of a channel action.
    Call arguments:
        features: float32 tensor (batch, width), what the critic knows of the image.
        state: float tensor (batch, height, width, channels), of any height and width.
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
        self.sought = keras.layers.Dense(
            OWN_FEATURES * self.spec.action_shape[-1],
            use_bias=False,
            kernel_initializer="zeros",
            dtype="float32",
            name="sought",
        )
        self.sought.build(features_shape)

    def call(self, features, state, action):
        return self.advise(self.sought(features), self.own(state))

    def own(self, state):
        """What `advise` reads of the state: (batch, 6, channels)."""
        return channel_features(state)

    def advise(self, sought, own, action=None):
        """The advice for what is sought, (batch, 6 · channels)."""
        sought = tf.reshape(sought, [-1, *own.shape[1:]])
        return tf.reshape(tf.reduce_sum(own * sought, axis=1), [-1, 1, 1, own.shape[2]])


def channel_features(state):
    """What tells a channel from another image's: how strong it is, and where.

    What a gate does to the logits is what its channel holds where the rest of the network looks.

    Args:
        state: float tensor (batch, height, width, channels), of any height and width.
    Returns:
        Float32 tensor (batch, 6, channels): 1; the strength, a mean of the absolute values of the
        means of the map's sixteenths, or of its places where these are fewer; and the means of its
        four quarters.
    Example:
        >>> channel_features(np.float32([1, -3]).reshape(1, 2, 1, 1))[0, :, 0].numpy().tolist()
        [1.0, 2.0, 1.0, 1.0, -3.0, -3.0]
    """
    fine = _fine(tf.cast(state, tf.float32))
    strength = tf.reduce_mean(tf.abs(fine), axis=[1, 2])[:, None]
    quarters = tf.reshape(area_pool(fine, SIDES), [-1, SIDES**2, state.shape[-1]])
    return tf.concat([tf.ones_like(strength), strength, quarters], axis=1)


def _fine(maps):
    return maps if _small(*maps.shape[1:3]) else area_pool(maps, FINE)


def _small(height, width):
    return None not in (height, width) and max(height, width) <= FINE


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
        return self.advise(self.sought(features), state)

    def own(self, state):
        """What `advise` reads of the state: all of it."""
        return state

    def advise(self, sought, state, action=None):
        """The advice for what is sought, (batch, units)."""
        state = tf.cast(state, tf.float32)
        agreement = tf.einsum("bhwu,bu->bhw", self.places(state), sought)
        places = tf.cast(keras.ops.shape(state)[1] * keras.ops.shape(state)[2], tf.float32)
        return (agreement / tf.sqrt(places))[..., None]
