"""Stand-alone self-attention over a local window."""

from typing import Any

import keras
from keras import ops

from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.layers.attention_actor import (
    AttentionActor,
    Placement,
    Regularizer,
    row_stochastic,
    rows_of,
)


@keras.saving.register_keras_serializable("dreal_tf")
class StandAloneAttention(AttentionActor):
    """Attention over a k×k window in place of a convolution: y = Σ_w softmax_w(q·(k_w + r_w)) v_w.

    Queries, keys and values are linear in the channels of each position. r_w is learnt for each head
    and offset of the window. Its first half encodes the row, its second half the column. An odd
    number of channels gives the row one more, so that a head of 1 channel encodes rows only. Outside
    the map keys and values are 0, but such a key keeps its r_w in the softmax.

    Args:
        filters: int >= 1, channels of the result, or None for the channels of the state.
        strides: int >= 1. Above 1, the result is averaged over cells of this side. The action
            keeps one query for each position of the state.
        kernel_size: int >= 1, odd. Side of the window (positions). Paper: 7.
        heads: int >= 1. Attention heads. The layer uses the greatest number up to this one that
            divides `filters` and gives each head at least two channels, else one head. Paper: 8.
        scale: bool. Whether to divide queries by the square root of a head's channels. Paper: no.
        kernel_regularizer: Keras regularizer of the three kernels, or None.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: float tensor (batch, heads, positions, kernel_size²) to apply instead of the layer's
            own, or None. Positions and offsets are row by row.
    Returns:
        Tensor (batch, ceil(height / strides), ceil(width / strides), filters); with
        `return_action=True`, also the action, whose rows sum to 1.
    Raises:
        ValueError: if an argument is out of range.
    Example:
        >>> layer = StandAloneAttention(filters=12, strides=2, kernel_size=3, heads=4)
        >>> refined, action = layer(np.ones((2, 6, 8, 16)), return_action=True)
        >>> tuple(refined.shape), tuple(action.shape)
        ((2, 3, 4, 12), (2, 4, 48, 9))
    Source: Ramachandran, Parmar, Vaswani, Bello, Levskaya, Shlens, "Stand-Alone Self-Attention in
    Vision Models", NeurIPS 2019, arXiv 1906.05909, equations 2-3 and section 3.1. Differences
    from the paper: each head reads all channels of the state, not a group of them. The paper specifies
    neither the zeros outside the map nor the rule for odd numbers of channels.
    """

    attention = "sasa"
    suffixes = ("sasa",)
    kinds = ("pairwise",)
    axes = (("heads", "places", "window"),)
    placement = Placement("convolution")

    def __init__(
        self,
        filters: int | None = None,
        strides: int = 1,
        kernel_size: int = 7,
        heads: int = 8,
        scale: bool = False,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least_one(strides=strides, heads=heads)
        if filters is not None and filters < 1:
            raise InputError(
                f"`filters` must be at least 1, or None. Received: filters={filters}. Raise it."
            )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError(
                "`kernel_size` must be odd, so that the window has a middle. Received: "
                f"kernel_size={kernel_size}. Choose 3, 5, 7, ..."
            )
        self.filters = filters
        self.strides = strides
        self.kernel_size = kernel_size
        self.heads = heads
        self.scale = scale
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, state_shape):
        filters = state_shape[-1] if self.filters is None else self.filters
        # A head of one channel has none for the columns of the window.
        most = min(self.heads, max(1, filters // 2))
        self.used_heads = max(n for n in range(1, most + 1) if filters % n == 0)
        self.head_size = filters // self.used_heads
        for name in ("query", "key", "value"):
            layer = keras.layers.Dense(
                filters,
                use_bias=False,
                kernel_regularizer=self.kernel_regularizer,
                dtype=self.dtype_policy,
                name=name,
            )
            layer.build(state_shape)
            setattr(self, name, layer)
        self.row_table = self._table((self.head_size + 1) // 2, "row_table")
        if self.head_size > 1:
            self.column_table = self._table(self.head_size // 2, "column_table")

    def _table(self, channels, name):
        return self.add_weight(
            shape=(self.used_heads, self.kernel_size, channels),
            initializer=keras.initializers.RandomNormal(stddev=self.head_size**-0.5),
            name=name,
        )

    def propose(self, state, index=0, training=None):
        # In float32, since unscaled products overflow under mixed precision.
        query = ops.transpose(self._in_heads(rows_of(self.query(state))), (0, 2, 1, 3))
        keys = ops.transpose(self._in_heads(self._windows(self.key(state))), (0, 3, 2, 4, 1))
        query, keys = (ops.cast(part, "float32") for part in (query, keys))
        if self.scale:
            query = query * self.head_size**-0.5
        logits = ops.squeeze(ops.matmul(query[..., None, :], keys), axis=-2)
        logits = logits + ops.einsum("bhnd,hwd->bhnw", query, ops.cast(self._offsets(), "float32"))
        return row_stochastic(logits, self.compute_dtype)

    def refine(self, state, action, index=0, training=None):
        values = ops.transpose(self._in_heads(self._windows(self.value(state))), (0, 3, 2, 1, 4))
        weights = ops.cast(action, values.dtype)[..., None, :]
        # (batch, heads, positions, channels)
        attended = ops.squeeze(ops.matmul(weights, values), axis=-2)
        attended = ops.transpose(attended, (0, 2, 1, 3))
        height, width = ops.shape(state)[1:3]
        filters = self.used_heads * self.head_size
        attended = ops.reshape(attended, (-1, height, width, filters))
        if self.strides > 1:
            attended = ops.average_pool(attended, self.strides, self.strides, padding="same")
        return attended

    def _in_heads(self, rows):
        """(..., filters) as (..., heads, channels)."""
        return ops.reshape(rows, (-1, *ops.shape(rows)[1:-1], self.used_heads, self.head_size))

    def _windows(self, maps):
        """The window around each position: (batch, offsets of the window, positions, filters)."""
        side, margin = self.kernel_size, self.kernel_size // 2
        batch, height, width, filters = ops.shape(maps)
        rows = ops.pad(maps, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        # Shifting rows and then columns takes 2k slices and never stores positions × positions.
        # `ops.slice`, since the gradient of a slice in brackets takes twenty times as long.
        shape = batch, height, width + 2 * margin, filters
        rows = ops.stack([ops.slice(rows, (0, row, 0, 0), shape) for row in range(side)], axis=1)
        shape = batch, side, height, width, filters
        both = [ops.slice(rows, (0, 0, 0, column, 0), shape) for column in range(side)]
        return ops.reshape(ops.stack(both, axis=2), (-1, side**2, height * width, filters))

    def _offsets(self):
        """The embedding of each offset: (heads, offsets of the window, channels)."""
        side = self.kernel_size
        offsets = ops.repeat(ops.convert_to_tensor(self.row_table), side, axis=1)
        if self.head_size > 1:
            columns = ops.tile(ops.convert_to_tensor(self.column_table), (1, side, 1))
            offsets = ops.concatenate([offsets, columns], axis=-1)
        return offsets

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "strides": self.strides,
            "kernel_size": self.kernel_size,
            "heads": self.heads,
            "scale": self.scale,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
