"""The contract of every attention layer: state in, action out, action replaceable."""

import contextlib
import threading
from typing import NamedTuple

import keras
import tensorflow as tf
from keras import ops

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.modules import (
    ACTION_KINDS,
    AXES,
    SELECTIVE_AXES,
    Step,
    StepSpec,
    module_name,
    stage_name,
)

# Least distance of an action to the ends of its domain, where a logit would be infinite.
MARGIN = 1e-6
PLACES = ("branch", "stage", "convolution")
_active = threading.local()  # Replicas run in threads of their own.


class Placement(NamedTuple):
    """Where the layers of an attention kind stand, as its paper has it.

    Attributes:
        where: "branch": after the last BatchNorm of a block's branch; "stage": after a block's last
            activation; "convolution": in place of a block's first 3×3 convolution. A layer that takes the
            place of a convolution takes arguments `filters` and `strides`.
        stages: slice of a network's stages, in depth order.
        blocks: "all" or "last" of each stage.
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
        decide: callable (actor, index, state, action) -> action, called for each step as it
            happens: the `AttentionActor`, the position of the step in it (int), the state and the
            action it proposes. It returns the action to apply, of the same shape and dtype.
    Example:
        >>> actor, state = SqueezeExcite(2), np.ones((1, 4, 4, 8), "float32")
        >>> with intervene(lambda actor, index, state, action: 0 * action):
        ...     print(float(keras.ops.max(actor(state))))
        0.0
    """
    before = getattr(_active, "decide", None)
    _active.decide = decide
    try:
        yield
    finally:
        _active.decide = before


def decided(actor, index, state, action):
    """The action to apply: the active intervention's, or `action` itself where none is active."""
    decide = getattr(_active, "decide", None)
    return action if decide is None else decide(actor, index, state, action)


