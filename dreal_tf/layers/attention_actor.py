"""The contract of every attention layer: state in, action out, action replaceable."""

import contextlib
import threading
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.modules import (
    ACTION_KINDS,
    AXES,
    SELECTIVE_AXES,
    ModuleOutput,
    ModuleSpec,
    module_name,
    stage_name,
)

# Every form that `keras.regularizers.get` takes.
Regularizer = keras.regularizers.Regularizer | str | dict[str, Any] | None

# Minimum distance of an action from the ends of its domain, at which its logit is infinite.
MARGIN = 1e-6
POSITIONS_IN_BLOCK = ("branch", "stage", "convolution")
_active = threading.local()  # Each replica runs in its own thread.


class Placement(NamedTuple):
    """The positions at which a network inserts the layers of an attention kind, as in its paper.

    Attributes:
        where: one of `POSITIONS_IN_BLOCK`. "branch": after the last BatchNorm of a block's branch;
            "stage": after a block's last activation; "convolution": instead of a block's first 3×3
            convolution. A layer that replaces a convolution has the arguments `filters` and `strides`.
        stages: slice of a network's stages, in depth order.
        blocks: "all" or "last", the blocks of each stage.
    Example:
        >>> Placement(stages=slice(1, 3)).chosen(("conv2", "conv3", "conv4", "conv5"))
        ('conv3', 'conv4')
    """

    where: str = "branch"
    stages: slice = slice(None)
    blocks: str = "all"

    def chosen(self, stages):
        """The stages that get the layer, of a network's stages in depth order (tuple of str)."""
        return tuple(stages[self.stages])


@contextlib.contextmanager
def intervene(decide):
    """Lets `decide` replace the actions of every actor that runs inside the context.

    Args:
        decide: callable (actor, index, state, action) -> action. Each module calls it with the
            `AttentionActor`, the position of the module in it (int), the state and the proposed
            action. It returns the action to apply, of the same shape and dtype.
    Example:
        >>> actor, state = SqueezeExcite(2), np.ones((1, 4, 4, 8), "float32")
        >>> with intervene(lambda actor, index, state, action: 0 * action):
        ...     print(float(keras.ops.max(actor(state))))
        0.0
    """
    previous = getattr(_active, "decide", None)
    _active.decide = decide
    try:
        yield
    finally:
        _active.decide = previous


def decided(actor, index, state, action):
    """The action to apply: the active intervention's, or `action` itself if none is active."""
    decide = getattr(_active, "decide", None)
    return action if decide is None else decide(actor, index, state, action)


def anchored_mean(action, axes):
    """Mean over `axes`, tiled back to the shape of `action`.

    The function adds the mean difference from the first element to that element. The mean of a
    constant is therefore exactly that constant: ablating a constant action changes nothing.

    Args:
        action: float tensor of any shape.
        axes: tuple of int. The axes along which the action selects.
    Returns:
        Float tensor of the shape and dtype of `action`.
    Example:
        >>> anchored_mean(np.float32([[1.0, 3.0], [0.1, 0.1]]), axes=(1,)).numpy().tolist()
        [[2.0, 2.0], [0.10000000149011612, 0.10000000149011612]]
    """
    axes = tuple(axis % len(action.shape) for axis in axes)
    action = ops.convert_to_tensor(action)
    first = action[tuple(slice(0, 1 if axis in axes else None) for axis in range(len(action.shape)))]
    # In float32, since the sum over a large map overflows or stalls under mixed precision.
    difference = ops.cast(action, "float32") - ops.cast(first, "float32")
    mean = ops.cast(first, "float32") + ops.mean(difference, axis=axes, keepdims=True)
    return ops.broadcast_to(ops.cast(mean, action.dtype), ops.shape(action))


