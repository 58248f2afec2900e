"""The static actions of a network: what each of its modules does on average, whatever the image."""

from collections import Counter

import numpy as np
import tensorflow as tf

from dreal_tf.layers import intervene

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
    images, modules = np.asarray(images, "float32"), []

    @tf.function(input_signature=[tf.TensorSpec((None, *images.shape[1:]))], autograph=False)
    def summed(batch):
        names, sums = StepNames(), {}

        def add(actor, index, state, action):
            # So wide that the mean of a constant action is that constant, to the last bit.
            sums[names(actor, index)] = tf.reduce_sum(tf.cast(action, tf.float64), axis=0)
            return action

        with intervene(add):
            network(batch, training=False)
        modules[:] = sums
        return list(sums.values())

    starts = range(0, len(images), AT_A_TIME)
    parts = [summed(images[start : start + AT_A_TIME]) for start in starts]
    totals = [sum(part.numpy() for part in of_module) for of_module in zip(*parts, strict=True)]
    return {m: np.float32(total / len(images)) for m, total in zip(modules, totals, strict=True)}
