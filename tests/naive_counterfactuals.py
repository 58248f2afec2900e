"""Counterfactual actions the slow way: a whole pass, each module's action replaced image by image."""

import tensorflow as tf

from dreal_tf.method.rewards import ActionReplacer, Replaced
from dreal_tf.method.rows import expand_dims_like


class NaiveCounterfactuals:
    """An intervention that replaces one module's action in each image of a pass.

    Args:
        modules: sequence of str, the modules whose actions can be replaced.
        assigned: int32 tensor (n,). For each image the position of the module; -1 for none.
        reference_action, actions, exploration, noise, seed: see `ActionReplacer`.
        kinds: int32 tensor (n,), positions in the exploration; None for the first everywhere.
        donors: int32 tensor (n,), positions in `actions` of the images that lend "permuted".
    Attributes:
        unchanged: bool tensor (n,), after the pass: whether the action equalled its replacement.
        applied: dict of the applied actions by module name, after the pass.
    """

    def __init__(
        self,
        modules,
        assigned,
        reference_action="mean",
        actions=None,
        exploration=("reference",),
        kinds=None,
        donors=None,
        noise=1.0,
        seed=(0, 0),
    ):
        self.replacer = ActionReplacer(reference_action, actions, exploration, noise, seed)
        self.position = {module: position for position, module in enumerate(modules)}
        self.assigned = tf.convert_to_tensor(assigned)
        self.kinds = kinds
        self.donors = donors
        self.unchanged = tf.zeros_like(self.assigned, dtype=bool)
        self.applied = {}

    def __call__(self, actor, index, state, action):
        module = actor.modules()[index]
        if module not in self.position:
            return action
        chosen = self.assigned == self.position[module]  # (n,)
        rows = tf.shape(self.assigned)[0]
        replaced = Replaced(actor, index, [module], [self.position[module]], [self.donors], [rows])
        masks = [expand_dims_like(mask, action) for mask in self.replacer.kind_masks(self.kinds)]
        replacement = self.replacer(replaced, action, masks)
        same = tf.reduce_all(action == replacement, axis=list(range(1, action.shape.rank)))
        self.unchanged |= chosen & same
        self.applied[module] = tf.where(expand_dims_like(chosen, action), replacement, action)
        return self.applied[module]