class AttentionActor(keras.layers.Layer):
    """Base of attention layers whose attention map is an action.

    A layer has one or more modules. Each module reads a state, proposes an action and refines the
    state with it. A subclass sets `attention`, `suffixes` and `kinds`, and defines how an action is
    proposed (`propose`) and applied (`refine`). By default each module reads the state that the
    previous one refined; a layer with other connections overrides `walk`.

    Class attributes:
        attention: str. The attention kind, also the ending of the layer's name in a network.
        suffixes: tuple of str, one per module: the ending of the module's name.
        kinds: tuple of str, one per module: each one of `ACTION_KINDS`.
        axes: tuple of tuples of str of `AXES`, one per module: the meaning of each axis of a pairwise
            action, without the batch axis; empty for any other kind. Optional if no action is
            pairwise.
        residual: bool. Whether the refined map is the state plus a term that a pairwise action
            weights. An action of zeros, which attends to nothing, then passes the state through.
        starts_as_identity: bool. Whether a new layer passes its state through, whatever its action.
        is_gate: bool. Whether the layer only multiplies its state by its actions.
        is_removable: bool. Whether a network can do without the layer, its state passed on.
        placement: `Placement`, the position of the layer in a network.
    Args:
        blended: bool. Whether the layer starts as an identity: it returns F + b (y - F), with y its
            output otherwise and b a weight that starts at 0. Blending does not change the proposed
            actions, nor the identity and reference actions.
        **kwargs: arguments of `keras.layers.Layer`; a subclass passes them on.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: tensor to apply instead of the layer's own, or a tuple of them, one per module. None
            keeps the layer's own.
        training: bool.
        return_action: bool. Also return the action; a tuple if there are several modules.
        return_modules: bool. Also return the tuple of all `ModuleOutput`s, in order.
        propose_only: int. Return only the action that the module at this position proposes for
            `state`, the module's own state. Interventions do not apply.
    Returns:
        The refined map; with `return_action` or `return_modules` a pair.
    Raises:
        ValueError: if `action` does not have the shape of the layer's own, or a subclass lacks the first
            three class attributes.
    """

    attention = ""
    suffixes = ()
    kinds = ()
    axes = ()
    residual = False
    starts_as_identity = False
    is_removable = True
    placement = Placement()

    def __init__(self, blended: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        missing = [name for name in ("attention", "suffixes", "kinds") if not getattr(self, name)]
        if missing:
            raise InputError(
                "Expected an attention layer that says what its modules are. Received: the class "
                f"{type(self).__name__} without {', '.join(missing)}. Set them as class attributes, such "
                'as attention = "se", suffixes = ("se",), kinds = ("channel",).'
            )
        self.blended = blended
        if blended:  # Optimizers exclude weights named "gamma" from weight decay.
            self.blend = self.add_weight(shape=(), initializer="zeros", name="blend_gamma")

    def propose(self, state, index=0, training=None):
        """The action that module `index` proposes for its state."""
        raise NotImplementedError(f"{type(self).__name__} must say how an action is made.")

    def refine(self, state, action, index=0, training=None):
        """The state that module `index` refines with an action. A gate by default."""
        return state * ops.cast(action, state.dtype)

    def walk(self, state, decide, training=None):
        """Runs the modules in order.

        Args:
            state: float tensor, the layer's input.
            decide: callable (index, state, proposed=None) that returns the action a module applies.
                A `walk` that has already computed the result of `propose` may pass it as `proposed`.
            training: bool.
        Returns:
            The refined map.
        """
        for index in range(len(self.suffixes)):
            state = self.refine(state, decide(index, state), index, training)
        return state

    def reference_action(self, action, reference="mean", index=0):
        """The reference action, which module `index` emits when it is ablated.

        Args:
            action: tensor, the module's own action.
            reference: "mean": the action's mean over the axes along which it selects, for each image
                (uniform attention if rows sum to 1). "identity": the action that passes the state
                through; gates and residual actors have one. A layer cannot compute "static", a mean
                over images: `dreal_tf.method.rewards.ActionReplacer` does.
            index: int. Position of the module in the layer.
        Returns:
            Tensor of the shape and dtype of `action`.
        Raises:
            ValueError: if `reference` is unknown, or the actor has no identity action.
        """
        if reference == "mean":
            return anchored_mean(action, SELECTIVE_AXES[self.kinds[index]])
        if reference == "identity":
            return self.identity_action(action, index)
        raise unknown_name("reference action of a layer", reference, ("mean", "identity"))

    @property
    def is_gate(self):
        own = type(self)
        plain = (own.refine, own.walk) == (AttentionActor.refine, AttentionActor.walk)
        return plain and "pairwise" not in self.kinds

    def has_identity(self, index=0):
        """Whether module `index` has an action that passes its state through."""
        return self.residual or self.kinds[index] != "pairwise"

    def identity_action(self, action, index=0):
        """The action with which module `index` passes its state through."""
        if not self.has_identity(index):
            raise InputError(
                "Expected an actor that can pass its state through, for the reference action "
                f"'identity'. Received: {self.name!r}, whose action mixes positions. Use 'mean'."
            )
        return ops.zeros_like(action) if self.kinds[index] == "pairwise" else ops.ones_like(action)

    def perturb_action(self, action, change, index=0):
        """The action after a change of its logits, which keeps it in its domain.

        A gate becomes sigmoid(logit(A) + change), a row of pairwise attention becomes
        softmax(log A + change). An actor whose action has another domain overrides this.

        Args:
            action: tensor, an action of module `index`.
            change: float tensor of the shape of `action`, in units of the logits.
            index: int. Position of the module in the layer.
        Returns:
            Tensor of the shape and dtype of `action`.
        Example:
            >>> action = np.full((1, 1, 1, 2), 0.5, "float32")
            >>> moved = SqueezeExcite(2).perturb_action(action, np.log(3.0) * np.array([1.0, -1.0]))
            >>> moved.numpy().ravel().round(4).tolist()
            [0.75, 0.25]
        """
        exact = ops.cast(action, "float32")
        change = ops.cast(change, "float32")
        if self.kinds[index] == "pairwise":
            moved = ops.softmax(ops.log(ops.maximum(exact, MARGIN)) + change, axis=-1)
        else:
            inside = ops.clip(exact, MARGIN, 1.0 - MARGIN)
            moved = ops.sigmoid(ops.log(inside) - ops.log1p(-inside) + change)
        return ops.cast(moved, action.dtype)

    def call(
        self,
        state,
        action=None,
        training=None,
        return_action=False,
        return_modules=False,
        propose_only=None,
    ):
        if propose_only is not None:
            return self.propose(state, propose_only, training)
        replacements = action if isinstance(action, (tuple, list)) else (action,)
        if len(replacements) not in (1, len(self.suffixes)):
            raise InputError(
                f"Expected one action for each of the {len(self.suffixes)} modules of {self.name!r}. "
                f"Received: {len(replacements)}. Give None to keep an action of the layer's own."
            )
        replacements = tuple(replacements) + (None,) * (len(self.suffixes) - len(replacements))
        outputs = []

        def decide(index, state, proposed=None):
            applied = self.propose(state, index, training) if proposed is None else proposed
            if replacements[index] is not None:
                applied = self._checked(replacements[index], applied)
            applied = decided(self, index, state, applied)
            outputs.append(ModuleOutput(state, applied))
            return applied

        refined = self._blended(state, self.walk(state, decide, training))
        if return_modules:
            return refined, tuple(outputs)
        if return_action:
            actions = tuple(output.action for output in outputs)
            return refined, actions[0] if len(actions) == 1 else actions
        return refined

    def _blended(self, state, refined):
        if not self.blended:
            return refined
        if not tf.TensorShape(state.shape).is_compatible_with(refined.shape):
            raise InputError(
                "Expected an actor whose output has the shape of its state, for "
                f"`blended`. Received: {self.name!r}, from {tuple(state.shape)} to "
                f"{tuple(refined.shape)}. Omit `blended`."
            )
        return state + ops.cast(self.blend, state.dtype) * (refined - state)

    def get_config(self):
        return super().get_config() | {"blended": self.blended}

    def _checked(self, action, proposed):
        """A given action in the dtype of the proposed one; its shape must match."""
        action = ops.cast(ops.convert_to_tensor(action), proposed.dtype)
        if not tf.TensorShape(action.shape).is_compatible_with(proposed.shape):
            raise InputError(
                f"Expected an action of shape {tuple(proposed.shape)} for {self.name!r}. Received: "
                f"shape {tuple(action.shape)}. Give a tensor of the shape of the layer's own action."
            )
        return action

    def modules(self):
        """The names of the layer's modules, in order."""
        return tuple(module_name(self.name, suffix, self.attention) for suffix in self.suffixes)

    def module_specs(self, steps):
        """Describes the layer's modules from their outputs on symbolic input.

        Args:
            steps: sequence of `ModuleOutput`, one per module of the layer.
        Returns:
            Tuple of `ModuleSpec`.
        """
        indexed = zip(range(len(self.suffixes)), steps, strict=True)
        return tuple(self.module_spec(index, *output) for index, output in indexed)

    def module_spec(self, index, state, action):
        """Describes one module.

        Args:
            index: int. Position of the module in the layer.
            state, action: tensors that it read and emitted; their sizes may be unknown.
        Returns:
            `ModuleSpec`.
        """
        module, axes = self.modules()[index], self.axes[index] if self.axes else ()
        shapes = tuple(state.shape[1:]), tuple(action.shape[1:])
        return ModuleSpec(module, stage_name(module), self.kinds[index], *shapes, axes)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if len(cls.suffixes) != len(cls.kinds) or not set(cls.kinds) <= set(ACTION_KINDS):
            raise TypeError(
                f"Expected one kind of {ACTION_KINDS} for each suffix of {cls.__name__}. Received: "
                f"suffixes={cls.suffixes}, kinds={cls.kinds}. Set one kind per module."
            )
        axes = cls.axes or ((),) * len(cls.kinds)
        known = all(set(names) <= set(AXES) for names in axes)
        complete = [kind == "pairwise" for kind in cls.kinds] == [bool(names) for names in axes]
        if not (known and complete):
            raise TypeError(
                f"Expected `axes` to name, of {AXES}, what each axis of every pairwise action of "
                f"{cls.__name__} stands for. Received: kinds={cls.kinds}, axes={cls.axes}. Set one "
                'tuple per module, such as ("places", "places").'
            )


def rows_of(maps):
    """Maps as rows of features, one row per position.

    Args:
        maps: float tensor (batch, height, width, channels).
    Returns:
        Float tensor (batch, height · width, channels).
    Example:
        >>> tuple(rows_of(np.zeros((2, 3, 5, 4))).shape)
        (2, 15, 4)
    """
    height, width = ops.shape(maps)[1:3]
    return ops.reshape(maps, (-1, height * width, maps.shape[-1]))


def maps_of(rows, like):
    """Rows of features reshaped to maps.

    Args:
        rows: float tensor (batch, height · width, channels).
        like: tensor (batch, height, width, ...) with the height and width of the maps.
    Returns:
        Float tensor (batch, height, width, channels).
    Example:
        >>> tuple(maps_of(np.zeros((2, 15, 4)), like=np.zeros((2, 3, 5, 7))).shape)
        (2, 3, 5, 4)
    """
    height, width = ops.shape(like)[1:3]
    return ops.reshape(rows, (-1, height, width, rows.shape[-1]))


def row_stochastic(logits, dtype):
    """Softmax over the last axis, computed in float32 whatever the precision of the network.

    Args:
        logits: float tensor (..., keys).
        dtype: str, dtype of the result.
    Returns:
        Tensor of the shape of `logits`; rows sum to 1.
    Example:
        >>> row_stochastic(np.float16([[0.0, 0.0]]), "float16").numpy().tolist()
        [[0.5, 0.5]]
    """
    # Not `keras.ops.softmax`, which warns about rows of one key: a map of one position has such rows.
    return ops.cast(tf.nn.softmax(ops.cast(logits, "float32"), axis=-1), dtype)


def attends(action):
    """1 for each image whose action attends to anything, 0 for one whose action is all zeros.

    A residual actor multiplies its branch by this. The identity action thus removes the whole branch,
    including the offset of its BatchNorm.

    Args:
        action: float tensor (batch, ...), values >= 0.
    Returns:
        Tensor (batch, 1, 1, 1) of the dtype of `action`.
    Example:
        >>> attends(np.float32([[[0.5, 0.5]], [[0, 0]]])).numpy().ravel().tolist()
        [1.0, 0.0]
    """
    axes = tuple(range(1, len(action.shape)))
    anything = ops.cast(ops.any(action != 0, axis=axes), action.dtype)
    return ops.reshape(anything, (-1, 1, 1, 1))