def anchored_mean(action, axes):
    """Mean over `axes`, tiled back to the shape of `action`.

    The mean of the differences to the first element is added to that element, so that the mean of
    a constant is that constant to the last bit: ablating a constant action changes nothing.

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
    # float32, or the sum over a large map overflows or stalls under mixed precision.
    difference = ops.cast(action, "float32") - ops.cast(first, "float32")
    mean = ops.cast(first, "float32") + ops.mean(difference, axis=axes, keepdims=True)
    return ops.broadcast_to(ops.cast(mean, action.dtype), ops.shape(action))


class AttentionActor(keras.layers.Layer):
    """Base of attention layers whose attention map is an action.

    A layer takes one or more steps. In each it reads a state, proposes an action and refines the
    state with it. A subclass sets `attention`, `suffixes` and `kinds`, and says how an action is
    made (`propose`) and applied (`refine`). By default steps follow one another, each reading what
    the one before refined; a layer wired otherwise overrides `walk`.

    Class attributes:
        attention: str. The attention kind, also the ending of the layer's name in a network.
        suffixes: tuple of str. One per step, the ending of the step's module name.
        kinds: tuple of str. One per step, each one of `ACTION_KINDS`.
        axes: tuple of tuples of str of `AXES`. One per step: what each axis of a pairwise action
            stands for, the batch left out; empty for any other kind. May be left out where no
            action is pairwise.
        residual: bool. Whether the refined map is the state plus what a pairwise action makes of
            it, so that an action of zeros, which attends to nothing, passes the state through.
        starts_as_identity: bool. Whether a new layer passes its state through, whatever its action.
        placement: `Placement`, where the layer stands in a network.
    Args:
        blended: bool. Whether the layer starts as if it were not there: it gives F + b (y - F), y
            being what it would give and b a weight that starts at 0. Actions stay what they are, and
            so do the action that passes a state through and the one of an ablated step.
        **kwargs: those of `keras.layers.Layer`; a subclass hands on what it does not know.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: tensor to apply instead of the layer's own, or a tuple of them (None keeps the
            layer's own), one per step.
        training: bool.
        return_action: bool. Also return the action; a tuple where there are several steps.
        return_steps: bool. Also return the tuple of all `Step`s, in order.
        propose_only: int. Return only the action that the step of this position proposes, `state`
            being that step's own state. Interventions are not asked.
    Returns:
        The refined map; with `return_action` or `return_steps` a pair.
    Raises:
        ValueError: if `action` does not have the shape of the layer's own.
    """

    attention = ""
    suffixes = ()
    kinds = ()
    axes = ()
    residual = False
    starts_as_identity = False
    placement = Placement()

    def __init__(self, blended=False, **kwargs):
        super().__init__(**kwargs)
        self.blended = blended
        if blended:  # Optimizers leave what is called "gamma" out of weight decay.
            self.blend = self.add_weight(shape=(), initializer="zeros", name="blend_gamma")

    def propose(self, state, index=0, training=None):
        """The action of step `index` for its state."""
        raise NotImplementedError(f"{type(self).__name__} must say how an action is made.")

    def refine(self, state, action, index=0, training=None):
        """What step `index` makes of its state with an action. A gate by default."""
        return state * ops.cast(action, state.dtype)

    def walk(self, state, decide, training=None):
        """Takes the steps in order.

        Args:
            state: float tensor, what the layer was given.
            decide: callable (index, state, proposed=None) that gives the action to apply in a step;
                a walk that has what `propose` would give may pass it.
            training: bool.
        Returns:
            The refined map.
        """
        for index in range(len(self.suffixes)):
            state = self.refine(state, decide(index, state), index, training)
        return state

    def baseline_action(self, action, baseline="mean", index=0):
        """The action that step `index` emits when it is ablated.

        Args:
            action: tensor, the step's own action.
            baseline: "mean": the action's mean over the axes along which it selects, for each image
                (uniform attention where rows sum to 1); "identity": the action that changes
                nothing, which gates and residual actors have. ("static" is a mean over images, which a layer
                cannot know: see `dreal_tf.method.rewards.Alternatives`.)
            index: int. Position of the step in the layer.
        Returns:
            Tensor of the shape and dtype of `action`.
        Raises:
            ValueError: if the baseline is unknown, or the actor has no identity action.
        """
        if baseline == "mean":
            return anchored_mean(action, SELECTIVE_AXES[self.kinds[index]])
        if baseline == "identity":
            return self.identity_action(action, index)
        raise unknown_name("baseline action of a layer", baseline, ("mean", "identity"))

    def has_identity(self, index=0):
        """Whether there is an action with which step `index` passes its state through."""
        return self.residual or self.kinds[index] != "pairwise"

    def identity_action(self, action, index=0):
        """The action with which step `index` passes its state through."""
        if not self.has_identity(index):
            raise InputError(
                "Expected an actor that can pass its state through, for the baseline 'identity'. "
                f"Received: {self.name!r}, whose action mixes places. Use the baseline 'mean'."
            )
        return ops.zeros_like(action) if self.kinds[index] == "pairwise" else ops.ones_like(action)

    def moved_action(self, action, change, index=0):
        """The action after a change of its logits: it stays in its own domain.

        A gate moves to sigmoid(logit(A) + change), a row of pairwise attention to
        softmax(log A + change). An actor whose action has another domain overrides this.

        Args:
            action: tensor, an action of step `index`.
            change: float tensor of the shape of `action`, in units of the logits.
            index: int. Position of the step in the layer.
        Returns:
            Tensor of the shape and dtype of `action`.
        Example:
            >>> action = np.full((1, 1, 1, 2), 0.5, "float32")
            >>> moved = SqueezeExcite(2).moved_action(action, np.log(3.0) * np.array([1.0, -1.0]))
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
        return_steps=False,
        propose_only=None,
    ):
        if propose_only is not None:
            return self.propose(state, propose_only, training)
        given = action if isinstance(action, (tuple, list)) else (action,)
        if len(given) not in (1, len(self.suffixes)):
            raise InputError(
                f"Expected one action for each of the {len(self.suffixes)} steps of {self.name!r}. "
                f"Received: {len(given)}. Give None for a step that keeps its own action."
            )
        given = tuple(given) + (None,) * (len(self.suffixes) - len(given))
        steps = []

        def decide(index, state, proposed=None):
            applied = self.propose(state, index, training) if proposed is None else proposed
            if given[index] is not None:
                applied = self._checked(given[index], applied)
            applied = decided(self, index, state, applied)
            steps.append(Step(state, applied))
            return applied

        refined = self._blended(state, self.walk(state, decide, training))
        if return_steps:
            return refined, tuple(steps)
        if return_action:
            actions = tuple(step.action for step in steps)
            return refined, actions[0] if len(actions) == 1 else actions
        return refined

    def _blended(self, state, refined):
        if not self.blended:
            return refined
        if not tf.TensorShape(state.shape).is_compatible_with(refined.shape):
            raise InputError(
                "Expected an actor that gives a map of the size and width of its state, for "
                f"`blended`. Received: {self.name!r}, from {tuple(state.shape)} to "
                f"{tuple(refined.shape)}. Leave `blended` out."
            )
        return state + ops.cast(self.blend, state.dtype) * (refined - state)

    def get_config(self):
        return super().get_config() | {"blended": self.blended}

    def _checked(self, given, own):
        given = ops.cast(ops.convert_to_tensor(given), own.dtype)
        if not tf.TensorShape(given.shape).is_compatible_with(own.shape):
            raise InputError(
                f"Expected an action of shape {tuple(own.shape)} for {self.name!r}. Received: "
                f"shape {tuple(given.shape)}. Give a tensor of the shape of the layer's own action."
            )
        return given

    def modules(self):
        """The module names of the layer's steps, in order."""
        return tuple(module_name(self.name, suffix, self.attention) for suffix in self.suffixes)

    def step_specs(self, steps):
        """Describes the steps that the layer emitted on symbolic input.

        Args:
            steps: sequence of `Step`, one per step of the layer.
        Returns:
            Tuple of `StepSpec`.
        """
        counted = zip(range(len(self.suffixes)), steps, strict=True)
        return tuple(self.step_spec(index, *step) for index, step in counted)

    def step_spec(self, index, state, action):
        """Describes one step.

        Args:
            index: int. Position of the step in the layer.
            state, action: tensors, what it read and emitted; their sizes may be unknown.
        Returns:
            `StepSpec`.
        """
        module, axes = self.modules()[index], self.axes[index] if self.axes else ()
        shapes = tuple(state.shape[1:]), tuple(action.shape[1:])
        return StepSpec(module, stage_name(module), self.kinds[index], *shapes, axes)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if len(cls.suffixes) != len(cls.kinds) or not set(cls.kinds) <= set(ACTION_KINDS):
            raise TypeError(
                f"Expected one kind of {ACTION_KINDS} for each suffix of {cls.__name__}. Received: "
                f"suffixes={cls.suffixes}, kinds={cls.kinds}. Set one kind per step."
            )
        axes = cls.axes or ((),) * len(cls.kinds)
        known = all(set(step) <= set(AXES) for step in axes)
        named = [kind == "pairwise" for kind in cls.kinds] == [bool(step) for step in axes]
        if not (known and named):
            raise TypeError(
                f"Expected `axes` to name, of {AXES}, what each axis of every pairwise action of "
                f"{cls.__name__} stands for. Received: kinds={cls.kinds}, axes={cls.axes}. Set one "
                'tuple per step, such as ("places", "places").'
            )
