"""Dual attention: over positions and over channels."""

from typing import Any

import keras
from keras import ops

from dreal_tf.errors import check_at_least_one
from dreal_tf.layers.attention_actor import (
    AttentionActor,
    Placement,
    Regularizer,
    maps_of,
    row_stochastic,
    rows_of,
)

POSITION, CHANNEL = 0, 1


@keras.saving.register_keras_serializable("dreal_tf")
class DualAttention(AttentionActor):
    """Adds attention over positions and over channels: y = F + alpha·A_p V + beta·F A_c^T.

    F has one row of channels per position. A_p = softmax(Q K^T), where Q, K and V are 1×1
    convolutions of F with biases. A_c = softmax(rowmax(E) - E), where E = F^T F: a channel attends
    most to the channels least similar to it. Both modules read the same state. The learnt factors
    alpha and beta start at 0, so that y = F at first.

    Args:
        reduction: int >= 1. Ratio of channels to the width of queries and keys (no unit); the width is
            at least 1. The paper's text: 1; its authors' code: 8. Defaults to 8.
        kernel_regularizer: Keras regularizer of the kernels of Q, K and V, or None.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: tuple of float tensors (batch, positions, positions) and (batch, channels, channels)
            to apply instead of the layer's own. Either tensor or the whole tuple may be None. Row i of
            an action holds the weights with which position or channel i reads every other.
    Returns:
        Tensor shaped like `state`; with `return_action=True`, also both actions, whose rows sum to 1.
    Raises:
        ValueError: if `reduction` is below 1.
    Example:
        >>> refined, actions = DualAttention()(np.ones((2, 4, 5, 16)), return_action=True)
        >>> tuple(refined.shape), [tuple(action.shape) for action in actions]
        ((2, 4, 5, 16), [(2, 20, 20), (2, 16, 16)])
    Source: Fu, Liu, Tian, Li, Bao, Fang, Lu, "Dual Attention Network for Scene Segmentation", CVPR
    2019, arXiv 1809.02983, equations 1-4. Differences from the paper: in a segmentation head, the
    paper sums two refined copies of F, each between its own convolutions; here both terms are added to
    one copy of F, so that the layer fits any network. The width of the queries and A_c follow the
    authors' code: the paper's equation 3 has softmax(E). As in that code, kernels are initialised
    uniformly within 1 / sqrt(channels); biases start at 0. Logits are computed in float32, whatever
    the precision of the network.
    """

    attention = "danet"
    suffixes = ("danet_position", "danet_channel")
    kinds = ("pairwise", "pairwise")
    axes = (("places", "places"), ("members", "members"))
    residual = True
    starts_as_identity = True
    placement = Placement("stage", slice(-1, None), "last")

    def __init__(
        self, reduction: int = 8, kernel_regularizer: Regularizer = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_at_least_one(reduction=reduction)
        self.reduction = reduction
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, state_shape):
        channels = state_shape[-1]
        narrow = max(1, channels // self.reduction)
        self.query = self._convolution(narrow, "query")
        self.key = self._convolution(narrow, "key")
        self.value = self._convolution(channels, "value")
        for embedding in (self.query, self.key, self.value):
            embedding.build(state_shape)
        # Optimizers exclude weights named "gamma" from weight decay.
        self.alpha = self.add_weight(shape=(), initializer="zeros", name="position_gamma")
        self.beta = self.add_weight(shape=(), initializer="zeros", name="channel_gamma")

    def _convolution(self, filters, name):
        return keras.layers.Conv2D(
            filters,
            1,
            data_format="channels_last",
            kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )

    def propose(self, state, index=0, training=None):
        # In float32: sums over all positions overflow float16, and bfloat16 rounds them to whole units.
        if index == POSITION:
            queries = ops.cast(rows_of(self.query(state)), "float32")
            keys = ops.cast(rows_of(self.key(state)), "float32")
            logits = ops.matmul(queries, ops.transpose(keys, (0, 2, 1)))
        else:
            rows = ops.cast(rows_of(state), "float32")
            # The row's maximum does not change the softmax, so it is not added.
            logits = -ops.matmul(ops.transpose(rows, (0, 2, 1)), rows)
        return row_stochastic(logits, self.compute_dtype)

    def refine(self, state, action, index=0, training=None):
        return state + self._attended_term(state, action, index)

    def walk(self, state, decide, training=None):
        refined = state
        for index in (POSITION, CHANNEL):
            refined = refined + self._attended_term(state, decide(index, state), index)
        return refined

    def _attended_term(self, state, action, index):
        """The term that a module adds to the state; zero if its action is all zeros."""
        action = ops.cast(action, state.dtype)
        if index == POSITION:
            factor, attended = self.alpha, ops.matmul(action, rows_of(self.value(state)))
        else:
            factor = self.beta
            attended = ops.matmul(rows_of(state), ops.transpose(action, (0, 2, 1)))
        return ops.cast(factor, state.dtype) * maps_of(attended, like=state)

    def get_config(self):
        return super().get_config() | {
            "reduction": self.reduction,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
