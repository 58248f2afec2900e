"""The extra pass: a network run again from its actors on, for rows that each change one step."""

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.keras_internals import nodes_of, takes_training
from dreal_tf.networks.backbones import actor_of


class ExtraPass:
    """Runs again what a changed action can reach, and nothing else.

    A row stands for an image with one step changed. Up to the actor of that step it is what the
    factual pass has computed, so it joins the others there. All rows go through the same layers
    together, whatever the number of actors.

    Args:
        network: functional `keras.Model` with auxiliary outputs, see `DREAL`.
        actors: sequence of `AttentionActor`, at which rows join, in that order.
    Attributes:
        factual: `keras.Model`, the network with one more output: `borders`, the list of tensors
            that rows are taken from when they join.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> extra_pass = ExtraPass(network, actors_of(network))
        >>> outputs = extra_pass.factual(np.random.rand(5, 8, 8, 1).astype("float32"))
        >>> again = extra_pass(outputs["borders"], np.int32([4, 0, 1]), begins=[0, 2, 2, 3])
        >>> bool(np.allclose(again, tf.gather(outputs["logits"], [4, 0, 1]), atol=1e-5))
        True
    """

    def __init__(self, network, actors):
        self.logits = network.output["logits"]
        self.plan, borders = _planned(keras.Model(network.input, self.logits), actors)
        self.places = {id(tensor): place for place, tensor in enumerate(borders)}
        self.factual = keras.Model(
            network.input, {**network.output, "borders": borders}, name=network.name
        )

    def __call__(self, borders, positions, begins):
        """The logits of all rows, at inference.

        Args:
            borders: list of tensors (batch, ...), what the factual pass gave.
            positions: int32 tensor (rows,). Position of each row's image in these.
            begins: sequence of int scalars, one more than there are actors: the first row that joins
                at each, and the number of rows.
        Returns:
            Float tensor (rows, classes).
        """
        walk = _Walk(self.places, borders, positions, begins)
        for node, joined in self.plan:
            walk.take(node, joined)
        return walk.values[id(self.logits)]


class _Walk:
    """One walk through the plan: what has been computed, and of how many groups of rows."""

    def __init__(self, places, borders, positions, begins):
        self.places = places
        self.borders = borders
        self.positions = positions
        self.begins = begins
        self.values, self.joined, self.completed, self.late = {}, {}, {}, {}

    def take(self, node, joined):
        inputs = {id(tensor): self._rows(id(tensor), joined) for tensor in node.input_tensors}
        arguments, options = node.arguments.fill_in(inputs)
        if takes_training(node.operation):
            options["training"] = False
        results = keras.tree.flatten(node.operation(*arguments, **options))
        for tensor, result in zip(node.outputs, results, strict=True):
            self.values[id(tensor)], self.joined[id(tensor)] = result, joined

    def _rows(self, tensor, joined):
        """The value of a tensor for the first `joined` groups."""
        have = self.joined.get(tensor, 0)
        if have == joined:
            return self.values[tensor]
        if (tensor, joined) not in self.completed:
            late = tf.gather(self.borders[self.places[tensor]], self._positions(have, joined))
            whole = tf.concat([self.values[tensor], late], axis=0) if have else late
            self.completed[tensor, joined] = whole
        return self.completed[tensor, joined]

    def _positions(self, have, joined):
        """Where the images of the rows stand that join after group `have` and up to `joined`."""
        if all(isinstance(begin, int) for begin in self.begins):
            if not self.late:  # Cut at once.
                sizes = np.diff(self.begins).tolist()
                self.late |= dict(enumerate(tf.split(self.positions, sizes, axis=0)))
            parts = [self.late[group] for group in range(have, joined)]
            return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)
        return self.positions[self.begins[have] : self.begins[joined]]


def _planned(network, actors):
    """The nodes that a changed action reaches, each with how many groups of rows pass it, and the
    tensors of which late groups need the factual value."""
    groups = {actor: group for group, actor in enumerate(dict.fromkeys(actors), start=1)}
    plan, joined, borders = [], {}, {}
    for node in nodes_of(network):
        present = [joined.get(id(tensor), 0) for tensor in node.input_tensors]
        passing = max([groups.get(actor_of(node.operation), 0), *present])
        if not passing:
            continue
        plan.append((node, passing))
        for tensor, count in zip(node.input_tensors, present, strict=True):
            if count < passing:
                borders[id(tensor)] = tensor
        joined |= {id(tensor): passing for tensor in node.outputs}
    return plan, list(borders.values())
