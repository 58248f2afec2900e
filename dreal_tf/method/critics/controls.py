"""Two controls: what a perfect critic could give, and what one that knows nothing does. [ours]"""

import keras
import tensorflow as tf

from dreal_tf.method.critics.comparative import ComparativeCritic, advantage
from dreal_tf.method.critics.critic import Critic, Verdict


@keras.saving.register_keras_serializable("dreal_tf")
class DirectCritic(Critic):
    """No critic at all: the gradient of the label's log probability, taken through the network.

    Its critique is the first-order estimate of log p(A) - log p(Ā), the reward on its log scale.

    Args:
        units, grid: taken and ignored, so that every critic is made alike.
    Source: ours.
    """

    needs_directions = True

    def __init__(self, units=None, grid=None, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))

    def build(self, step_specs, classes):
        self.specs = tuple(step_specs)

    def call(self, steps, hindsight):
        critiques = [
            advantage(spec.kind, step.action, direction, spec.axes)
            for spec, step, direction in zip(self.specs, steps, hindsight.directions, strict=True)
        ]
        return Verdict(tf.stack(critiques, axis=1), hindsight.directions)

    def loss(self, verdict, steps, measurement):
        return tf.constant(0.0)  # It has nothing to learn.


@keras.saving.register_keras_serializable("dreal_tf")
class ShuffledCritic(ComparativeCritic):
    """The comparative critic, taught what happened to other images: it must not help.

    Args:
        units, grid, exploration, noise: see `ComparativeCritic`.
    Source: ours.
    """

    def loss(self, verdict, steps, measurement):
        # Images are measured in random order, so the next one is any other.
        taught = ("difference", "reward", "right", "ablated", "counted")
        others = {name: tf.roll(getattr(measurement, name), 1, axis=0) for name in taught}
        # Relative to the error, as the other image's difference was, or its size would say whose.
        scales = tf.gather(verdict.scales, measurement.images)
        others["difference"] *= scales / tf.roll(scales, 1, axis=0)
        others["counted"] *= measurement.counted
        shuffled = measurement._replace(**others)
        return super().loss(verdict, steps, shuffled)
