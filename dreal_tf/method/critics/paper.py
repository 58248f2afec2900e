"""The critic as one reads it in the paper: quality from state and action, regressed on the reward."""

import keras
import tensorflow as tf

from dreal_tf.method.critics.critic import Critic, Verdict
from dreal_tf.method.critics.measured import measured_reward_loss
from dreal_tf.method.critics.meta_critic import MetaCritic


@keras.saving.register_keras_serializable("dreal_tf")
class PaperCritic(Critic):
    """Critique of each step by a linear head on the meta critic's memory.

    Args:
        units: int >= 1. Width of encoders and memory. Defaults to 64 [ours].
        grid: int >= 1. Side of the grid to which spatial and pairwise actions are averaged (cells).
    Example:
        >>> critic = PaperCritic(units=8)
        >>> spec = StepSpec("conv2_1/se", "conv2", "channel", (4, 4, 6), (1, 1, 6))
        >>> critic.build([spec], classes=10)
        >>> step = Step(np.ones((2, 4, 4, 6), "float32"), np.ones((2, 1, 1, 6), "float32"))
        >>> tuple(critic([step]).critiques.shape)
        (2, 1)
    Source: Li, Chen 2020 (see `dreal_tf.method.rewards`).
    """

    def __init__(self, units=64, grid=4, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.units = units
        self.grid = grid

    def build(self, step_specs, classes):
        self.walk = MetaCritic(self.units, self.grid, name="meta_critic")
        self.walk.build(step_specs)
        self.head = keras.layers.Dense(1, dtype="float32", name="head")
        self.head.build((None, None, self.units))

    def call(self, steps, hindsight=None):
        return Verdict(tf.squeeze(self.head(self.walk(steps)), axis=2))

    def loss(self, verdict, steps, measurement):
        return measured_reward_loss(verdict.critiques, measurement)

    def get_config(self):
        return super().get_config() | {"units": self.units, "grid": self.grid}
