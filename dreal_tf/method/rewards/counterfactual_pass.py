"""The counterfactual pass: a network run again, each row with the action of one module replaced.

`CounterfactualPass` runs what a replaced action can reach; `CounterfactualActions` replaces the
actions while it runs; `ActionReplacer` computes the replacements.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.keras_internals import nodes_of, takes_training
from dreal_tf.layers.attention_actor import AttentionActor, anchored_mean
from dreal_tf.method.rows import concat_rows, expand_dims_like, group_by_shape
from dreal_tf.method.types import CounterfactualAction
from dreal_tf.networks.backbones import actor_of

REFERENCE_ACTIONS = ("mean", "static", "identity")
KINDS = ("reference", "permuted", "noise")
_OF_ACTOR = (
    "reference_action",
    "identity_action",
    "perturb_action",
)  # Methods that an actor may override.


class CounterfactualPass:
    """Runs again what a replaced action can reach, and nothing else.

    A row is an image with one module's action replaced. Before that module's actor it is what the
    factual pass has computed, so the row joins the others there. All rows go through the same layers
    together, whatever the number of actors.

    Args:
        network: functional `keras.Model` with auxiliary outputs, see `DREAL`.
        actors: sequence of `AttentionActor`, or of operations that hold some, at which rows join, in that
            order.
    Attributes:
        factual: `keras.Model`, the network with one more output: `cached_activations`, the list of
            tensors that rows are taken from when they join.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> counterfactual = CounterfactualPass(network, actors_of(network))
        >>> outputs = counterfactual.factual(np.random.rand(5, 8, 8, 1).astype("float32"))
        >>> cached = outputs["cached_activations"]
        >>> again = counterfactual(cached, np.int32([4, 0, 1]), row_splits=[0, 2, 2, 3])
        >>> bool(np.allclose(again, tf.gather(outputs["logits"], [4, 0, 1]), atol=1e-5))
        True
    """

    def __init__(self, network, actors):
        self.logits = network.output["logits"]
        self.plan, cached = _planned(keras.Model(network.input, self.logits), actors)
        self.positions = {id(tensor): position for position, tensor in enumerate(cached)}
        self.factual = keras.Model(
            network.input, {**network.output, "cached_activations": cached}, name=network.name
        )

    def __call__(self, cached_activations, images, row_splits):
        """The logits of all rows, at inference.

        Args:
            cached_activations: list of tensors (batch, ...), from the factual pass.
            images: int32 tensor (rows,). Position of each row's image in these.
            row_splits: sequence of int scalars, one more than there are actors: the first row that
                joins at each, and the number of rows.
        Returns:
            Float tensor (rows, classes).
        """
        walk = _Walk(self.positions, cached_activations, images, row_splits)
        for node, joined in self.plan:
            walk.run(node, joined)
        return walk.values[id(self.logits)]


class _Walk:
    """One run of the plan: the tensors computed so far, each with how many groups of rows it has."""

    def __init__(self, positions, cached_activations, images, row_splits):
        self.positions = positions
        self.cached_activations = cached_activations
        self.images = images
        self.row_splits = row_splits
        self.values, self.joined, self.completed, self.late = {}, {}, {}, {}

    def run(self, node, joined):
        inputs = {id(tensor): self._rows(id(tensor), joined) for tensor in node.input_tensors}
        arguments, options = node.arguments.fill_in(inputs)
        if takes_training(node.operation):
            options["training"] = False
        results = keras.tree.flatten(node.operation(*arguments, **options))
        for tensor, result in zip(node.outputs, results, strict=True):
            self.values[id(tensor)], self.joined[id(tensor)] = result, joined

    def _rows(self, tensor, joined):
        """The value of a tensor for the first `joined` groups: (rows so far, ...)."""
        have = self.joined.get(tensor, 0)
        if have == joined:
            return self.values[tensor]
        if (tensor, joined) not in self.completed:
            cached = self.cached_activations[self.positions[tensor]]  # (batch, ...)
            late = tf.gather(cached, self._images(have, joined))  # (rows that join, ...)
            whole = tf.concat([self.values[tensor], late], axis=0) if have else late
            self.completed[tensor, joined] = whole
        return self.completed[tensor, joined]

    def _images(self, have, joined):
        """The images of the rows that join after group `have`, up to group `joined`: (rows,)."""
        if all(isinstance(split, int) for split in self.row_splits):
            if not self.late:  # One split for all groups.
                sizes = np.diff(self.row_splits).tolist()
                self.late |= dict(enumerate(tf.split(self.images, sizes, axis=0)))
            parts = [self.late[group] for group in range(have, joined)]
            return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)
        return self.images[self.row_splits[have] : self.row_splits[joined]]


def _planned(network, actors):
    """The nodes that a replaced action reaches, each with the number of groups of rows that pass it,
    and the tensors of which later groups need the factual value."""
    groups = {actor: group for group, actor in enumerate(dict.fromkeys(actors), start=1)}
    plan, joined, cached = [], {}, {}
    for node in nodes_of(network):
        present = [joined.get(id(tensor), 0) for tensor in node.input_tensors]
        actor = actor_of(node.operation) or node.operation
        passing = max([groups.get(actor, 0), *present])
        if not passing:
            continue
        plan.append((node, passing))
        for tensor, count in zip(node.input_tensors, present, strict=True):
            if count < passing:
                cached[id(tensor)] = tensor
        joined |= {id(tensor): passing for tensor in node.outputs}
    return plan, list(cached.values())


class CounterfactualActions:
    """An intervention (see `dreal_tf.layers.intervene`) that replaces actions as a plan says, row by row.

    A replacement depends on the factual pass alone, so it is computed for all blocks of a stage in
    one operation, see `dreal_tf.method.rows`.

    Args:
        modules: sequence of str, the module names, in order.
        actors: sequence of `AttentionActor`, that of each module.
        plan: `SamplingPlan`.
        images: int32 tensor (rows,). Position of each row's image in the factual actions.
        factual: dict of the factual actions (batch, ...) by module name.
        replacer: `ActionReplacer`.
    """

    def __init__(self, modules, actors, plan, images, factual, replacer):
        self.modules = list(modules)
        self.actors = list(actors)
        self.factual = factual
        self.replacer = replacer
        self.count = ops.shape(plan.images)[0]
        keys = list(map(_replacement_key, actors, modules))
        self.groups = group_by_shape([factual[module] for module in modules], keys)
        self.rows = RowsOfModules(plan, self.groups)
        # Whether a row belongs to the module it is listed under: (rows of all modules,).
        self.of_module = self.rows.all(plan.modules) == self.rows.module_of_row()
        columns = {"of_module": self.of_module, "images": self.rows.all(images)}
        if plan.donors is not None:
            columns["donors"] = self.rows.all(plan.donors)
        if plan.kinds is not None:
            masks = replacer.kind_masks(self.rows.all(plan.kinds))
            columns |= {f"kind {number}": mask for number, mask in enumerate(masks)}
        parts = {name: self.rows.of_groups(values) for name, values in columns.items()}
        self.parts = [{name: part[n] for name, part in parts.items()} for n in range(len(self.groups))]
        self._replacements, self._same, self._applied = {}, {}, {}

    def __call__(self, actor, index, state, action):
        module = actor.modules()[index]
        if module not in self.modules:
            return action
        position = self.modules.index(module)
        if position not in self._replacements:
            self._replace(next(n for n, group in enumerate(self.groups) if position in group))
        of_module, replacement = self._replacements[position]
        before, own, after = self.rows.cut(action, position)
        applied = tf.where(of_module, replacement, own)
        self._applied[position] = CounterfactualAction(self.rows.rows[position], applied)
        return tf.concat([*before, applied, *after], axis=0) if before or after else applied

    @property
    def applied(self):
        """List of `CounterfactualAction`, one per module, after the pass."""
        return [self._applied[position] for position in range(len(self.modules))]

    def unchanged(self):
        """Bool tensor (n,), after the pass: whether a row's own action equalled its replacement."""
        same = concat_rows([self._same[n] for n in range(len(self.groups))]) & self.of_module
        rows = self.rows.all_rows()
        return tf.math.unsorted_segment_max(tf.cast(same, tf.int32), rows, self.count) > 0

    def _replace(self, number):
        """Computes the replacements of a group of modules."""
        group, part = self.groups[number], self.parts[number]
        names = [self.modules[position] for position in group]
        counts, batch = self.rows.counts(group), ops.shape(self.factual[names[0]])[0]
        images = part["images"]  # (m,), of all modules of the group
        if len(group) > 1:  # In the concatenated batches of the group.
            images += batch * self.rows.repeated(np.arange(len(group), dtype=np.int32), group)
        # The factual action, not one proposed again, which may differ in its last bits.
        own = tf.gather(concat_rows([self.factual[name] for name in names]), images)  # (m, ...)
        masks = [expand_dims_like(mask, own) for name, mask in part.items() if name.startswith("kind")]
        actor = self.actors[group[0]]
        index = actor.modules().index(names[0])
        donors = self.rows.of_modules(part["donors"], group) if "donors" in part else None
        replaced = Replaced(actor, index, names, group, donors, counts)
        replacement = self.replacer(replaced, own, masks)  # (m, ...)
        self._same[number] = tf.reduce_all(own == replacement, axis=list(range(1, own.shape.rank)))
        of_module = self.rows.of_modules(expand_dims_like(part["of_module"], own), group)
        replacement = self.rows.of_modules(replacement, group)
        pairs = zip(of_module, replacement, strict=True)
        self._replacements |= dict(zip(group, pairs, strict=True))


