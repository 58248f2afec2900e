"""The static actions of a network: what each of its modules does on average, whatever the image."""

from collections import Counter

import numpy as np
import tensorflow as tf

from dreal_tf.layers import intervene
from dreal_tf.modules import staged

AT_A_TIME = 32  # Images per pass.


class StepNames:
    """Names the steps of one pass by their modules, as they happen.

    A module's name comes a second time where a layer is used twice, or where two nested networks
    have layers of one name: it is followed by "@2" then, and so on.

    Example:
        >>> names, actor = StepNames(), SqueezeExcite(2, name="gate")
        >>> names(actor, 0), names(actor, 0)
        ('gate/se', 'gate/se@2')
    """

    def __init__(self):
        self._taken = Counter()

    def __call__(self, actor, index):
        module = actor.modules()[index]
        self._taken[module] += 1
        count = self._taken[module]
        return module if count == 1 else f"{module}@{count}"


def static_actions(network, images):
    """The mean action over images of every module: the baseline action "static".

    The network runs as it is, at inference; its actors are found by what they do, so they may stand
    in nested networks.

    Args:
        network: `keras.Model` with attention actors, from images to anything.
        images: float array (n, height, width, channels), prepared as the network takes them.
    Returns:
        Dict by module name, in depth order, of float32 arrays: the action's shape without the batch
        axis. Empty where the network has no attention.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> actions = static_actions(network, np.random.rand(20, 8, 8, 1))
        >>> {module: action.shape for module, action in actions.items()}
        {'conv2_1/se': (1, 1, 16), 'conv3_1/se': (1, 1, 32), 'conv4_1/se': (1, 1, 64)}
    """
    return calibrated_steps(network, images)[1]


def calibrated_steps(network, images):
    """What steps a network takes, and the static action of each.

    Args:
        network, images: see `static_actions`.
    Returns:
        List of `StepSpec`, in depth order, and the dict of `static_actions`.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> specs, _ = calibrated_steps(network, np.random.rand(20, 8, 8, 1))
        >>> [spec.stage for spec in specs]
        ['conv2', 'conv3', 'conv4']
    """
    images, specs = np.asarray(images, "float32"), []

    @tf.function(input_signature=[tf.TensorSpec((None, *images.shape[1:]))], autograph=False)
    def summed(batch):
        names, sums = StepNames(), []
        specs.clear()

        def add(actor, index, state, action):
            spec = actor.step_spec(index, state, action)
            specs.append(spec._replace(module=names(actor, index)))
            # So wide that the mean of a constant action is that constant, to the last bit.
            sums.append(tf.reduce_sum(tf.cast(action, tf.float64), axis=0))
            return action

        with intervene(add):
            network(batch, training=False)
        return sums

    starts = range(0, len(images), AT_A_TIME)
    parts = [summed(images[start : start + AT_A_TIME]) for start in starts]
    totals = [sum(part.numpy() for part in of_step) for of_step in zip(*parts, strict=True)]
    actions = [np.asarray(total / len(images), np.float32) for total in totals]
    return staged(specs), {spec.module: a for spec, a in zip(specs, actions, strict=True)}
