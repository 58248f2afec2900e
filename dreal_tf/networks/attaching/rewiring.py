"""Wires a flat graph again, with actors that return their module outputs."""

import keras

from dreal_tf.errors import InputError
from dreal_tf.keras_internals import node_of
from dreal_tf.layers import AttentionActor
from dreal_tf.networks.attaching.foreign_actor import ForeignActor
from dreal_tf.networks.backbones import Attended


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
