"""Re-wires a network of any origin so that its attention modules become auxiliary outputs."""

import fnmatch
import math
from typing import NamedTuple

import keras
import tensorflow as tf
from keras import ops

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.keras_internals import layers_inside, node_of
from dreal_tf.layers import AttentionActor
from dreal_tf.networks.attaching.cuts import NoGate, cuts_named, may_be_gate
from dreal_tf.networks.attaching.graph import ATTENTION, FlatGraph, graph_of
from dreal_tf.networks.attaching.insertion import bypass, remove
from dreal_tf.networks.backbones import Attended


class Gate(NamedTuple):
    """An attention map of a network that can become an actor.

    Attributes:
        name: str, the layer to name in `dreal_tf.attach`; gates inside one layer have the same name.
        kind: str, one of `dreal_tf.modules.ACTION_KINDS`.
        state_shape, action_shape: tuples of int or None, without the batch axis.
    """

    name: str
    kind: str
    state_shape: tuple
    action_shape: tuple


@keras.saving.register_keras_serializable("dreal_tf")
class AttachedNetwork(keras.Model):
    """A network with auxiliary outputs that wraps a plain network and shares its layers and weights.

    Args:
        network: functional or Sequential `keras.Model` with one output.
        gates: sequence of str, names or patterns of foreign attention, see `dreal_tf.attach`.
    Attributes:
        plain: the wrapped network.
    Example:
        >>> images = keras.Input((8, 8, 3))
        >>> refined = SqueezeExcite(1, name="first_se")(images)
        >>> logits = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(refined))
        >>> sorted(AttachedNetwork(keras.Model(images, logits)).output["actions"])
        ['first/se']
    """

    def __init__(self, network, gates=(), name=None):
        check_network(network)
        gates = (gates,) if isinstance(gates, str) else tuple(gates)
        inputs, outputs = _rewired(network, gates)
        super().__init__(inputs=inputs, outputs=outputs, name=name or network.name)
        self.plain = network
        self.gates = gates

    def get_config(self):
        plain = keras.saving.serialize_keras_object(self.plain)
        return {"network": plain, "gates": list(self.gates), "name": self.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        plain = keras.saving.deserialize_keras_object(config["network"], custom_objects)
        return cls(**(config | {"network": plain}))

    def without(self, names):
        """A network like this one without some attention, see `dreal_tf.networks.attaching.remove`.

        Args:
            names: collection of str, names of actors.
        Returns:
            Functional `keras.Model` with auxiliary outputs, which has copies of this network's weights.
        """
        copy = keras.models.clone_model(self.plain)
        copy.set_weights(self.plain.get_weights())
        return attached_where(remove(copy, names), self.gates)


def attached(network, gates=()):
    """An `AttachedNetwork`, or the same outputs without modules for a network without attention."""
    check_network(network)
    has_actors = any(isinstance(layer, AttentionActor) for layer in layers_inside(network))
    return AttachedNetwork(network, gates) if gates or has_actors else without_modules(network)


def attached_where(network, gates=None):
    """`attached` with those names or patterns that the network still has; None: all gates it has."""
    gates = gate_names(network) if gates is None else gates
    names = FlatGraph(network).names()
    return attached(network, [gate for gate in gates if fnmatch.filter(names, gate)])


def without_modules(network):
    """The outputs of an `AttachedNetwork`, without modules."""
    outputs = {"logits": network.output, "states": {}, "actions": {}}
    return keras.Model(network.input, outputs, name=network.name)


def with_auxiliary_outputs(network, bare=False):
    """A network with auxiliary outputs: the network itself if it has them, else an `AttachedNetwork`.

    Args:
        network: functional or Sequential `keras.Model`.
        bare: bool. Whether the network may have no attention.
    Returns:
        `keras.Model` whose output is a dict that has `logits`, `states` and `actions`.
    Raises:
        InputError: if the network has neither auxiliary outputs nor attention layers.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> with_auxiliary_outputs(network) is network
        True
    """
    outputs = network.output if isinstance(network, keras.Function) else None
    if isinstance(outputs, dict) and {"logits", "states", "actions"} <= set(outputs):
        return network
    return attached(network) if bare else AttachedNetwork(network)


def find_gates(network: keras.Model) -> list[Gate]:
    """The foreign attention maps of a network that `dreal_tf.attach` can turn into actors.

    Args:
        network: functional or Sequential `keras.Model`.
    Returns:
        List of `Gate`, in depth order.
    Example:
        >>> images = keras.Input((8, 8, 4))
        >>> gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(images)
        >>> gate = keras.layers.Dense(4, activation="sigmoid")(gate)
        >>> gated = keras.layers.Multiply(name="gated")([images, gate])
        >>> logits = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(gated))
        >>> [(gate.name, gate.kind) for gate in find_gates(keras.Model(images, logits))]
        [('gated', 'channel')]
    """
    check_network(network)
    graph = FlatGraph(network, tries=_may_attend)
    candidates = [node.operation.name for node in graph.nodes_in() if may_be_gate(node)]
    cuts = []
    for name in [*graph.regions_in(), *candidates]:
        try:
            cuts += [(name, cut) for cut in cuts_named(graph, name)]
        except (NoGate, InputError):  # One that cannot be attached.
            continue
    cuts.sort(key=lambda pair: graph.rank[id(pair[1].output)])
    return [
        Gate(name, cut.kind, tuple(cut.state.shape[1:]), tuple(cut.action.shape[1:]))
        for name, cut in cuts
    ]


def gate_names(network):
    """The names that `dreal_tf.attach` takes for the gates of `find_gates`, each once, in depth order."""
    return list(dict.fromkeys(gate.name for gate in find_gates(network)))


def check_network(network):
    """Raises an error if a network cannot be re-wired.

    Args:
        network: any object.
    Raises:
        InputError: if it has no graph, or not exactly one output.
    """
    graph = graph_of(network)
    if graph is None:
        raise InputError(
            "Expected a functional or Sequential network that is built, whose graph can be seen. "
            f"Received: {type(network).__name__}. Wrap it: keras.Model(inputs, network(inputs)) of a "
            "functional one; rewrite a subclassed one with the functional API."
        )
    if len(graph.outputs) != 1:
        shapes = [tuple(tensor.shape) for tensor in graph.outputs]
        raise InputError(
            f"Expected a network with one output. Received: {network.name!r} with "
            f"outputs of shapes {shapes}. Make one of the output to be learnt: "
            "keras.Model(network.input, output)."
        )


def _rewired(network, gates):
    """The inputs, and the outputs as a dict of `logits`, `states` and `actions`."""
    graph = FlatGraph(network, _holds_actors)
    chosen = _chosen(graph, gates)
    if gates:
        # First everything is opened, then what holds the chosen attention: the rest stays as it is.
        graph = FlatGraph(network, _holds_actors, _may_attend)
        every = [cut for cuts in _all_cuts(graph, gates, chosen) for cut in cuts]
        opened = {id(layer) for cut in every for layer in cut.opened}
        graph = FlatGraph(network, lambda layer: _holds_actors(layer) or id(layer) in opened)
    cuts = _all_cuts(graph, gates, chosen)
    cuts = list({id(cut.action): cut for pattern_cuts in cuts for cut in pattern_cuts}.values())
    inputs, outputs = wired(graph, cuts)
    if not outputs["actions"]:
        raise _without_attention(network)
    return inputs, outputs


def _all_cuts(graph, gates, chosen):
    """For each pattern, the cuts among the names that it matches."""
    return [_cuts_of(graph, pattern, names) for pattern, names in zip(gates, chosen, strict=True)]


def _holds_actors(layer):
    """Whether a layer contains actors, which its `call` then runs."""
    if isinstance(layer, AttentionActor) or not isinstance(layer, keras.layers.Layer):
        return False
    return any(isinstance(inner, AttentionActor) for inner in layers_inside(layer))


def _may_attend(layer):
    """Whether a layer is attention, or of other origin, so that attention may be in its `call`."""
    return isinstance(layer, ATTENTION) or _of_other_origin(layer)


def _of_other_origin(layer):
    custom = not type(layer).__module__.startswith(("keras.", "dreal_tf."))
    return custom and isinstance(layer, keras.layers.Layer)


def _chosen(graph, gates):
    """For each pattern, the names of the operations that it matches."""
    names = graph.names()
    chosen = [fnmatch.filter(names, pattern) for pattern in gates]
    for pattern, matches in zip(gates, chosen, strict=True):
        if not matches:
            products = [node.operation.name for node in graph.nodes_in() if may_be_gate(node)]
            candidates = [*graph.regions_in(), *products] or names
            raise unknown_name("layer of the network or pattern of layers", pattern, candidates)
    return chosen


def _cuts_of(graph, pattern, names):
    """The cuts among the names that a pattern matches; at least one."""
    cuts, reasons = [], []
    for name in names:
        try:
            cuts += cuts_named(graph, name)
        except NoGate as reason:
            if name in graph.closed and name == pattern:
                raise graph.closed[name] from None
            reasons.append(f"{name!r} is {reason}")
    if not cuts or (reasons and pattern in names):
        more = f"; and {len(reasons) - 3} more" if reasons[3:] else ""
        raise InputError(
            "Expected attention: a gate made of the map that it multiplies, or scores that weigh "
            f"values. Received: gates={pattern!r}, where {'; '.join(reasons[:3])}{more}. Name the "
            "layers that multiply, or attend; `dreal_tf.find_gates(network)` lists those there are."
        )
    return cuts


def _without_attention(network):
    names = gate_names(network)
    if names:
        more = f" and {len(names) - 3} more" if names[3:] else ""
        contents = f"attention of other origin: {', '.join(map(repr, names[:3]))}{more}"
        remedy = "Name it, such as attach(network, gates=" + repr(names) + ")."
        if names[3:]:
            remedy = "Name it by a pattern: attach(network, gates='*...')."
    else:
        contents, remedy = "none", "Put some in with `dreal_tf.insert`."
    return InputError(
        f"Expected a network with attention layers of dreal_tf. Received: {network.name!r}, which has "
        f"{contents}. {remedy}"
    )


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

    is_gate = False
    attention, suffixes, kinds = "gate", ("gate",), ("channel",)  # Each layer has its own.

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
        self.is_gate = self.is_removable = bypass(cut) is not None
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
        if not self.tokens or len(state.shape) == 4:
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


class MaskedActor(ForeignActor):
    """A `ForeignActor` whose queries may not attend to all keys, such as those of causal attention.

    A key that a query may not attend to has the score 0. It stays 0 in the reference action, the mean over
    the other keys, and in a perturbed action.
    """

    def __init__(self, cut):
        super().__init__(cut)
        self.mask = cut.mask

    def propose(self, state, index=0, training=None):
        # A softmax leaves its mask on the tensor, which the next model would warn about.
        return tf.identity(super().propose(state, index, training))

    def reference_action(self, action, reference="mean", index=0):
        if reference != "mean":
            return super().reference_action(action, reference, index)
        return self._spread(action, ops.ones_like(action))

    def perturb_action(self, action, change, index=0):
        return self._spread(action, super().perturb_action(action, change, index))

    def _spread(self, action, scores):
        """The sum of each row of an action, spread over the keys of the mask in proportion to scores."""
        exact = ops.cast(action, "float32")
        scores = ops.cast(scores, "float32") * self.mask.astype("float32")
        totals = ops.sum(exact, axis=-1, keepdims=True)
        scores = ops.divide_no_nan(scores * totals, ops.sum(scores, axis=-1, keepdims=True))
        return ops.cast(scores, action.dtype)


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
            actor = ForeignActor(cut) if cut.mask is None else MaskedActor(cut)
            results = self._attended(actor, self.values[id(cut.state)])
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
