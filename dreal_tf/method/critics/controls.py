"""Two controls: the gain of a perfect critic, and the gain of one that knows nothing. [ours]"""

import keras
import tensorflow as tf

from dreal_tf.method.critics.comparative import ComparativeCritic, advantage
from dreal_tf.method.critics.critic import Critic
from dreal_tf.method.types import CriticOutput


@keras.saving.register_keras_serializable("dreal_tf")
class DirectCritic(Critic):
    """No critic at all: the gradient of the score, taken through the network.

    Its critique is the first-order estimate of log p(A) - log p(Ā), the reward on its log scale.

    Args:
        units, grid: ignored; every critic takes them.
    Source: ours.
    """

    needs_true_action_gradients = True

    def __init__(self, units=None, grid=None, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))

    def build(self, module_specs, classes):
        self.specs = tuple(module_specs)

    def call(self, modules, privileged, samples=None):
        dq_da = privileged.true_action_gradients
        critiques = [
            advantage(spec.kind, module.action, gradient, spec.axes)
            for spec, module, gradient in zip(self.specs, modules, dq_da, strict=True)
        ]
        return CriticOutput(tf.stack(critiques, axis=1), dq_da)

    def loss(self, output, samples):
        return tf.constant(0.0)  # It has no weights.


@keras.saving.register_keras_serializable("dreal_tf")
class ShuffledCritic(ComparativeCritic):
    """The comparative critic, trained on the rewards of other images: it must not help.

    Args:
        units, grid, exploration, noise: see `ComparativeCritic`.
    Source: ours.
    """

    def loss(self, output, samples):
        # Images are sampled in random order, so the next one is any other.
        shuffled = ("difference", "reward", "correct", "ablated", "mask")
        others = {name: tf.roll(getattr(samples, name), 1, axis=0) for name in shuffled}
        # Relative to the error, as the other image's difference was, or its size would tell whose it is.
        scales = tf.gather(output.scales, samples.images)
        others["difference"] *= scales / tf.roll(scales, 1, axis=0)
        others["mask"] *= samples.mask
        return super().loss(output, samples._replace(**others))
