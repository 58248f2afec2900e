"""Heads that give dQ/dA for each kind of action: a tensor of the action's own shape.

Every head is linear in the critic's features, without a bias, and starts at zero: an untrained critic
gives the gradient 0, as does any critic where the features are 0. `head.query` of the features is
separate from `head.gradient`, so that modules that share a head share one product.
"""

import keras
import tensorflow as tf
from keras import ops

from dreal_tf.method.critics.meta_critic import area_pool
from dreal_tf.method.critics.pairwise import (
    EMBEDDED,
    ActionGradientHead,
    CrissCrossActionGradient,
    PairwiseActionGradient,
    pairwise_axes,
    zero_query,
)

SIDES = 2  # A channel's map is averaged to quarters, ...
FINE = 2 * SIDES  # ... and its strength is computed from sixteenths.
CHANNEL_FEATURES = 2 + SIDES**2


def action_gradient_head(spec, units, name):
    """The head for the actions of a module.

    Args:
        spec: `ModuleSpec`.
        units: int >= 1. Features that tell positions apart.
        name: str.
    Returns:
        Keras layer; `head(features, state, action)` gives a tensor shaped like `action`.
    """
    if spec.kind == "channel":
        return ChannelActionGradient(spec, name=name)
    if spec.kind == "spatial":
        return SpatialActionGradient(spec, units, name=name)
    if pairwise_axes(spec.axes).keys == "cross":
        return CrissCrossActionGradient(spec, units, name=name)
    return PairwiseActionGradient(spec, units, name=name)


def sharing_key(spec):
    """Equal for modules that can share a head: stage, kind, and the sizes of its weights.

    Args:
        spec: `ModuleSpec`.
    Returns:
        Hashable.
    Example:
        >>> shapes = (8, 8, 6), (1, 1, 6)
        >>> blocks = [ModuleSpec(f"conv3_{n}/se", "conv3", "channel", *shapes) for n in (1, 2)]
        >>> sharing_key(blocks[0]) == sharing_key(blocks[1])
        True
    """
    of_weights = ("heads", *EMBEDDED)
    lengths = [n for axis, n in zip(spec.axes, spec.action_shape, strict=False) if axis in of_weights]
    maps = spec.action_shape[-1] if spec.kind == "spatial" else None
    return (spec.stage, spec.kind, spec.axes, spec.state_shape[-1], maps, *lengths)


def pooled(spec, state):
    """The part of a state that a critic reads: for a channel action, the means of its sixteenths.

    The maps, by far the largest input of a critic, are then read once. Small maps are kept, and so
    are those of the other kinds of action, which depend on position.

    Args:
        spec: `ModuleSpec`.
        state: float tensor (batch, height, width, channels), of any height and width.
    Returns:
        Float tensor (batch, height or 4, width or 4, channels). Its averages over the whole map and
        over its quarters are those of the state.
    """
    return _fine(tf.cast(state, tf.float32)) if spec.kind == "channel" else state


def pooled_shape(spec, state):
    """The shape that `pooled` gives a state, without the batch axis.

    Args:
        spec: `ModuleSpec`.
        state: tensor (batch, height, width, channels), pooled before or not.
    Returns:
        Tuple of int or None.
    Example:
        >>> spec = ModuleSpec("conv2_1/se", "conv2", "channel", (8, 8, 6), (1, 1, 6))
        >>> pooled_shape(spec, np.ones((2, 8, 8, 6)))
        (4, 4, 6)
    """
    height, width, channels = state.shape[1:]
    coarse = spec.kind == "channel" and not _small(height, width)
    return (FINE, FINE, channels) if coarse else (height, width, channels)


