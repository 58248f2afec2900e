"""Ablation: chosen modules of a network lose their action in all images of a pass."""

import tensorflow as tf

from dreal_tf.method.rewards.static_actions import StepNames

OWN, MEAN, STATIC = range(3)  # What a module applies; the baselines by name are `ABLATIONS`.
ABLATIONS = {"mean": MEAN, "static": STATIC}


class Ablation:
    """An intervention (see `dreal_tf.layers.intervene`) that ablates any modules, which a tensor says.

    So one compiled pass serves for every module and baseline. Other than `Alternatives` it treats
    all images alike, may ablate several modules together, and finds actors in nested networks.

    Args:
        applied: int32 tensor (modules,): for each module `OWN`, its own action; `MEAN`, the mean
            over the axes along which it selects; or `STATIC`, its mean over calibration images.
        static: dict of the static actions by module name, in the same order, see `static_actions`.
    Attributes:
        unchanged: bool tensor (n,), after the pass: whether every action equalled what replaced it.
    Example:
        >>> actor, state = SqueezeExcite(2, name="gate"), np.random.rand(2, 4, 4, 8)
        >>> static = {"gate/se": np.full((1, 1, 8), 0.25, "float32")}
        >>> with intervene(Ablation(tf.constant([2]), static)):
        ...     _, action = actor(state, return_action=True)
        >>> float(tf.reduce_max(action))
        0.25
    """

    def __init__(self, applied, static):
        self.applied = applied
        self.static = static
        self.unchanged = tf.constant(True)
        self._names = StepNames()
        self._positions = {module: position for position, module in enumerate(static)}

    def __call__(self, actor, index, state, action):
        module = self._names(actor, index)

        def own():
            return action, tf.ones(tf.shape(action)[:1], bool)

        def replaced(replacement):
            axes = list(range(1, action.shape.rank))
            return replacement, tf.reduce_all(action == replacement, axis=axes)

        def mean():
            return replaced(actor.baseline_action(action, "mean", index))

        def static():
            row = tf.cast(self.static[module], action.dtype)[None]
            return replaced(tf.broadcast_to(row, tf.shape(action)))

        chosen = self.applied[self._positions[module]]
        action, same = tf.switch_case(chosen, {OWN: own, MEAN: mean, STATIC: static})
        self.unchanged &= same
        return action
