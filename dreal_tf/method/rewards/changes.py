"""Where an assignment has actions replaced in the extra pass, and what by."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from keras import ops

from dreal_tf.layers import AttentionActor
from dreal_tf.method.critics.side_by_side import alike, laid
from dreal_tf.method.rewards.alternatives import Replaced, along

_REPLACING = ("baseline_action", "identity_action", "moved_action")  # Of an actor.


class Alternative(NamedTuple):
    """The actions that took the place of one step's own in some entries of a measurement.

    Attributes:
        entries: int32 array (m,), a tensor where m is not known. Positions in the measurement, those
            of other steps among them.
        action: float tensor (m, ...). The action applied there, which is the step's own in the
            entries of other steps.
    """

    entries: object
    action: object


class Changes:
    """An intervention (see `dreal_tf.layers.intervene`) that carries out an assignment, row by row.

    What replaces an action is made of the factual pass alone, so that it is made of all blocks of a
    stage together, see `dreal_tf.method.critics.side_by_side`.

    Args:
        modules: sequence of str, the module names of the steps, in order.
        actors: sequence of `AttentionActor`, that of each step.
        assignment: `Assignment`.
        positions: int32 tensor (rows,). Where each row's image stands among the factual actions.
        factual: dict of the actions that the factual pass took, by module name.
        replacements: `Replacements`.
    """

    def __init__(self, modules, actors, assignment, positions, factual, replacements):
        self.modules = list(modules)
        self.actors = list(actors)
        self.factual = factual
        self.replacements = replacements
        self.rows = ops.shape(assignment.images)[0]
        self.groups = alike([factual[m] for m in modules], list(map(_moves_as, actors, modules)))
        self.candidates = Candidates(assignment, self.groups)
        all_, split = self.candidates.all, self.candidates.of_groups
        self.here = all_(assignment.steps) == self.candidates.own()
        of_rows = {"here": self.here, "positions": all_(positions)}
        if assignment.partners is not None:
            of_rows["partners"] = all_(assignment.partners)
        if assignment.forms is not None:
            named = replacements.named(all_(assignment.forms))
            of_rows |= {f"named {kind}": mask for kind, mask in enumerate(named)}
        parts = {name: split(values) for name, values in of_rows.items()}
        self.parts = [{name: part[n] for name, part in parts.items()} for n in range(len(self.groups))]
        self._made, self._same, self._done = {}, {}, {}

    def __call__(self, actor, index, state, action):
        module = actor.modules()[index]
        if module not in self.modules:
            return action
        step = self.modules.index(module)
        if step not in self._made:
            self._make(next(n for n, group in enumerate(self.groups) if step in group))
        here, replacement = self._made[step]
        before, now, after = self.candidates.cut(action, step)
        applied = tf.where(here, replacement, now)
        self._done[step] = Alternative(self.candidates.entries[step], applied)
        return tf.concat([*before, applied, *after], axis=0) if before or after else applied

    @property
    def applied(self):
        """List of `Alternative`, one per step, after the pass."""
        return [self._done[step] for step in range(len(self.modules))]

    def unchanged(self):
        """Bool tensor (n,), after the pass: whether a row's action equalled its alternative."""
        same = laid([self._same[number] for number in range(len(self.groups))]) & self.here
        entries = self.candidates.all_entries()
        return tf.math.unsorted_segment_max(tf.cast(same, tf.int32), entries, self.rows) > 0

    def _make(self, number):
        """What replaces the actions of a group of steps."""
        group, part = self.groups[number], self.parts[number]
        modules = [self.modules[step] for step in group]
        counts, batch = self.candidates.counts(group), ops.shape(self.factual[modules[0]])[0]
        order = self.candidates.repeated(np.arange(len(group), dtype=np.int32), group)
        rows = part["positions"] + order * batch if len(group) > 1 else part["positions"]
        # A row that has changed nothing yet: not its action made again, which may differ in last bits.
        own = tf.gather(laid([self.factual[module] for module in modules]), rows)
        named = [along(mask, own) for name, mask in part.items() if name.startswith("named")]
        actor = self.actors[group[0]]
        index = actor.modules().index(modules[0])
        partners = part.get("partners")
        partners = None if partners is None else self.candidates.of_steps(partners, group)
        replaced = Replaced(actor, index, modules, group, partners, counts)
        replacement = self.replacements(replaced, own, named)
        self._same[number] = tf.reduce_all(own == replacement, axis=list(range(1, own.shape.rank)))
        masks = self.candidates.of_steps(along(part["here"], own), group)
        made = self.candidates.of_steps(replacement, group)
        self._made |= dict(zip(group, zip(masks, made, strict=True), strict=True))


def _moves_as(actor, module):
    """What tells whether two actors replace actions alike: those that do it as the contract does."""
    own = [getattr(type(actor), name) is not getattr(AttentionActor, name) for name in _REPLACING]
    return id(actor) if any(own) else actor.kinds[actor.modules().index(module)]


class Candidates:
    """The rows that can change each step of an assignment, all of them one step after another.

    Where the number of rows is known, what belongs to each step is cut out of the whole in one
    operation, and not in one for each.

    Args:
        assignment: `Assignment`.
        groups: list of lists of int, the positions of the steps in the order in which they come.
    Attributes:
        entries: list of int32 arrays or tensors, the rows of each step.
    """

    def __init__(self, assignment, groups):
        self.groups = groups
        self.order = [step for group in groups for step in group]
        steps = range(len(self.order))
        self.ranges = [assignment.candidates(step, len(steps)) for step in steps]
        self.known = all(isinstance(end, int) for pair in self.ranges for end in pair)
        if self.known:
            self.entries = [np.arange(first, end, dtype=np.int32) for first, end in self.ranges]
        else:
            self.entries = [tf.range(first, end) for first, end in self.ranges]

    def counts(self, steps):
        """Number of rows of each of these steps: list of int, or of int32 scalars."""
        return [len(self.entries[s]) if self.known else ops.shape(self.entries[s])[0] for s in steps]

    def all_entries(self):
        """Int32 array or tensor: the rows of all steps, group by group."""
        entries = [self.entries[step] for step in self.order]
        return np.concatenate(entries) if self.known else tf.concat(entries, axis=0)

    def own(self):
        """Int32 array or tensor: the position of each of these rows' step."""
        return self.repeated(np.int32(self.order), self.order)

    def repeated(self, values, steps):
        """One value for each of these steps, repeated for its rows."""
        counts = self.counts(steps)
        return np.repeat(values, counts) if self.known else tf.repeat(values, tf.stack(counts))

    def all(self, values):
        """The values (rows, ...) of the rows of all steps."""
        return tf.gather(values, self.all_entries())

    def of_groups(self, values):
        """Values of the rows of all steps, as a list of those of each group."""
        counts = [self.counts(group) for group in self.groups]
        return _split(values, [sum(c) if self.known else tf.add_n(c) for c in counts])

    def of_steps(self, values, group):
        """Values of the rows of a group, as a list of those of each step."""
        return _split(values, self.counts(group))

    def cut(self, action, step):
        """A tensor of all rows so far: what stands before a step's, its own, what stands after;
        the first and last as lists, empty where it is known that nothing does."""
        (first, end), rows = self.ranges[step], action.shape[0]
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
