"""Where an assignment has actions replaced in the extra pass, and what by."""

from typing import NamedTuple

import tensorflow as tf

from dreal_tf.rewards.alternatives import Alternatives
from dreal_tf.shapes import length


class Alternative(NamedTuple):
    """The actions that took the place of one step's own in some entries of a measurement.

    Attributes:
        entries: int32 tensor (m,). Positions in the measurement, those of other steps among them.
        action: float tensor (m, ...). The action applied there, which is the step's own in the
            entries of other steps.
    """

    entries: object
    action: object


class Changes:
    """An intervention (see `dreal_tf.layers.intervene`) that carries out an assignment, row by row.

    Args:
        modules: sequence of str, the module names of the steps, in order.
        assignment: `Assignment`.
        own: callable from a module name and rows (first, end) to the actions (end - first, ...) that
            the factual pass took in them.
        actions: dict of the actions of the whole batch by module name, see `Alternatives`.
        settings: dict of further arguments of `Alternatives`.
    """

    def __init__(self, modules, assignment, own, actions, settings):
        self.modules = list(modules)
        self.assignment = assignment
        self.own = own
        self.actions = actions
        self.settings = settings
        self._done = {}

    def __call__(self, actor, index, state, action):
        module = actor.modules()[index]
        if module not in self.modules:
            return action
        step = self.modules.index(module)
        first, end = self.assignment.candidates(step, len(self.modules))
        here = self.assignment.steps[first:end] == step
        here = tf.reshape(here, [-1] + [1] * (action.shape.rank - 1))
        # A row that has changed nothing yet: not its action made again, which may differ in last bits.
        own = tf.where(here, self.own(module, first, end), action[first:end])
        alternatives = self._alternatives(step, first, end)
        applied = alternatives(actor, index, state, own)
        entries = tf.range(first, end)
        self._done[step] = Alternative(entries, applied), alternatives.unchanged
        return tf.concat([action[:first], applied, action[end:]], axis=0)

    @property
    def applied(self):
        """List of `Alternative`, one per step, after the pass."""
        return [self._done[step][0] for step in range(len(self.modules))]

    def unchanged(self):
        """Bool tensor (n,), after the pass: whether a row's action equalled its alternative."""
        entries, same = zip(*[(done.entries, same) for done, same in self._done.values()], strict=True)
        same = tf.cast(tf.concat(same, axis=0), tf.int32)
        rows = length(self.assignment.images)
        return tf.math.unsorted_segment_max(same, tf.concat(entries, axis=0), rows) > 0

    def _alternatives(self, step, first, end):
        drawn = self.assignment

        def here(part):
            return None if part is None else part[first:end]

        return Alternatives(
            self.modules,
            here(drawn.steps),
            actions=self.actions,
            forms=here(drawn.forms),
            partners=here(drawn.partners),
            seed=drawn.seed,
            only=step,
            **self.settings,
        )