def _replacement_key(actor, module):
    """Equal for actors whose actions can be replaced in one operation: those that follow the contract."""
    overridden = any(getattr(type(actor), n) is not getattr(AttentionActor, n) for n in _OF_ACTOR)
    return id(actor) if overridden else actor.kinds[actor.modules().index(module)]


class RowsOfModules:
    """The rows of a plan that can belong to each module, the modules one after another.

    If the number of rows is known, one operation cuts the rows of all modules, not one for each.

    Args:
        plan: `SamplingPlan`.
        groups: list of lists of int, the positions of the modules in the order in which they come.
    Attributes:
        rows: list of int32 arrays or tensors, the rows of each module.
    """

    def __init__(self, plan, groups):
        self.groups = groups
        self.order = [module for group in groups for module in group]
        modules = range(len(self.order))
        self.ranges = [plan.row_range(module, len(modules)) for module in modules]
        self.known = all(isinstance(end, int) for pair in self.ranges for end in pair)
        if self.known:
            self.rows = [np.arange(first, end, dtype=np.int32) for first, end in self.ranges]
        else:
            self.rows = [tf.range(first, end) for first, end in self.ranges]

    def counts(self, modules):
        """Number of rows of each of these modules: list of int, or of int32 scalars."""
        return [len(self.rows[m]) if self.known else ops.shape(self.rows[m])[0] for m in modules]

    def all_rows(self):
        """Int32 array or tensor: the rows of all modules, group by group."""
        rows = [self.rows[module] for module in self.order]
        return np.concatenate(rows) if self.known else tf.concat(rows, axis=0)

    def module_of_row(self):
        """Int32 array or tensor: the module under which each of these rows is listed."""
        return self.repeated(np.int32(self.order), self.order)

    def repeated(self, values, modules):
        """One value for each of these modules, repeated for its rows."""
        counts = self.counts(modules)
        return np.repeat(values, counts) if self.known else tf.repeat(values, tf.stack(counts))

    def all(self, values):
        """Gathers values (n, ...) for the rows of all modules."""
        return tf.gather(values, self.all_rows())

    def of_groups(self, values):
        """Splits values of the rows of all modules into a list, one for each group."""
        counts = [self.counts(group) for group in self.groups]
        return _split(values, [sum(c) if self.known else tf.add_n(c) for c in counts])

    def of_modules(self, values, group):
        """Splits values of the rows of a group into a list, one for each module."""
        return _split(values, self.counts(group))

    def cut(self, action, module):
        """Cuts the rows that have joined so far: those before a module's rows, its own, those after.

        The first and last are lists, empty where it is known that there are none.
        """
        (first, end), rows = self.ranges[module], action.shape[0]
        if not self.known or rows is None:
            return [action[:first]], action[first:end], [action[end:]]
        sizes = [first, end - first, rows - end]
        if sizes[1] == rows:
            return [], action, []
        parts = iter(tf.split(action, [size for size in sizes if size], axis=0))
        before = [next(parts)] if first else []
        return before, next(parts), list(parts)


