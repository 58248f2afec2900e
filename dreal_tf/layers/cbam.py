"""The convolutional block attention module."""

from typing import Any

import keras
from keras import ops

from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.layers.attention_actor import AttentionActor, Regularizer
from dreal_tf.layers.squeeze_excite import hidden_width


@keras.saving.register_keras_serializable("dreal_tf")
class CBAM(AttentionActor):
    """Gates channels, then positions: A_c = sigmoid(MLP(avg F) + MLP(max F)), A_s = sigmoid(BN(f[F'])).

    One MLP of two layers reads both the average and the maximum of each channel. F' = F·A_c is the
    state of the second module. f is a convolution of two maps: first the mean over the channels of F',
    then the maximum.

    Args:
        reduction: int >= 1. Ratio of channels to the MLP's hidden width (no unit). Paper: 16.
            Defaults to 16. The hidden width is at least 1.
        kernel_size: odd int >= 1, in positions. Side of the convolution's kernel. Paper: 7. Defaults
            to 7.
        use_bias: bool. Whether the MLP has biases. Defaults to True, as in the authors' code.
        kernel_regularizer: Keras regularizer of the MLP's and the convolution's kernels, or None.
        synchronized: bool. Whether BatchNorm computes its statistics over all replicas.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: tuple of float tensors (batch, 1, 1, channels) and (batch, height, width, 1) to
            apply instead of the layer's own. Either tensor or the whole tuple may be None.
        training: bool. Whether BatchNorm uses the batch's statistics and updates its averages.
    Returns:
        Tensor shaped like `state`; with `return_action=True`, also the tuple of both actions,
        values in [0, 1].
    Raises:
        ValueError: if `reduction` is below 1 or `kernel_size` is not odd.
    Example:
        >>> refined, actions = CBAM(4)(np.ones((2, 8, 8, 16)), return_action=True)
        >>> tuple(refined.shape), [tuple(action.shape) for action in actions]
        ((2, 8, 8, 16), [(2, 1, 1, 16), (2, 8, 8, 1)])
    Source: Woo, Park, Lee, Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018, arXiv
    1807.06521, equations 1-3. The BatchNorm after the convolution, which has no bias, follows the
    authors' code. Differences from the authors' code: BatchNorm's momentum is
    0.9, as in the rest of the network (the code: 0.99); the mean comes before the maximum, as in the
    paper (the code: the reverse).
    """

    attention = "cbam"
    suffixes = ("cbam_channel", "cbam_spatial")
    kinds = ("channel", "spatial")

    def __init__(
        self,
        reduction: int = 16,
        kernel_size: int = 7,
        use_bias: bool = True,
        kernel_regularizer: Regularizer = None,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least_one(reduction=reduction)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError(
                "`kernel_size` must be odd and at least 1, so that the kernel has a centre. Received: "
                f"kernel_size={kernel_size}. Give an odd number; the paper's is 7."
            )
        self.reduction = reduction
        self.kernel_size = kernel_size
        self.use_bias = use_bias
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.synchronized = synchronized

    def build(self, state_shape):
        channels = state_shape[-1]
        hidden = hidden_width(channels, self.reduction)
        shared = dict(kernel_regularizer=self.kernel_regularizer, dtype=self.dtype_policy)
        self.squeeze = keras.layers.Dense(
            hidden,
            activation="relu",
            kernel_initializer="he_normal",
            use_bias=self.use_bias,
            name="squeeze",
            **shared,
        )
        self.excite = keras.layers.Dense(channels, use_bias=self.use_bias, name="excite", **shared)
        self.convolve = keras.layers.Conv2D(
            1,
            self.kernel_size,
            padding="same",
            data_format="channels_last",
            use_bias=False,
            name="convolve",
            **shared,
        )
        self.norm = keras.layers.BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            synchronized=self.synchronized,
            name="norm",
            dtype=self.dtype_policy,
        )
        self.squeeze.build((None, 1, 1, channels))
        self.excite.build((None, 1, 1, hidden))
        self.convolve.build((*state_shape[:-1], 2))
        self.norm.build((*state_shape[:-1], 1))

    def propose(self, state, index=0, training=None):
        if index == 0:
            average = ops.mean(state, axis=(1, 2), keepdims=True)
            maximum = ops.max(state, axis=(1, 2), keepdims=True)
            logits = self.excite(self.squeeze(average)) + self.excite(self.squeeze(maximum))
        else:
            pooled = ops.concatenate(
                [ops.mean(state, axis=3, keepdims=True), ops.max(state, axis=3, keepdims=True)], axis=3
            )
            logits = self.norm(self.convolve(pooled), training=training)
        return ops.sigmoid(logits)

    def get_config(self):
        return super().get_config() | {
            "reduction": self.reduction,
            "kernel_size": self.kernel_size,
            "use_bias": self.use_bias,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "synchronized": self.synchronized,
        }
