"""Ablation of any modules of a network in all images of a pass, and their static actions."""

from collections import Counter

import numpy as np
import tensorflow as tf

from dreal_tf.layers import intervene
from dreal_tf.modules import assign_stages

IMAGES_A_PASS = 32
OWN, MEAN, STATIC = range(3)  # The action that a module applies.
# The reference actions of an audit; "static" is a mean over calibration images, not over a batch.
ABLATIONS = {"mean": MEAN, "static": STATIC}


class Ablation:
    """An intervention (see `dreal_tf.layers.intervene`) that ablates the modules that a tensor names.

    One compiled pass so serves every module and every reference action. Unlike
    `CounterfactualActions` it treats all images alike, can ablate several modules together, and
    finds actors in nested networks.

    Args:
        applied: int32 tensor (modules,): for each module `OWN`, its own action; `MEAN`, the mean
            over the axes along which it selects; or `STATIC`, its mean over calibration images.
        static: dict of the static actions by module name, in the same order, see `static_actions`.
    Attributes:
        unchanged: bool tensor (n,), after the pass: whether every action equalled its replacement.
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
        self._names = ModuleNames()
        self._positions = {module: position for position, module in enumerate(static)}

    def __call__(self, actor, index, state, action):
        module = self._names(actor, index)

        def own():
            return action, tf.ones(tf.shape(action)[:1], bool)

        def replaced(replacement):
            axes = list(range(1, action.shape.rank))
            return replacement, tf.reduce_all(action == replacement, axis=axes)

        def mean():
            return replaced(actor.reference_action(action, "mean", index))

        def static():
            row = tf.cast(self.static[module], action.dtype)[None]  # (1, ...)
            return replaced(tf.broadcast_to(row, tf.shape(action)))

        applied = self.applied[self._positions[module]]
        action, same = tf.switch_case(applied, {OWN: own, MEAN: mean, STATIC: static})
        self.unchanged &= same
        return action


class ModuleNames:
    """Names the modules of one pass as they run.

    A name occurs a second time where a layer is used twice, or where two nested networks have layers
    of one name: it is then followed by "@2", and so on.

    Example:
        >>> names, actor = ModuleNames(), SqueezeExcite(2, name="gate")
        >>> names(actor, 0), names(actor, 0)
        ('gate/se', 'gate/se@2')
    """

    def __init__(self):
        self._uses = Counter()

    def __call__(self, actor, index):
        module = actor.modules()[index]
        self._uses[module] += 1
        count = self._uses[module]
        return module if count == 1 else f"{module}@{count}"


def static_actions(network, images):
    """The mean action over images of every module: the reference action "static".

    The network runs at inference. Its actors are found as they run, so they may lie in nested
    networks.

    Args:
        network: `keras.Model` with attention actors, from images to anything.
        images: float array (n, height, width, channels), prepared as the network takes them.
    Returns:
        Dict by module name, in depth order, of float32 arrays: the action's shape without the batch
        axis. Empty if the network has no attention.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> actions = static_actions(network, np.random.rand(20, 8, 8, 1))
        >>> {module: action.shape for module, action in actions.items()}
        {'conv2_1/se': (1, 1, 16), 'conv3_1/se': (1, 1, 32), 'conv4_1/se': (1, 1, 64)}
    """
    return calibrated_modules(network, images)[1]


def calibrated_modules(network, images):
    """The modules of a network, and the static action of each.

    Args:
        network, images: see `static_actions`.
    Returns:
        List of `ModuleSpec`, in depth order, and the dict of `static_actions`.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> specs, _ = calibrated_modules(network, np.random.rand(20, 8, 8, 1))
        >>> [spec.stage for spec in specs]
        ['conv2', 'conv3', 'conv4']
    """
    images, specs = np.asarray(images, "float32"), []

    @tf.function(input_signature=[tf.TensorSpec((None, *images.shape[1:]))], autograph=False)
    def summed(batch):
        names, sums = ModuleNames(), []
        specs.clear()

        def add(actor, index, state, action):
            spec = actor.module_spec(index, state, action)
            specs.append(spec._replace(module=names(actor, index)))
            # float64, so that the mean of a constant action is that constant to the last bit.
            sums.append(tf.reduce_sum(tf.cast(action, tf.float64), axis=0))
            return action

        with intervene(add):
            network(batch, training=False)
        return sums

    starts = range(0, len(images), IMAGES_A_PASS)
    parts = [summed(images[start : start + IMAGES_A_PASS]) for start in starts]
    totals = [sum(part.numpy() for part in of_module) for of_module in zip(*parts, strict=True)]
    actions = [np.asarray(total / len(images), np.float32) for total in totals]
    return assign_stages(specs), {spec.module: a for spec, a in zip(specs, actions, strict=True)}
