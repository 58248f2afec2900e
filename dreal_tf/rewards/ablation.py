"""Ablation: the action of one step replaced by its baseline, image by image."""

import tensorflow as tf

from dreal_tf.errors import unknown_name
from dreal_tf.layers.anchored_mean import anchored_mean

BASELINES = ("mean", "static", "identity")


class Ablation:
    """An intervention (see `dreal_tf.layers.intervene`) that ablates one step in each image.

    Args:
        modules: sequence of str, the module names of the steps that can be ablated.
        assigned: int32 tensor (n,). For each image of the pass the position in `modules` of the
            step to ablate; -1 for none.
        baseline: str, one of `BASELINES`: the action that takes the place of the step's own.
        actions: dict of the actions of an unablated pass by module name; read by "static", whose
            baseline is their mean over images.
    Attributes:
        unchanged: bool tensor (n,), after the pass: whether the action equalled its baseline.
    Example:
        >>> actor, state = SqueezeExcite(2, name="gate"), np.random.rand(2, 4, 4, 8)
        >>> with intervene(Ablation(["gate/se"], np.int32([-1, 0]))):
        ...     _, action = actor(state, return_action=True)
        >>> np.ptp(action.numpy(), axis=3).ravel() > 0  # The second is flat.
        array([ True, False])
    """

    def __init__(self, modules, assigned, baseline="mean", actions=None):
        if baseline not in BASELINES:
            raise unknown_name("baseline action", baseline, BASELINES)
        self.position = {module: position for position, module in enumerate(modules)}
        self.assigned = tf.convert_to_tensor(assigned)
        self.baseline = baseline
        self.actions = actions
        self.unchanged = tf.zeros_like(self.assigned, dtype=bool)

    def __call__(self, actor, index, state, action):
        module = actor.modules()[index]
        if module not in self.position:
            return action
        chosen = self.assigned == self.position[module]  # (n,)
        if self.baseline == "static":
            mean = anchored_mean(self.actions[module], axes=(0,))[:1]
            replacement = tf.broadcast_to(tf.cast(mean, action.dtype), tf.shape(action))
        else:
            replacement = actor.baseline_action(action, self.baseline, index)
        same = tf.reduce_all(action == replacement, axis=list(range(1, action.shape.rank)))
        self.unchanged |= chosen & same
        where = tf.reshape(chosen, [-1] + [1] * (action.shape.rank - 1))
        return tf.where(where, replacement, action)
