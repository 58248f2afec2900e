"""Attention-augmented convolution."""

from typing import Any

import keras
from keras import ops

from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.layers.attention_actor import (
    AttentionActor,
    Placement,
    Regularizer,
    maps_of,
    row_stochastic,
    rows_of,
)

UNKNOWN_SIDE = 32  # Side, in positions, of the map that a table is made for if the side is unknown.


@keras.saving.register_keras_serializable("dreal_tf")
class AugmentedConvolution(AttentionActor):
    """A convolution with some channels from attention: y = [conv(F); softmax(Q(K + R)ᵀ) V W].

    Every position attends to every position, in several heads. R is learnt for the offset between
    two positions, as a row part plus a column part, and is shared by the heads. On a map of another
    size than the one it was built for, the layer interpolates the table of offsets linearly; offset 0
    stays offset 0. If the height or width is unknown, the table fits 32 positions along that side.

    Args:
        filters: int >= 2, channels of the result, or None for the channels of the state.
        strides: int >= 1. Positions between two applications of the kernel. Above 1, the attention
            reads the state averaged over cells of this side; the average is the module's state.
        kernel_size: int >= 1. Side of the convolution's kernel (positions). Paper: 3, as in the
            convolutions that it augments.
        heads: int >= 1. Attention heads; the layer uses at most filters // 2. Paper: 8.
        key_fraction: float > 0. Ratio of key channels to `filters` (kappa). Paper: 0.2.
        value_fraction: float, above 0 and below 1. Ratio of attention channels to `filters`
            (upsilon); rounded for each head, at least 1. Paper: 0.1.
        least_key_size: int >= 1. Minimum number of key channels in each head. Paper: 20.
        relative: bool. Whether to add R to the keys.
        use_bias: bool. Whether convolution and projections have biases. Defaults to False, since a
            network applies BatchNorm next.
        kernel_regularizer: Keras regularizer of all kernels, or None.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: float tensor (batch, heads, positions, positions) to apply instead of the layer's
            own, or None. Positions are those of the result, row by row.
    Returns:
        Tensor (batch, ceil(height / strides), ceil(width / strides), filters); with
        `return_action=True`, also the action, whose rows sum to 1.
    Raises:
        ValueError: if an argument is out of range, or the convolution would have no channel.
    Example:
        >>> layer = AugmentedConvolution(filters=20, strides=2, heads=2)
        >>> refined, action = layer(np.ones((2, 6, 8, 16)), return_action=True)
        >>> tuple(refined.shape), tuple(action.shape)
        ((2, 3, 4, 20), (2, 2, 12, 12))
    Source: Bello, Zoph, Vaswani, Shlens, Le, "Attention Augmented Convolutional Networks", ICCV
    2019, arXiv 1904.09925, section 3. Differences from the paper: narrow layers have fewer heads;
    tables are interpolated for other sizes; with strides the state is averaged over cells (the paper
    averages over 3×3 positions to halve the attention's input). Embeddings are initialised with mean
    0; the paper's listing passes their standard deviation as the mean.
    """

    attention = "aa"
    suffixes = ("aa",)
    kinds = ("pairwise",)
    axes = (("heads", "places", "places"),)
    placement = Placement("convolution", slice(1, None))

    def __init__(
        self,
        filters: int | None = None,
        strides: int = 1,
        kernel_size: int = 3,
        heads: int = 8,
        key_fraction: float = 0.2,
        value_fraction: float = 0.1,
        least_key_size: int = 20,
        relative: bool = True,
        use_bias: bool = False,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least_one(
            strides=strides, kernel_size=kernel_size, heads=heads, least_key_size=least_key_size
        )
        if key_fraction <= 0:
            raise InputError(
                f"`key_fraction` must be above 0. Received: key_fraction={key_fraction}. Raise it."
            )
        if not 0 < value_fraction < 1:
            raise InputError(
                "`value_fraction` must be above 0 and below 1. Received: value_fraction="
                f"{value_fraction}. Choose a fraction of the channels, such as 0.1."
            )
        self.filters = filters
        self.strides = strides
        self.kernel_size = kernel_size
        self.heads = heads
        self.key_fraction = key_fraction
        self.value_fraction = value_fraction
        self.least_key_size = least_key_size
        self.relative = relative
        self.use_bias = use_bias
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, state_shape):
        filters = state_shape[-1] if self.filters is None else self.filters
        if filters < 2:
            raise InputError(
                "`filters` must be at least 2: one channel of the convolution and one of the "
                f"attention. Received: filters={filters}. Give 2 or more."
            )
        self.used_heads = min(self.heads, filters // 2)
        key_size = round(self.key_fraction * filters / self.used_heads)
        value_size = round(self.value_fraction * filters / self.used_heads)
        self.key_size = max(self.least_key_size, key_size)
        keys = self.used_heads * self.key_size
        values = self.used_heads * max(1, value_size)
        if values >= filters:
            raise InputError(
                f"`value_fraction` must leave the convolution some of the {filters} channels. "
                f"Received: value_fraction={self.value_fraction}, which gives {self.used_heads} "
                f"heads {values} channels. Lower it, or the number of heads."
            )
        common = dict(
            use_bias=self.use_bias,
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
        )
        self.convolution = keras.layers.Conv2D(
            filters - values,
            self.kernel_size,
            self.strides,
            padding="same",
            kernel_initializer="he_normal",
            name="convolution",
            **common,
        )
        self.query = keras.layers.Dense(keys, name="query", **common)
        self.key = keras.layers.Dense(keys, name="key", **common)
        self.value = keras.layers.Dense(values, name="value", **common)
        self.project = keras.layers.Dense(values, name="project", **common)
        for layer in (self.convolution, self.query, self.key, self.value):
            layer.build(state_shape)
        self.project.build((*state_shape[:-1], values))
        if self.relative:
            self.row_table = self._table(state_shape[1], "row_table")
            self.column_table = self._table(state_shape[2], "column_table")

    def _table(self, side, name):
        side = UNKNOWN_SIDE if side is None else -(-side // self.strides)
        return self.add_weight(
            shape=(2 * side - 1, self.key_size),
            initializer=keras.initializers.RandomNormal(stddev=self.key_size**-0.5),
            name=name,
        )

    def walk(self, state, decide, training=None):
        pooled = state
        if self.strides > 1:
            pooled = ops.average_pool(state, self.strides, self.strides, padding="same")
        attended = self.refine(pooled, decide(0, pooled), 0, training)
        return ops.concatenate([self.convolution(state), attended], axis=-1)

    def propose(self, state, index=0, training=None):
        height, width = ops.shape(state)[1:3]
        heads = (-1, height, width, self.used_heads, self.key_size)
        # In float32, since products overflow under mixed precision.
        query = ops.cast(ops.reshape(self.query(state), heads), "float32") * self.key_size**-0.5
        key = ops.cast(ops.reshape(self.key(state), heads), "float32")
        # Query at row i and column j, key at row y and column x.
        logits = ops.einsum("bijhd,byxhd->bhijyx", query, key)
        if self.relative:
            rows = ops.einsum("bijhd,iyd->bhijy", query, offsets(self.row_table, height))
            columns = ops.einsum("bijhd,jxd->bhijx", query, offsets(self.column_table, width))
            logits = logits + rows[..., None] + columns[..., None, :]
        positions = height * width
        logits = ops.reshape(logits, (-1, self.used_heads, positions, positions))
        return row_stochastic(logits, self.compute_dtype)

    def refine(self, state, action, index=0, training=None):
        """The attention's channels; `walk` concatenates them to those of the convolution."""
        value = rows_of(self.value(state))
        values = value.shape[-1]
        height, width = ops.shape(state)[1:3]
        value = ops.reshape(value, (-1, height * width, self.used_heads, values // self.used_heads))
        attended = ops.einsum("bhqk,bkhd->bqhd", ops.cast(action, value.dtype), value)
        attended = ops.reshape(attended, (-1, height * width, values))
        return maps_of(self.project(attended), like=state)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "strides": self.strides,
            "kernel_size": self.kernel_size,
            "heads": self.heads,
            "key_fraction": self.key_fraction,
            "value_fraction": self.value_fraction,
            "least_key_size": self.least_key_size,
            "relative": self.relative,
            "use_bias": self.use_bias,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


def offsets(table, side):
    """The embedding of each key's offset from each query along one side.

    Args:
        table: float tensor (2 · built side - 1, channels), for the offsets from 1 - built side to
            built side - 1.
        side: int or int tensor. Positions along the side. If it is not the built side, the table is
            stretched: its ends stay the ends, and offset 0 stays in the middle.
    Returns:
        float32 tensor (side, side, channels): query, key.
    Example:
        >>> table = np.float32([[-2], [0], [4]])
        >>> offsets(table, 3)[0, :, 0].numpy().tolist()
        [0.0, 2.0, 4.0]
    """
    table = ops.cast(table, "float32")
    reach = (table.shape[0] - 1) // 2
    positions = ops.arange(side, dtype="int32")
    offset = positions[None, :] - positions[:, None]  # (query, key)
    longest = ops.maximum(positions[-1], 1)
    # Linear interpolation with integer distances: at the built side it returns the entries exactly.
    # A matrix product, unlike a look-up, gives the table a dense gradient.
    entries = ops.arange(-reach, reach + 1, dtype="int32")
    distance = ops.abs(offset[..., None] * reach - entries * longest)
    weights = ops.relu(1 - ops.cast(distance, "float32") / ops.cast(longest, "float32"))
    return ops.matmul(weights, table)