def _split(values, counts):
    return [values] if len(counts) == 1 else tf.split(values, counts, axis=0, num=len(counts))


class Replaced(NamedTuple):
    """Modules whose actions are replaced in one operation, the rows of one after those of another.

    Attributes:
        actor: `AttentionActor` that replaces actions as all of theirs do.
        index: int. Position of a module in it.
        names: list of str, the modules.
        positions: list of int, among all modules.
        donors: list of int32 tensors, the images that lend their actions; or None.
        counts: list of int, or of int32 scalars: rows of each module.
    """

    actor: object
    index: int
    names: object
    positions: object
    donors: object
    counts: object


class ActionReplacer:
    """Computes counterfactual actions.

    "reference" ablates the module. The other kinds explore what else it could have done [ours]:
    "permuted" is the action that the module chose for another image; "noise" is its own action with
    normal noise on the logits.

    Args:
        reference_action: str, one of `REFERENCE_ACTIONS`; "static" is the mean over the images of
            `actions`. Or a function (actor, action, index) -> action.
        actions: dict of the factual actions by module name, of any number of images.
        exploration: sequence of str of `KINDS`.
        noise: float > 0. Standard deviation of "noise" (logits).
        seed: int tensor (2,), of "noise".
    """

    def __init__(self, reference_action, actions, exploration, noise, seed):
        if not callable(reference_action) and reference_action not in REFERENCE_ACTIONS:
            raise unknown_name("reference action", reference_action, REFERENCE_ACTIONS)
        check_exploration(exploration)
        self.reference_action = reference_action
        self.actions = actions
        self.exploration = tuple(exploration)
        self.noise = noise
        self.seed = seed
        self._folded = None

    def kind_masks(self, kinds):
        """Masks of the rows of the second kind, the third and so on: list of bool tensors (n,)."""
        distinct = dict.fromkeys(self.exploration)  # A kind that is named twice is computed once.
        positions = [[name == kind for name in self.exploration] for kind in distinct]
        return [tf.gather(of_kind, kinds) for of_kind in positions[1:]]

    def __call__(self, replaced, action, masks):
        """The counterfactual actions.

        Args:
            replaced: `Replaced`.
            action: float tensor (n, ...).
            masks: list of bool tensors, from `kind_masks`, in a shape that broadcasts to the action.
        Returns:
            Tensor of the shape and dtype of `action`.
        """
        makers = {"reference": self._reference, "permuted": self._permuted, "noise": self._noisy}
        first, *others = dict.fromkeys(self.exploration)
        replacement = makers[first](replaced, action)
        for kind, mask in zip(others, masks, strict=True):
            replacement = tf.where(mask, makers[kind](replaced, action), replacement)
        return replacement

    def _reference(self, replaced, action):
        if callable(self.reference_action):
            reference = self.reference_action(replaced.actor, action, replaced.index)
            return tf.cast(reference, action.dtype)
        if self.reference_action != "static":
            return replaced.actor.reference_action(action, self.reference_action, replaced.index)
        means = []
        for name, count in zip(replaced.names, replaced.counts, strict=True):
            mean = tf.cast(anchored_mean(self.actions[name], axes=(0,))[:1], action.dtype)  # (1, ...)
            means.append(tf.repeat(mean, count, axis=0))
        return concat_rows(means)

    def _permuted(self, replaced, action):
        lent = [
            tf.gather(self.actions[name], donors)
            for name, donors in zip(replaced.names, replaced.donors, strict=True)
        ]
        return tf.cast(concat_rows(lent), action.dtype)

    def _noisy(self, replaced, action):
        if self._folded is None:  # One operation for all modules.
            self._folded = tf.random.experimental.stateless_fold_in(self.seed, 0)[0]
        noise = []
        for position, count in zip(replaced.positions, replaced.counts, strict=True):
            shape = [count, *ops.shape(action)[1:]]
            seed = tf.stack([self._folded, position])
            noise.append(tf.random.stateless_normal(shape, seed, stddev=self.noise))
        return replaced.actor.perturb_action(action, concat_rows(noise), replaced.index)


def check_exploration(exploration):
    """Refuses what is no sequence of kinds of counterfactual action.

    Raises:
        ValueError: naming the kinds that there are.
    """
    if isinstance(exploration, str) or not exploration:
        raise InputError(
            f"Expected kinds of counterfactual action, of {', '.join(KINDS)}. Received: "
            f"exploration={exploration!r}. Give a list such as ['reference', 'noise']."
        )
    for kind in exploration:
        if kind not in KINDS:
            raise unknown_name("kind of counterfactual action", kind, KINDS)
