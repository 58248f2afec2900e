"""The recurrent walk over all steps of a network."""

import keras
import tensorflow as tf

from dreal_tf.critics.summary import summarize, summary_width
from dreal_tf.shapes import length


@keras.saving.register_keras_serializable("dreal_tf")
class MetaCritic(keras.layers.Layer):
    """Walks the steps in depth order and gives one memory vector per step.

    One encoder per stage and kind of action, with its axes if it is pairwise, shared by the stage's
    blocks; one LSTM cell over all stages, whose time is depth.

    Args:
        units: int >= 1. Width of encoders and memory.
        grid: int >= 1. Side of the grid to which maps are averaged (cells).
        reads_actions: bool. Whether the walk sees the actions, or the states alone.
    Call arguments:
        steps: sequence of `Step` in depth order.
    Returns:
        Float32 tensor (batch, steps, units).
    Example:
        >>> critic = MetaCritic(units=8)
        >>> critic.build([StepSpec("conv2_1/se", "conv2", "channel", (4, 4, 6), (1, 1, 6))])
        >>> step = Step(np.ones((2, 4, 4, 6), "float32"), np.ones((2, 1, 1, 6), "float32"))
        >>> tuple(critic([step]).shape)
        (2, 1, 8)
    Source: Li, Chen 2020 (see `dreal_tf.rewards`): recurrent critics shared over depth. The
    summaries and widths are [ours].
    """

    def __init__(self, units=64, grid=4, reads_actions=True, **kwargs):
        # float32 whatever the network's precision: it is small, and rewards need the digits.
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.units = units
        self.grid = grid
        self.reads_actions = reads_actions

    def build(self, step_specs):
        """Makes an encoder per stage and kind, and the memory.

        Args:
            step_specs: sequence of `StepSpec`, in depth order.
        """
        self.step_specs = tuple(step_specs)
        self.encoder_of = []  # Position in `encoders` for each step.
        keys, self.encoders = {}, []
        for spec in self.step_specs:
            width = summary_width(spec, self.grid, self.reads_actions)
            key = (spec.stage, spec.kind, *spec.axes, str(width))
            if key not in keys:
                keys[key] = len(self.encoders)
                name = "_".join(("encoder", *key))
                encoder = keras.layers.Dense(self.units, "relu", dtype="float32", name=name)
                encoder.build((None, width))
                self.encoders.append(encoder)
            self.encoder_of.append(keys[key])
        # The cell, not the layer: on GPU the layer may take XLA away from the whole model.
        self.memory = keras.layers.LSTMCell(self.units, dtype="float32", name="memory")
        self.memory.build((None, self.units))

    def call(self, steps):
        batch = length(steps[0].state)
        carried = [tf.zeros([batch, self.units])] * 2
        memories = []
        for spec, encoder, step in zip(self.step_specs, self.encoder_of, steps, strict=True):
            action = step.action if self.reads_actions else None
            summary = summarize(spec, step.state, action, self.grid)  # (batch, features)
            memory, carried = self.memory(self.encoders[encoder](summary), carried)  # (batch, units)
            memories.append(memory)
        return tf.stack(memories, axis=1)  # (batch, steps, units)

    def get_config(self):
        return super().get_config() | {
            "units": self.units,
            "grid": self.grid,
            "reads_actions": self.reads_actions,
        }

    def get_build_config(self):
        return None  # The network says which steps there are, each time anew.
