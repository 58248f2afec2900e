"""An attention map that a network brings along, as an actor."""

import math

import keras
from keras import ops

from dreal_tf.layers import AttentionActor


class ForeignActor(AttentionActor):
    """An actor made of a part of a network's graph, with that part's own layers and weights.

    What lies between state and action proposes, what lies between action and output refines.

    Args:
        cut: `dreal_tf.networks.attaching.cuts.Cut`.
    Call arguments:
        state: float tensor, as the network has it: (batch, height, width, channels), or tokens
            (batch, places, channels), which the actor's steps have laid out as maps: square where
            their number is a square, else one place wide.
    """

    def __init__(self, cut):
        super().__init__(name=cut.name)
        self.attention = "attention" if cut.kind == "pairwise" else "gate"
        self.suffixes = (self.attention,)
        self.kinds = (cut.kind,)
        self.range = cut.range
        self.proposal = keras.Model(cut.state, cut.action, name="proposal")
        self.refinement = keras.Model([cut.state, cut.action], cut.output, name="refinement")
        self.opened = list(cut.layers)  # Holds weights that are in no layer of the two graphs.
        self.tokens = len(cut.state.shape) == 3
        self.built = True

    def propose(self, state, index=0, training=None):
        return self.proposal(self._as_given(state), training=training)

    def refine(self, state, action, index=0, training=None):
        given = self._as_given(state)
        return self.refinement([given, ops.cast(action, given.dtype)], training=training)

    def walk(self, state, decide, training=None):
        state = self._laid_out(state)
        return self.refine(state, decide(0, state), 0, training)

    def moved_action(self, action, change, index=0):
        low, high = self.range
        if self.kinds[0] == "pairwise" or (low, high) == (0.0, 1.0):
            return super().moved_action(action, change, index)
        exact, change = ops.cast(action, "float32"), ops.cast(change, "float32")
        if math.isinf(low) or math.isinf(high):
            # No logits to move: a fourth of the change, as of a sigmoid where it is steepest.
            moved = ops.clip(exact + change / 4, low, high)
        else:
            share = super().moved_action((exact - low) / (high - low), change, index)
            moved = low + (high - low) * share
        return ops.cast(moved, action.dtype)

    def step_specs(self, steps):
        if self.kinds == ("pairwise",):
            ((state, action),) = steps
            self.axes = (_axes_of(state.shape[1:3], action.shape[1:]),)
        return super().step_specs(steps)

    def _laid_out(self, state):
        """Tokens as a map."""
        if not self.tokens:
            return state
        places, channels = state.shape[1:]
        side = None if places is None else math.isqrt(places)
        if side is not None and side**2 == places:
            return ops.reshape(state, (-1, side, side, channels))
        return ops.expand_dims(state, 2)

    def _as_given(self, state):
        """A map as the tokens that it was laid out from."""
        if not self.tokens or len(state.shape) == 3:
            return state
        height, width = ops.shape(state)[1:3]
        return ops.reshape(state, (-1, height * width, state.shape[-1]))


def _axes_of(sides, shape):
    """What the axes of scores ([heads,] queries, keys) over a map stand for."""
    places = None if None in sides else sides[0] * sides[1]
    axes = ["places" if side == places else "members" for side in shape[-2:]]
    return ("heads", *axes) if len(shape) == 3 else tuple(axes)
