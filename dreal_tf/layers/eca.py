"""Efficient channel attention."""

import math
from typing import Any

import keras
from keras import ops

from dreal_tf.errors import InputError
from dreal_tf.layers.attention_actor import AttentionActor, Regularizer


@keras.saving.register_keras_serializable("dreal_tf")
class ECA(AttentionActor):
    """Gates each channel by the averages of its neighbours: A = sigmoid(conv_k(GAP(F))), y = F·A.

    The convolution runs over the channels, without bias and with zero padding. The number of channels
    C sets its width: t = int(|log2(C) / gamma + b / gamma|), and k = t if t is odd, else t + 1.

    Args:
        gamma: float > 0. Divisor of log2(C) + b (no unit). Paper: 2. Defaults to 2.
        b: float. Offset of log2(C) (no unit). Paper: 1. Defaults to 1.
        kernel_size: odd int >= 1, in channels, used for every C, or None to compute k from C.
            Defaults to None.
        kernel_regularizer: Keras regularizer of the convolution's kernel, or None.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: float tensor (batch, 1, 1, channels) to apply instead of the layer's own, or None.
    Returns:
        Tensor shaped like `state`; with `return_action=True`, also the action, values in [0, 1].
    Raises:
        ValueError: if `gamma` is not above 0, or `kernel_size` is not odd.
    Example:
        >>> refined, action = ECA()(np.ones((2, 8, 8, 256)), return_action=True)
        >>> tuple(refined.shape), tuple(action.shape)
        ((2, 8, 8, 256), (2, 1, 1, 256))
        >>> ECA().width(256)
        5
    Source: Wang, Wu, Zhu, Li, Zuo, Hu, "ECA-Net: Efficient Channel Attention for Deep Convolutional
    Neural Networks", CVPR 2020, arXiv 1910.03151, equations 9 and 12. Differences from the paper:
    none. If t is even, its two nearest odd numbers are equally near; the layer takes the greater one,
    as the authors' code does.
    """

    attention = "eca"
    suffixes = ("eca",)
    kinds = ("channel",)

    def __init__(
        self,
        gamma: float = 2,
        b: float = 1,
        kernel_size: int | None = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if gamma <= 0:
            raise InputError(f"`gamma` must be above 0. Received: gamma={gamma}. Raise it.")
        if kernel_size is not None and (kernel_size < 1 or kernel_size % 2 == 0):
            raise InputError(
                "`kernel_size` must be odd and at least 1, so that the kernel has a centre. Received: "
                f"kernel_size={kernel_size}. Give an odd number, or None to compute it."
            )
        self.gamma = gamma
        self.b = b
        self.kernel_size = kernel_size
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def width(self, channels):
        """The convolution's width for a number of channels (k in the paper)."""
        if self.kernel_size is not None:
            return self.kernel_size
        whole = int(abs((math.log2(channels) + self.b) / self.gamma))
        return whole if whole % 2 else whole + 1

    def build(self, state_shape):
        channels = state_shape[-1]
        self.convolve = keras.layers.Conv1D(
            1,
            self.width(channels),
            padding="same",
            data_format="channels_last",
            use_bias=False,
            kernel_regularizer=self.kernel_regularizer,
            name="convolve",
            dtype=self.dtype_policy,
        )
        self.convolve.build((None, channels, 1))

    def propose(self, state, index=0, training=None):
        averages = ops.expand_dims(ops.mean(state, axis=(1, 2)), axis=-1)
        return ops.reshape(ops.sigmoid(self.convolve(averages)), (-1, 1, 1, state.shape[-1]))

    def get_config(self):
        return super().get_config() | {
            "gamma": self.gamma,
            "b": self.b,
            "kernel_size": self.kernel_size,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
