"""Double attention."""

from typing import Any

import keras
from keras import ops

from dreal_tf.errors import InputError
from dreal_tf.layers.attention_actor import (
    AttentionActor,
    Placement,
    Regularizer,
    attends,
    maps_of,
    row_stochastic,
    rows_of,
)


@keras.saving.register_keras_serializable("dreal_tf")
class DoubleAttention(AttentionActor):
    """Gathers the map into a few descriptors and distributes them: y = F + W(A2 (A1 a(F))).

    The first module gathers, with A1 = softmax over positions of b(F): each descriptor is a weighted
    mean of the features a(F) over all positions. The second module distributes, with A2 = softmax over
    descriptors of v(F): each position receives a mixture of descriptors. a, b, v and W are 1×1
    convolutions. Both modules read the same state F, so replacing the first action does not change
    the second.

    The rows of an action lie along its last axis: the gather action is (batch, descriptors, positions).
    The paper and most code transpose it.

    Args:
        features: int >= 1, width of a(F) (c_m in the paper), or None for a quarter of the channels.
        descriptors: int >= 1, number of descriptors (c_n in the paper), or None for a quarter of the
            channels.
        kernel_regularizer: Keras regularizer of the four kernels, or None.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: tuple of two float tensors to apply instead of the layer's own: (batch, descriptors,
            positions) and (batch, positions, descriptors). None keeps the layer's own. If either
            action of an image is all zeros, its state passes unchanged.
    Returns:
        Tensor shaped like `state`; with `return_action=True`, also both actions, whose rows sum to 1.
    Raises:
        ValueError: if `features` or `descriptors` is below 1.
    Example:
        >>> refined, actions = DoubleAttention()(np.ones((2, 4, 5, 16)), return_action=True)
        >>> [tuple(action.shape) for action in actions]
        [(2, 4, 20), (2, 20, 4)]
    Source: Chen, Kalantidis, Li, Yan, Feng, "A²-Nets: Double Attention Networks", NeurIPS 2018,
    arXiv 1810.11579, section 3. Differences from the paper: b has no bias, since a softmax over
    positions cancels it; there is no BatchNorm.
    """

    attention = "a2"
    suffixes = ("a2_gather", "a2_distribute")
    kinds = ("pairwise", "pairwise")
    axes = (("members", "places"), ("places", "members"))
    residual = True
    placement = Placement("stage", slice(1, 3), "last")

    def __init__(
        self,
        features: int | None = None,
        descriptors: int | None = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("features", features), ("descriptors", descriptors)):
            if value is not None and value < 1:
                raise InputError(
                    f"`{name}` must be at least 1. Received: {name}={value}. Raise it, or give None "
                    "for a quarter of the channels."
                )
        self.features = features
        self.descriptors = descriptors
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, state_shape):
        channels = state_shape[-1]
        quarter = max(1, channels // 4)
        features, descriptors = self.features or quarter, self.descriptors or quarter

        def convolution(width, inputs, name, use_bias=True):
            layer = keras.layers.Conv2D(
                width,
                1,
                data_format="channels_last",
                use_bias=use_bias,
                kernel_regularizer=self.kernel_regularizer,
                dtype=self.dtype_policy,
                name=name,
            )
            layer.build((*state_shape[:-1], inputs))
            return layer

        self.reduce = convolution(features, channels, "reduce")
        self.gather = convolution(descriptors, channels, "gather", use_bias=False)
        self.distribute = convolution(descriptors, channels, "distribute")
        self.expand = convolution(channels, features, "expand")

    def propose(self, state, index=0, training=None):
        logits = rows_of((self.gather, self.distribute)[index](state))
        if index == 0:
            logits = ops.transpose(logits, (0, 2, 1))  # The softmax runs over positions.
        return row_stochastic(logits, self.compute_dtype)

    def walk(self, state, decide, training=None):
        gathering, distributing = decide(0, state), decide(1, state)
        descriptors = ops.matmul(gathering, rows_of(self.reduce(state)))
        branch = self.expand(maps_of(ops.matmul(distributing, descriptors), like=state))
        return state + branch * attends(gathering) * attends(distributing)

    def get_config(self):
        return super().get_config() | {
            "features": self.features,
            "descriptors": self.descriptors,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