class ChannelActionGradient(ActionGradientHead):
    """dQ/dA of each channel: the product of its features with the critic's query.

    Args:
        spec: `ModuleSpec` of a channel action.
    Call arguments:
        features, state: see `ActionGradientHead`.
        action: float tensor (batch, 1, 1, channels).
    Example:
        >>> spec = ModuleSpec("conv2_1/se", "conv2", "channel", (4, 4, 6), (1, 1, 6))
        >>> head, state = ChannelActionGradient(spec), np.ones((2, 4, 4, 6), "float32")
        >>> tuple(head(np.ones((2, 3), "float32"), state, state[:, :1, :1]).shape)
        (2, 1, 1, 6)
    """

    def build(self, features_shape):
        self.query = zero_query(CHANNEL_FEATURES * self.spec.action_shape[-1], features_shape)

    def features(self, state):
        """`channel_features` of the state: (batch, 6, channels)."""
        return channel_features(state)

    def gradient(self, query, features, action=None):
        """dQ/dA for a query (batch, 6 · channels): (batch, 1, 1, channels)."""
        query = tf.reshape(query, [-1, *features.shape[1:]])  # (batch, 6, channels)
        return tf.reshape(tf.reduce_sum(features * query, axis=1), [-1, 1, 1, features.shape[2]])


def channel_features(state):
    """Features that tell a channel of one image from the same channel of another.

    A gate moves the logits by the contents of its channel at the positions that the rest of the
    network reads; hence its strength and its quarters.

    Args:
        state: float tensor (batch, height, width, channels), of any height and width.
    Returns:
        Float32 tensor (batch, 6, channels): 1; the strength, a mean of the absolute values of the
        means of the map's sixteenths, or of its positions if there are fewer; and the means of its
        four quarters.
    Example:
        >>> channel_features(np.float32([1, -3]).reshape(1, 2, 1, 1))[0, :, 0].numpy().tolist()
        [1.0, 2.0, 1.0, 1.0, -3.0, -3.0]
    """
    fine = _fine(tf.cast(state, tf.float32))  # (batch, 4, 4, channels), or smaller
    strength = tf.reduce_mean(tf.abs(fine), axis=[1, 2])[:, None]  # (batch, 1, channels)
    quarters = tf.reshape(area_pool(fine, SIDES), [-1, SIDES**2, state.shape[-1]])
    return tf.concat([tf.ones_like(strength), strength, quarters], axis=1)


def _fine(maps):
    return maps if _small(*maps.shape[1:3]) else area_pool(maps, FINE)


def _small(height, width):
    return None not in (height, width) and max(height, width) <= FINE


class SpatialActionGradient(ActionGradientHead):
    """dQ/dA of each position: the product of its features with the critic's query.

    Args:
        spec: `ModuleSpec` of a spatial action.
        units: int >= 1. Features that tell positions apart.
    Call arguments:
        features, state: see `ActionGradientHead`.
        action: float tensor (batch, height, width, 1), or a map for each channel, which then have the
            same gradient.
    Example:
        >>> spec = ModuleSpec("conv2_1/gate", "conv2", "spatial", (4, 4, 6), (4, 4, 1))
        >>> head, state = SpatialActionGradient(spec, 8), np.ones((2, 4, 4, 6), "float32")
        >>> tuple(head(np.ones((2, 3), "float32"), state, state[..., :1]).shape)
        (2, 4, 4, 1)
    """

    def build(self, features_shape):
        self.positions = keras.layers.Dense(self.units, dtype="float32", name="positions")
        self.positions.build((None, None, None, self.spec.state_shape[-1]))
        self.query = zero_query(self.units, features_shape)

    def gradient(self, query, state, action=None):
        """dQ/dA for a query (batch, units): (batch, height, width, 1)."""
        state = tf.cast(state, tf.float32)
        products = tf.einsum("bhwu,bu->bhw", self.positions(state), query)
        count = tf.cast(ops.shape(state)[1] * ops.shape(state)[2], tf.float32)
        gradient = (products / tf.sqrt(count))[..., None]
        maps = self.spec.action_shape[-1]
        return gradient if maps == 1 else tf.repeat(gradient, maps, axis=-1)
