"""The critic that compares actions, so that its gradient is a direction worth climbing. [ours]"""

import keras
import tensorflow as tf

from dreal_tf.critics.critic import Critic, Verdict
from dreal_tf.critics.direction import direction_head
from dreal_tf.critics.measured import measured_reward_loss, predicted_differences
from dreal_tf.critics.meta_critic import MetaCritic
from dreal_tf.losses import comparison_loss
from dreal_tf.steps import SELECTIVE_AXES


@keras.saving.register_keras_serializable("dreal_tf")
class ComparativeCritic(Critic):
    """Q = V(F, y) + <h(F, y), A - Ā>: a value, and an advantage that is linear in the action.

    The direction h is regressed on differences: <h, A - A'> on log p(A) - log p(A') for alternatives
    A'. The value takes up what is left of the reward. Both read the states, in depth order, and the
    label; the action of a step enters its own advantage alone.

    Args:
        units: int >= 1. Width of encoders, memory and label embedding. Defaults to 64.
        grid: int >= 1. Side of the grid to which spatial and pairwise actions are averaged (cells).
        exploration: sequence of str, the alternatives, see `dreal_tf.rewards.Alternatives`. What it
            names twice is measured twice as often.
        noise: float > 0. Standard deviation of the alternative "noise" (logits).
    Example:
        >>> critic = ComparativeCritic(units=8)
        >>> spec = StepSpec("conv2_1/se", "conv2", "channel", (4, 4, 6), (1, 1, 6))
        >>> critic.build([spec], classes=10)
        >>> step = Step(np.ones((2, 4, 4, 6), "float32"), np.ones((2, 1, 1, 6), "float32"))
        >>> verdict = critic([step], labels=np.int32([3, 7]))
        >>> tuple(verdict.critiques.shape), tuple(verdict.directions[0].shape)
        ((2, 1), (2, 1, 1, 6))
    Source: ours; see `docs/critics.md` for what led to it.
    """

    def __init__(
        self, units=64, grid=4, exploration=("baseline", "noise", "noise"), noise=1.0, **kwargs
    ):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.units = units
        self.grid = grid
        self.exploration = tuple(exploration)
        self.noise = noise

    def build(self, step_specs, classes):
        self.kinds = [spec.kind for spec in step_specs]
        self.embedding = keras.layers.Embedding(
            classes, self.units, dtype="float32", name="labels"
        )
        self.embedding.build()
        self.walk = MetaCritic(
            self.units, self.grid, reads_actions=False, context_width=self.units, name="meta_critic"
        )
        self.walk.build(step_specs)
        self.value = keras.layers.Dense(1, dtype="float32", name="value")
        self.value.build((None, None, 2 * self.units))
        self.hidden, self.heads = [], []
        for position, spec in enumerate(step_specs):
            hidden = keras.layers.Dense(
                self.units, "relu", dtype="float32", name=f"hidden_{position}"
            )
            hidden.build((None, 2 * self.units))
            head = direction_head(spec, self.units, self.grid, name=f"direction_{position}")
            head.build((None, 2 * self.units))
            self.hidden.append(hidden)
            self.heads.append(head)

    def call(self, steps, labels=None, directions=None):
        label = self.embedding(labels)  # (batch, units)
        memories = self.walk(steps, label)  # (batch, steps, units)
        directions, critiques = [], []
        for position, step in enumerate(steps):
            known = tf.concat([memories[:, position], label], axis=1)
            # The label's own path: a class has a direction of its own, whatever the image.
            features = tf.concat([self.hidden[position](known), label], axis=1)
            direction = self.heads[position](features, tf.stop_gradient(step.state), step.action)
            directions.append(direction)
            value = tf.squeeze(self.value(known), axis=1)
            critiques.append(value + advantage(self.kinds[position], step.action, direction))
        return Verdict(tf.stack(critiques, axis=1), directions)

    def loss(self, verdict, steps, measurement):
        predicted = predicted_differences(verdict.directions, steps, measurement)
        compared = comparison_loss(predicted, measurement.difference, measurement.counted)
        return compared + measured_reward_loss(verdict.critiques, measurement)

    def get_config(self):
        return super().get_config() | {
            "units": self.units,
            "grid": self.grid,
            "exploration": list(self.exploration),
            "noise": self.noise,
        }


def advantage(kind, action, direction):
    """First-order advantage of an action over the same action without selectivity.

    The comparison and the direction are held fixed, so the gradient with respect to the action is
    the direction itself, and what is regressed on the sum moves the value alone.

    Args:
        kind: str, one of `ACTION_KINDS`.
        action: float tensor (batch, ...).
        direction: float32 tensor of the same shape.
    Returns:
        Float32 tensor (batch,), in nats.
    Example:
        >>> action = np.float32([0.25, 0.75]).reshape(1, 1, 1, 2)
        >>> advantage("channel", action, np.float32([0, 2]).reshape(1, 1, 1, 2)).numpy().tolist()
        [0.5]
    """
    action = tf.cast(action, tf.float32)
    flat = tf.reduce_mean(action, axis=SELECTIVE_AXES[kind], keepdims=True)
    products = tf.stop_gradient(direction) * (action - tf.stop_gradient(flat))
    return tf.reduce_sum(products, axis=list(range(1, products.shape.rank)))
