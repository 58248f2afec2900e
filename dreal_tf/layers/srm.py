"""The style-based recalibration module."""

from typing import Any

import keras
from keras import ops

from dreal_tf.layers.attention_actor import AttentionActor, Regularizer

EPSILON = 1e-5  # Added to the variance, as in the authors' code, to keep the root's slope finite.


@keras.saving.register_keras_serializable("dreal_tf")
class SRM(AttentionActor):
    """Gates each channel by its own style: t = [mean, std] of F_c, A_c = sigmoid(BN(w_c·t)), y = F·A.

    The standard deviation is the square root of the unbiased variance over the positions plus 1e-5; a
    map of one position has variance 0. The weights w start at 0, so that all of A is 0.5 before the
    first training step. BatchNorm normalizes each channel over the batch.

    Args:
        kernel_regularizer: Keras regularizer of w, or None.
        synchronized: bool. Whether BatchNorm computes its statistics over all replicas.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: float tensor (batch, 1, 1, channels) to apply instead of the layer's own, or None.
        training: bool. Whether BatchNorm uses the batch's statistics and updates its averages.
    Returns:
        Tensor shaped like `state`; with `return_action=True`, also the action, values in [0, 1].
    Example:
        >>> refined, action = SRM()(np.ones((2, 8, 8, 16)), return_action=True)
        >>> tuple(refined.shape), tuple(action.shape), float(action[0, 0, 0, 0])
        ((2, 8, 8, 16), (2, 1, 1, 16), 0.5)
    Source: Lee, Kim, Nam, "SRM: A Style-based Recalibration Module for Convolutional Neural
    Networks", ICCV 2019, arXiv 1903.10829, sections 3.1 (style pooling) and 3.2 (style integration).
    The unbiased variance, the 1e-5 and the initial weights follow the authors' code. Differences from
    the authors' code: a map of one position has variance 0, which the code leaves undefined.
    """

    attention = "srm"
    suffixes = ("srm",)
    kinds = ("channel",)

    def __init__(
        self, kernel_regularizer: Regularizer = None, synchronized: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.synchronized = synchronized

    def build(self, state_shape):
        channels = state_shape[-1]
        self.style = self.add_weight(
            shape=(channels, 2),
            initializer="zeros",
            regularizer=self.kernel_regularizer,
            autocast=False,
            name="style",
        )
        # The logits of different images may differ by less than a half-precision digit. The layer
        # therefore computes everything up to the action in the precision of the weights.
        self.norm = keras.layers.BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            synchronized=self.synchronized,
            name="norm",
            dtype=self.variable_dtype,
        )
        self.norm.build((None, 1, 1, channels))

    def propose(self, state, index=0, training=None):
        exact = ops.cast(state, self.variable_dtype)
        height, width = ops.shape(state)[1:3]
        mean = ops.mean(exact, axis=(1, 2), keepdims=True)
        squares = ops.sum(ops.square(exact - mean), axis=(1, 2), keepdims=True)
        # The sum of squares of a single position is 0, whatever the divisor.
        divisor = ops.cast(ops.maximum(height * width - 1, 1), exact.dtype)
        std = ops.sqrt(squares / divisor + EPSILON)
        logits = self.style[:, 0] * mean + self.style[:, 1] * std
        gate = ops.sigmoid(self.norm(logits, training=training))
        return ops.cast(gate, self.compute_dtype)

    def get_config(self):
        return super().get_config() | {
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "synchronized": self.synchronized,
        }
