"""Dual attention: over places and over channels."""

import keras
from keras import ops

from dreal_tf.errors import check_at_least_one
from dreal_tf.layers.attention_actor import AttentionActor, Placement
from dreal_tf.layers.pairwise import maps_of, row_stochastic, rows_of

POSITION, CHANNEL = 0, 1


@keras.saving.register_keras_serializable("dreal_tf")
class DualAttention(AttentionActor):
    """Adds what places ask of places and channels of channels: y = F + alpha·A_p V + beta·F A_c^T.

    With F as rows of channels, one per place: A_p = softmax(Q K^T), where Q, K and V are 1×1
    convolutions of F with biases, and A_c = softmax(rowmax(E) - E), where E = F^T F: a channel asks
    most of those least like it. Both steps read the same state. The learnt factors alpha and beta
    start at 0, so that y = F until they have moved.

    Args:
        reduction: int >= 1. Ratio of channels to the width of queries and keys (no unit); the width is
            at least 1. The paper's text: 1; its authors' code: 8. Defaults to 8.
        kernel_regularizer: Keras regularizer of the kernels of Q, K and V, or None.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: tuple of float tensors (batch, places, places) and (batch, channels, channels) to
            apply instead of the layer's own, None for a step that keeps its own, or None. Row i of
            an action says how much of each place or channel goes to place or channel i.
    Returns:
        Tensor shaped like `state`; with `return_action=True`, also both actions, whose rows sum to 1.
    Raises:
        ValueError: if `reduction` is below 1.
    Example:
        >>> refined, actions = DualAttention()(np.ones((2, 4, 5, 16)), return_action=True)
        >>> tuple(refined.shape), [tuple(action.shape) for action in actions]
        ((2, 4, 5, 16), [(2, 20, 20), (2, 16, 16)])
    Source: Fu, Liu, Tian, Li, Bao, Fang, Lu, "Dual Attention Network for Scene Segmentation", CVPR
    2019, arXiv 1809.02983, equations 1-4. Departs from it in: the paper sums two refined maps, each
    of a copy of F, between convolutions of their own in a segmentation head; here one copy of F
    carries both parts, so that the layer can stand in any network. The width of queries and A_c are
    those of the authors' code: the paper's equation 3 has softmax(E). Kernels start uniform within
    1 / sqrt(channels), as in that code, and biases at 0. Logits are made in float32 whatever the
    precision of the network.
    """

    attention = "danet"
    suffixes = ("danet_position", "danet_channel")
    kinds = ("pairwise", "pairwise")
    axes = (("places", "places"), ("members", "members"))
    residual = True
    starts_as_identity = True
    placement = Placement("stage", slice(-1, None), "last")

    def __init__(self, reduction=8, kernel_regularizer=None, **kwargs):
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
        # Optimizers leave what is called "gamma" out of weight decay.
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
        # In float32: sums over all places overflow float16, and bfloat16 rounds them by whole units.
        if index == POSITION:
            queries = ops.cast(rows_of(self.query(state)), "float32")
            keys = ops.cast(rows_of(self.key(state)), "float32")
            logits = ops.matmul(queries, ops.transpose(keys, (0, 2, 1)))
        else:
            rows = ops.cast(rows_of(state), "float32")
            # Softmax is blind to the row's maximum, so that it need not be added.
            logits = -ops.matmul(ops.transpose(rows, (0, 2, 1)), rows)
        return row_stochastic(logits, self.compute_dtype)

    def refine(self, state, action, index=0, training=None):
        return state + self._part(state, action, index)

    def walk(self, state, decide, training=None):
        refined = state
        for index in (POSITION, CHANNEL):
            refined = refined + self._part(state, decide(index, state), index)
        return refined

    def _part(self, state, action, index):
        """What a step adds to the state; nothing where its action is all zeros."""
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
