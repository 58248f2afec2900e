"""The recurrent walk over all steps of a network."""

import keras
import tensorflow as tf

from dreal_tf.method.critics.side_by_side import laid, taken
from dreal_tf.method.critics.summary import summarize, summary_width


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
    Source: Li, Chen 2020 (see `dreal_tf.method.rewards`): recurrent critics shared over depth. The
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
        encoded, order = [], []
        for number, encoder in enumerate(self.encoders):
            positions = [p for p, its in enumerate(self.encoder_of) if its == number]
            summaries = [self._summary(position, steps[position]) for position in positions]
            encoded.append(encoder(laid(summaries)))  # (positions · batch, units)
            order += positions
        # The cell's own equations, what does not depend on the memory in one product for all steps.
        kernel, recurrent, bias = (tf.convert_to_tensor(v) for v in self.memory.trainable_variables)
        inputs = taken(tf.matmul(laid(encoded), kernel) + bias, len(order))
        memory, carried, memories = None, None, []
        for _, gates in sorted(zip(order, inputs, strict=True), key=lambda pair: pair[0]):
            if memory is not None:
                gates += tf.matmul(memory, recurrent)
            memory, carried = _remembered(gates, carried)  # (batch, units)
            memories.append(memory)
        return tf.stack(memories, axis=1)  # (batch, steps, units)

    def _summary(self, position, step):
        action = step.action if self.reads_actions else None
        return summarize(self.step_specs[position], step.state, action, self.grid)

    def get_config(self):
        return super().get_config() | {
            "units": self.units,
            "grid": self.grid,
            "reads_actions": self.reads_actions,
        }

    def get_build_config(self):
        return None  # The network says which steps there are, each time anew.


def _remembered(gates, carried):
    """One step of an LSTM cell, from what goes into its gates: its memory, and what it carries on."""
    enter, keep, new, leave = tf.split(gates, 4, axis=1)
    entered = tf.sigmoid(enter) * tf.tanh(new)
    carried = entered if carried is None else tf.sigmoid(keep) * carried + entered
    return tf.sigmoid(leave) * tf.tanh(carried), carried
