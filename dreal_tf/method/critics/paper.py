"""The paper's critic: quality from state and action, regressed on the reward."""

import keras
import tensorflow as tf

from dreal_tf.method.critics.critic import Critic
from dreal_tf.method.critics.meta_critic import MetaCritic
from dreal_tf.method.formulas import ablation_loss
from dreal_tf.method.types import CriticOutput


@keras.saving.register_keras_serializable("dreal_tf")
class PaperCritic(Critic):
    """Critique of each action by a linear head on the meta critic's memory.

    Args:
        units: int >= 1. Width of encoders and memory. Defaults to 64 [ours].
        grid: int >= 1. Side of the grid to which spatial and pairwise actions are averaged (cells).
    Example:
        >>> critic = PaperCritic(units=8)
        >>> spec = ModuleSpec("conv2_1/se", "conv2", "channel", (4, 4, 6), (1, 1, 6))
        >>> critic.build([spec], classes=10)
        >>> ones = np.ones((2, 4, 4, 6), "float32")
        >>> tuple(critic([ModuleOutput(ones, ones[:, :1, :1])]).critiques.shape)
        (2, 1)
    Source: Li, Chen 2020 (see `dreal_tf.method.formulas`).
    """

    def __init__(self, units=64, grid=4, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.units = units
        self.grid = grid

    def build(self, module_specs, classes):
        self.walk = MetaCritic(self.units, self.grid, name="meta_critic")
        self.walk.build(module_specs)
        self.head = keras.layers.Dense(1, dtype="float32", name="head")
        self.head.build((None, None, self.units))

    def call(self, modules, privileged=None, samples=None):
        return CriticOutput(tf.squeeze(self.head(self.walk(modules)), axis=2))

    def loss(self, output, samples):
        return ablation_loss(output.critiques, samples)

    def get_config(self):
        return super().get_config() | {"units": self.units, "grid": self.grid}
