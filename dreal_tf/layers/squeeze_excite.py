"""Squeeze-and-excitation."""

from typing import Any

import keras
from keras import ops

from dreal_tf.errors import check_at_least_one
from dreal_tf.layers.attention_actor import AttentionActor, Regularizer


@keras.saving.register_keras_serializable("dreal_tf")
class SqueezeExcite(AttentionActor):
    """Gates each channel by the channel averages: A = sigmoid(W2 relu(W1 GAP(F))), y = F·A.

    Args:
        reduction: int >= 1. Ratio of channels to hidden width (no unit). Paper: 16. Defaults to 16.
        use_bias: bool. Whether W1 and W2 have biases. Defaults to True, as in the authors' network.
        kernel_regularizer: Keras regularizer of W1 and W2, or None.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: float tensor (batch, 1, 1, channels) to apply instead of the layer's own, or None.
    Returns:
        Tensor shaped like `state`; with `return_action=True`, also the action, values in [0, 1].
    Raises:
        ValueError: if `reduction` is below 1.
    Example:
        >>> refined, action = SqueezeExcite(4)(np.ones((2, 8, 8, 16)), return_action=True)
        >>> tuple(refined.shape), tuple(action.shape)
        ((2, 8, 8, 16), (2, 1, 1, 16))
    Source: Hu, Shen, Sun, "Squeeze-and-Excitation Networks", CVPR 2018, arXiv 1709.01507, equations
    2-4. Differences from the paper: the hidden width, channels // reduction, is at least 1 if the state
    has fewer channels than `reduction`, as in keras.applications' EfficientNet.
    """

    attention = "se"
    suffixes = ("se",)
    kinds = ("channel",)

    def __init__(
        self,
        reduction: int = 16,
        use_bias: bool = True,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least_one(reduction=reduction)
        self.reduction = reduction
        self.use_bias = use_bias
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, state_shape):
        channels = state_shape[-1]
        hidden = hidden_width(channels, self.reduction)
        dense = dict(
            use_bias=self.use_bias,
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
        )
        self.squeeze = keras.layers.Dense(
            hidden,
            activation="relu",
            kernel_initializer="he_normal",
            name="squeeze",
            **dense,
        )
        self.excite = keras.layers.Dense(channels, activation="sigmoid", name="excite", **dense)
        self.squeeze.build((None, channels))
        self.excite.build((None, hidden))

    def propose(self, state, index=0, training=None):
        gates = self.excite(self.squeeze(ops.mean(state, axis=(1, 2))))
        return ops.reshape(gates, (-1, 1, 1, gates.shape[-1]))

    def get_config(self):
        return super().get_config() | {
            "reduction": self.reduction,
            "use_bias": self.use_bias,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


def hidden_width(channels, reduction):
    """Units between a gate's two layers: channels // reduction, but at least 1.

    Args:
        channels: int. Channels of the state.
        reduction: int >= 1.
    Returns:
        Int >= 1.
    Example:
        >>> hidden_width(40, 16), hidden_width(4, 16)
        (2, 1)
    """
    return max(1, channels // reduction)
