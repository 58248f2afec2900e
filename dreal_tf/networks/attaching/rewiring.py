"""Replaces a gate that the network already has by an actor."""

import math

import keras
from keras import ops

from dreal_tf.errors import InputError
from dreal_tf.keras_internals import node_of
from dreal_tf.layers import AttentionActor
from dreal_tf.networks.backbones import Attended


class ForeignActor(AttentionActor):
    """An actor made from a part of a network's graph, with the layers and weights of that part.

    The graph from state to action proposes, the graph from action to output refines.

    Args:
        cut: `dreal_tf.networks.attaching.cuts.Cut`.
    Call arguments:
        state: float tensor in the network's shape: (batch, height, width, channels), or tokens
            (batch, positions, channels). The actor's module outputs hold tokens as maps: square if
            the number of tokens is a square, else one position wide.
    """

    def __init__(self, cut):
        super().__init__(name=cut.name)
        self.attention = "attention" if cut.kind == "pairwise" else "gate"
        self.suffixes = (self.attention,)
        self.kinds = (cut.kind,)
        self.range = cut.range
        self.proposal = keras.Model(cut.state, cut.action, name="proposal")
        self.refinement = keras.Model([cut.state, cut.action], cut.output, name="refinement")
        self.opened = list(cut.layers)  # Tracks weights that belong to no layer of the two graphs.
        self.tokens = len(cut.state.shape) == 3
        self.built = True

    def propose(self, state, index=0, training=None):
        return self.proposal(self._as_read(state), training=training)

    def refine(self, state, action, index=0, training=None):
        state = self._as_read(state)
        return self.refinement([state, ops.cast(action, state.dtype)], training=training)

    def walk(self, state, decide, training=None):
        state = self._as_map(state)
        return self.refine(state, decide(0, state), 0, training)

    def perturb_action(self, action, change, index=0):
        low, high = self.range
        if self.kinds[0] == "pairwise" or (low, high) == (0.0, 1.0):
            return super().perturb_action(action, change, index)
        exact, change = ops.cast(action, "float32"), ops.cast(change, "float32")
        if math.isinf(low) or math.isinf(high):
            # There are no logits to move; a sigmoid's greatest slope, 1/4, scales the change instead.
            moved = ops.clip(exact + change / 4, low, high)
        else:
            fraction = super().perturb_action((exact - low) / (high - low), change, index)
            moved = low + (high - low) * fraction
        return ops.cast(moved, action.dtype)

    def module_specs(self, steps):
        if self.kinds == ("pairwise",):
            ((state, action),) = steps
            self.axes = (_axes_of(state.shape[1:3], action.shape[1:]),)
        return super().module_specs(steps)

    def _as_map(self, state):
        """Reshapes tokens to a map."""
        if not self.tokens:
            return state
        positions, channels = state.shape[1:]
        side = None if positions is None else math.isqrt(positions)
        if side is not None and side**2 == positions:
            return ops.reshape(state, (-1, side, side, channels))
        return ops.expand_dims(state, 2)

    def _as_read(self, state):
        """Reshapes a map to the tokens that the network reads."""
        if not self.tokens or len(state.shape) == 3:
            return state
        height, width = ops.shape(state)[1:3]
        return ops.reshape(state, (-1, height * width, state.shape[-1]))


def _axes_of(sides, shape):
    """The meanings of the axes of scores ([heads,] queries, keys) over a map."""
    positions = None if None in sides else sides[0] * sides[1]
    axes = ["places" if side == positions else "members" for side in shape[-2:]]
    return ("heads", *axes) if len(shape) == 3 else tuple(axes)


def wired(graph, cuts):
    """The inputs of a network, and its outputs with the states and actions of its modules.

    Args:
        graph: `FlatGraph`.
        cuts: sequence of `Cut`, each of which becomes a `ForeignActor`.
    Returns:
        Structure of symbolic tensors, and dict of `logits`, `states` and `actions`.
    Raises:
        InputError: if two actors have one name.
    """
    walk = _Walk(graph, cuts)
    for node in graph.nodes:
        if id(node) in walk.needed:
            walk.take(node)
    inputs = keras.tree.pack_sequence_as(graph.inputs, walk.inputs)
    logits = walk.values[id(graph.output)]
    return inputs, {"logits": logits, "states": walk.states, "actions": walk.actions}


class _Walk:
    """One walk through the graph, which maps ids of old tensors to new tensors."""

    def __init__(self, graph, cuts):
        self.states, self.actions = {}, {}
        self.cuts = {id(cut.output): cut for cut in cuts}
        old = keras.tree.flatten(graph.inputs)
        self.inputs = [
            keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)
            for tensor in old
        ]
        self.values = {id(tensor): new for tensor, new in zip(old, self.inputs, strict=True)}
        self.needed = self._needed(graph.output)

    def _needed(self, output):
        """Ids of the nodes that are still needed once actors compute the outputs of cuts."""
        needed, pending = set(), [output]
        while pending:
            tensor = pending.pop()
            node = node_of(tensor)
            if id(node) not in needed:
                needed.add(id(node))
                cut = self.cuts.get(id(tensor))
                pending += [cut.state] if cut else node.input_tensors
        return needed

    def take(self, node):
        cut = self.cuts.get(id(node.outputs[0]))
        if cut is not None:
            results = self._attended(ForeignActor(cut), self.values[id(cut.state)])
        else:
            args, kwargs = node.arguments.fill_in(self.values)
            actor = isinstance(node.operation, AttentionActor)
            call = (
                (lambda *a, **k: self._attended(node.operation, *a, **k)) if actor else node.operation
            )
            results = call(*args, **kwargs)
        results = keras.tree.flatten(results)
        self.values |= {id(old): new for old, new in zip(node.outputs, results, strict=True)}

    def _attended(self, actor, *args, return_action=False, return_modules=False, **kwargs):
        """Calls an actor, records its module outputs and returns the outputs that the call requests."""
        refined, outputs = Attended(actor)(*args, **kwargs)
        for module, output in zip(actor.modules(), outputs, strict=True):
            if module in self.states:
                raise InputError(
                    "Expected each attention layer in one place, under a name of its own. Received: "
                    f"{module!r} twice. Give each place a layer of its own."
                )
            self.states[module], self.actions[module] = output
        if return_modules:
            return refined, outputs
        return (refined, *(output.action for output in outputs)) if return_action else refined
