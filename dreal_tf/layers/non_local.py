"""Non-local attention."""

from typing import Any

import keras
from keras import ops

from dreal_tf.errors import check_at_least_one
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
class NonLocal(AttentionActor):
    """Attends to all positions: A = softmax(theta(F) phi(F)^T), y = F + BN(W_z(A g(F))).

    This is the embedded Gaussian form. theta, phi and g are 1×1 convolutions with bias to the inner
    width; W_z is one without bias to the width of the state. BatchNorm's gamma starts at 0, so that
    y = F at first. If the action of an image is all zeros, y = F whatever BatchNorm's beta.

    Args:
        bottleneck: int >= 1. Ratio of channels to inner width (no unit); the width is at least 1.
            Paper: 2. Defaults to 2.
        subsample: bool. Whether phi(F) and g(F) pass a 2×2 max pooling of stride 2, so that a
            position attends to a quarter of the positions (section 3.3). On an odd side the last
            window is smaller. Defaults to True, as in the paper's networks.
        scale: bool. Whether to divide the logits by the square root of the inner width. Defaults to
            False, as in the paper's formula. The authors' code and mmcv divide by default; timm
            divides by the square root of the state's width.
        kernel_regularizer: Keras regularizer of all kernels, or None.
        synchronized: bool. Whether BatchNorm computes its statistics over all replicas.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: float tensor (batch, positions, keys) to apply instead of the layer's own, or None.
            There are height · width positions and, with `subsample`, ⌈height / 2⌉ · ⌈width / 2⌉ keys;
            without it every position is a key.
    Returns:
        Tensor shaped like `state`; with `return_action=True`, also the action, whose rows sum to 1.
    Raises:
        ValueError: if `bottleneck` is below 1.
    Example:
        >>> refined, action = NonLocal()(np.ones((2, 5, 8, 16)), return_action=True)
        >>> tuple(refined.shape), tuple(action.shape)
        ((2, 5, 8, 16), (2, 40, 12))
    Source: Wang, Girshick, Gupta, He, "Non-local Neural Networks", CVPR 2018, arXiv 1711.07971,
    equations 1, 3 and 6, figure 2, sections 3.3 and 4.1. Differences from the paper: the maps are of
    one image, not of a clip; W_z has no bias, since the next BatchNorm adds an offset. As in the paper
    and unlike its code, the pooling comes after phi and g. As in that code, kernels are initialised
    from a normal distribution with standard deviation 0.01: with a larger one, the unscaled logits of
    wide states saturate. Logits are computed in float32, whatever the precision of the network.
    """

    attention = "non_local"
    suffixes = ("non_local",)
    kinds = ("pairwise",)
    axes = (("places", "halved"),)
    residual = True
    starts_as_identity = True
    placement = Placement("stage", slice(1, 3), "last")

    def __init__(
        self,
        bottleneck: int = 2,
        subsample: bool = True,
        scale: bool = False,
        kernel_regularizer: Regularizer = None,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least_one(bottleneck=bottleneck)
        self.bottleneck = bottleneck
        self.subsample = subsample
        self.scale = scale
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.synchronized = synchronized
        self.axes = (("places", "halved" if subsample else "places"),)

    def build(self, state_shape):
        channels = state_shape[-1]
        inner = max(1, channels // self.bottleneck)
        self.theta = self._convolution(inner, "theta")
        self.phi = self._convolution(inner, "phi")
        self.g = self._convolution(inner, "g")
        for embedding in (self.theta, self.phi, self.g):
            embedding.build(state_shape)
        self.w_z = self._convolution(channels, "w_z", use_bias=False)
        self.w_z.build((*state_shape[:-1], inner))
        self.norm = keras.layers.BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            gamma_initializer="zeros",
            synchronized=self.synchronized,
            dtype=self.dtype_policy,
            name="norm",
        )
        self.norm.build(state_shape)

    def _convolution(self, filters, name, use_bias=True):
        return keras.layers.Conv2D(
            filters,
            1,
            data_format="channels_last",
            use_bias=use_bias,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )

    def _keys(self, maps):
        """The rows that positions attend to."""
        if self.subsample:
            maps = ops.max_pool(maps, 2, 2, padding="same", data_format="channels_last")
        return rows_of(maps)

    def propose(self, state, index=0, training=None):
        # In float32: unscaled products overflow float16; bfloat16 rounds large ones coarsely.
        queries = ops.cast(rows_of(self.theta(state)), "float32")
        keys = ops.cast(self._keys(self.phi(state)), "float32")
        if self.scale:
            queries = queries / queries.shape[-1] ** 0.5
        logits = ops.matmul(queries, ops.transpose(keys, (0, 2, 1)))
        return row_stochastic(logits, self.compute_dtype)

    def refine(self, state, action, index=0, training=None):
        action = ops.cast(action, state.dtype)
        attended = maps_of(ops.matmul(action, self._keys(self.g(state))), like=state)
        return state + attends(action) * self.norm(self.w_z(attended), training=training)

    def get_config(self):
        return super().get_config() | {
            "bottleneck": self.bottleneck,
            "subsample": self.subsample,
            "scale": self.scale,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "synchronized": self.synchronized,
        }
