"""Criss-cross attention."""

from typing import Any

import keras
from keras import ops

from dreal_tf.errors import InputError
from dreal_tf.layers.attention_actor import (
    MARGIN,
    AttentionActor,
    Placement,
    Regularizer,
    row_stochastic,
)

MASKED = float("-inf")


@keras.saving.register_keras_serializable("dreal_tf")
class CrissCross(AttentionActor):
    """Each position attends to its column and its row: A = softmax(q·k), y = F + gamma · Σ A·v.

    The keys of a position are the positions of its column, then those of its row. The position itself
    is masked in the column, so that it is a key only once. With two modules, every position reaches
    every other. gamma is learnt and starts at 0.

    Args:
        recurrence: int, 1 or 2. Number of modules; they share all weights. Paper: 2.
        kernel_regularizer: Keras regularizer of the kernels of query, key and value, or None.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: float tensor (batch, height, width, height + width) to apply instead of the layer's
            own, or None; a tuple of them if there are two modules.
    Returns:
        Tensor shaped like `state`; with `return_action=True`, also the action, a tuple of two if
        there are two modules. Rows sum to 1; masked keys are 0.
    Raises:
        ValueError: if `recurrence` is neither 1 nor 2.
    Example:
        >>> refined, actions = CrissCross()(np.ones((2, 3, 4, 16)), return_action=True)
        >>> tuple(refined.shape), [tuple(action.shape) for action in actions]
        ((2, 3, 4, 16), [(2, 3, 4, 7), (2, 3, 4, 7)])
    Source: Huang, Wang, Huang, Huang, Wei, Liu, "CCNet: Criss-Cross Attention for Semantic
    Segmentation", ICCV 2019, arXiv 1811.11721, equations 1-2. The mask, the width of query and key
    (channels // 8, here at least 1) and gamma follow the authors' code. Differences from the paper:
    the network, not the layer, provides the convolutions before and after it.
    """

    attention = "ccnet"
    suffixes = ("ccnet_1", "ccnet_2")
    kinds = ("pairwise", "pairwise")
    axes = (("rows", "columns", "cross"),) * 2
    residual = True
    starts_as_identity = True
    placement = Placement("stage", slice(-1, None), "last")

    def __init__(
        self, recurrence: int = 2, kernel_regularizer: Regularizer = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if recurrence not in (1, 2):
            raise InputError(
                f"`recurrence` must be 1 or 2. Received: recurrence={recurrence}. With 2 every "
                "position already reaches every other. Choose 1 or 2."
            )
        self.recurrence = recurrence
        self.suffixes = type(self).suffixes[:recurrence]
        self.kinds = type(self).kinds[:recurrence]
        self.axes = type(self).axes[:recurrence]
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, state_shape):
        channels = state_shape[-1]
        hidden = max(1, channels // 8)
        for name, units in (("query", hidden), ("key", hidden), ("value", channels)):
            layer = keras.layers.Dense(
                units,
                kernel_regularizer=self.kernel_regularizer,
                dtype=self.dtype_policy,
                name=name,
            )
            layer.build(state_shape)
            setattr(self, name, layer)
        self.gamma = self.add_weight(shape=(), initializer="zeros", name="gamma")

    def propose(self, state, index=0, training=None):
        # In float32, since unscaled products overflow under mixed precision.
        query = ops.cast(self.query(state), "float32")
        key = ops.cast(self.key(state), "float32")
        # Query at row i and column j; k runs along the column, then along the row.
        column = ops.einsum("bijc,bkjc->bijk", query, key)
        row = ops.einsum("bijc,bikc->bijk", query, key)
        logits = ops.concatenate([column, row], axis=-1)
        return row_stochastic(ops.where(valid_keys(logits), logits, MASKED), self.compute_dtype)

    def refine(self, state, action, index=0, training=None):
        value = self.value(state)
        action = ops.cast(action, value.dtype)
        height = ops.shape(state)[1]
        aggregate = ops.einsum("bijk,bkjc->bijc", action[..., :height], value)
        aggregate = aggregate + ops.einsum("bijk,bikc->bijc", action[..., height:], value)
        return state + self.gamma * aggregate

    def reference_action(self, action, reference="mean", index=0):
        """The reference action; the mean is over the valid keys, and masked keys stay 0."""
        if reference != "mean":
            return super().reference_action(action, reference, index)
        action = ops.convert_to_tensor(action)
        height, width = ops.shape(action)[1:3]
        valid = valid_keys(action)
        exact = ops.cast(action, "float32")
        # As in `anchored_mean`, the mean of a constant is that constant. All keys of the row are valid.
        first = exact[..., -1:]
        difference = ops.where(valid, exact - first, 0.0)
        keys = ops.cast(height + width - 1, "float32")
        mean = first + ops.sum(difference, axis=-1, keepdims=True) / keys
        return ops.cast(ops.where(valid, mean, 0.0), action.dtype)

    def perturb_action(self, action, change, index=0):
        """The action after a change of its logits; masked keys stay 0."""
        action = ops.convert_to_tensor(action)
        logits = ops.log(ops.maximum(ops.cast(action, "float32"), MARGIN))
        logits = logits + ops.cast(change, "float32")
        return row_stochastic(ops.where(valid_keys(action), logits, MASKED), action.dtype)

    def get_config(self):
        return super().get_config() | {
            "recurrence": self.recurrence,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


def valid_keys(action):
    """A mask of the valid keys of a criss-cross action: all but the query itself in its column.

    Args:
        action: tensor (batch, height, width, height + width).
    Returns:
        Bool tensor (height, 1, height + width).
    Example:
        >>> valid_keys(np.zeros((1, 2, 3, 5)))[1, 0].numpy().tolist()
        [True, False, True, True, True]
    """
    height, width = ops.shape(action)[1:3]
    return ops.arange(height + width)[None, None, :] != ops.arange(height)[:, None, None]
