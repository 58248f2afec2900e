"""The meta critic, one memory over all modules of a network, and the paper's critic on it."""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from dreal_tf.method.critics.critic import Critic
from dreal_tf.method.critics.pairwise import pairwise_axes
from dreal_tf.method.formulas import ablation_loss
from dreal_tf.method.rows import concat_rows, split_rows
from dreal_tf.method.types import CriticOutput


@keras.saving.register_keras_serializable("dreal_tf")
class MetaCritic(keras.layers.Layer):
    """Walks the modules in depth order and gives one memory vector per module.

    One encoder per stage and kind of action, with its axes if it is pairwise, shared by the stage's
    blocks; one LSTM cell over all stages, whose time is depth.

    Args:
        units: int >= 1. Width of encoders and memory.
        grid: int >= 1. Side of the grid to which maps are averaged (cells).
        reads_actions: bool. Whether the walk sees the actions, or the states alone.
    Call arguments:
        modules: sequence of `ModuleOutput` in depth order.
    Returns:
        Float32 tensor (batch, modules, units).
    Example:
        >>> critic = MetaCritic(units=8)
        >>> critic.build([ModuleSpec("conv2_1/se", "conv2", "channel", (4, 4, 6), (1, 1, 6))])
        >>> ones = np.ones((2, 4, 4, 6), "float32")
        >>> tuple(critic([ModuleOutput(ones, ones[:, :1, :1])]).shape)
        (2, 1, 8)
    Source: Li, Chen 2020 (see `dreal_tf.method.formulas`): recurrent critics shared over depth. The
    summaries and widths are [ours].
    """

    def __init__(self, units=64, grid=4, reads_actions=True, **kwargs):
        # float32 whatever the network's precision: it is small, and rewards need the digits.
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.units = units
        self.grid = grid
        self.reads_actions = reads_actions

    def build(self, module_specs):
        """Makes an encoder per stage and kind, and the memory.

        Args:
            module_specs: sequence of `ModuleSpec`, in depth order.
        """
        self.module_specs = tuple(module_specs)
        self.encoder_of = []  # Position in `encoders` for each module.
        keys, self.encoders = {}, []
        for spec in self.module_specs:
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

    def call(self, modules):
        encoded, order = [], []
        for number, encoder in enumerate(self.encoders):
            positions = [p for p, its in enumerate(self.encoder_of) if its == number]
            summaries = [self._summary(position, modules[position]) for position in positions]
            encoded.append(encoder(concat_rows(summaries)))  # (positions · batch, units)
            order += positions
        # The cell's own equations, with the product that does not depend on the memory taken once for
        # all modules: (batch, 4 · units) each.
        cell = self.memory
        weights = cell.kernel, cell.recurrent_kernel, cell.bias
        kernel, recurrent, bias = map(tf.convert_to_tensor, weights)
        inputs = split_rows(tf.matmul(concat_rows(encoded), kernel) + bias, len(order))
        memory, carried, memories = None, None, []
        for _, gates in sorted(zip(order, inputs, strict=True), key=lambda pair: pair[0]):
            if memory is not None:
                gates += tf.matmul(memory, recurrent)
            memory, carried = _remembered(gates, carried)  # (batch, units)
            memories.append(memory)
        return tf.stack(memories, axis=1)  # (batch, modules, units)

    def _summary(self, position, module):
        action = module.action if self.reads_actions else None
        return summarize(self.module_specs[position], module.state, action, self.grid)

    def get_config(self):
        return super().get_config() | {
            "units": self.units,
            "grid": self.grid,
            "reads_actions": self.reads_actions,
        }

    def get_build_config(self):
        return None  # The network says which modules there are, each time it is loaded.


def _remembered(gates, carried):
    """The hidden and the cell state of an LSTM after one module, from the inputs of its four gates."""
    enter, keep, new, leave = tf.split(gates, 4, axis=1)
    entered = tf.sigmoid(enter) * tf.tanh(new)
    carried = entered if carried is None else tf.sigmoid(keep) * carried + entered
    return tf.sigmoid(leave) * tf.tanh(carried), carried


def summarize(spec, state, action=None, grid=4):
    """One vector per image from the state and action of a module, or from its state alone.

    Its length does not depend on the image size. [ours]

    Channel: [global average of the state; action]. Spatial: the state's channel mean and the
    action, both averaged to a grid. Pairwise: the attention received by each key, a mean over
    queries and heads, and the entropy of each query's attention, a mean over heads, both averaged
    to grid² cells, and the global average of the state. A cross of keys receives position by position.
    Without the action its part is missing, and a spatial module adds the state's global average.

    Args:
        spec: `ModuleSpec`.
        state: float tensor (batch, height, width, channels), of any height and width.
        action: float tensor of the kind's shape, see `ModuleOutput`, or None.
        grid: int >= 1. Side of the grid (cells).
    Returns:
        float32 tensor (batch, features); `summary_width` gives the number of features.
    Raises:
        ValueError: if critics do not know the axes of a pairwise module.
    Example:
        >>> spec = ModuleSpec("conv2_1/se", "conv2", "channel", (4, 4, 8), (1, 1, 8))
        >>> vector = summarize(spec, np.ones((2, 4, 4, 8)), np.zeros((2, 1, 1, 8)))
        >>> tuple(vector.shape), float(vector[0, 0]), float(vector[0, 8])
        ((2, 16), 1.0, 0.0)
    """
    state = tf.cast(state, tf.float32)
    if action is None:
        return _state_alone(spec.kind, state, grid)
    action = tf.cast(action, tf.float32)
    if spec.kind == "channel":
        return tf.concat([tf.reduce_mean(state, [1, 2]), tf.squeeze(action, [1, 2])], axis=1)
    if spec.kind == "spatial":
        if action.shape[-1] > 1:  # A map for each channel.
            action = tf.reduce_mean(action, axis=3, keepdims=True)
        maps = tf.concat([tf.reduce_mean(state, axis=3, keepdims=True), action], axis=3)
        return _flat(area_pool(maps, grid))
    return tf.concat([*_attention(spec, state, action, grid), tf.reduce_mean(state, [1, 2])], axis=1)


def summary_width(spec, grid=4, with_action=True):
    """Number of features that `summarize` gives for a module.

    Raises:
        ValueError: as `summarize`, but before any image is seen.
    Example:
        >>> spec = ModuleSpec("conv2_1/se", "conv2", "channel", (4, 4, 8), (1, 1, 8))
        >>> summary_width(spec), summary_width(spec, with_action=False)
        (16, 8)
    """
    kind, channels, cells = spec.kind, spec.state_shape[-1], grid**2
    if kind == "pairwise":
        pairwise_axes(spec.axes)
    if with_action:
        return {"channel": 2 * channels, "spatial": 2 * cells, "pairwise": 2 * cells + channels}[kind]
    return {"channel": channels, "spatial": cells + channels, "pairwise": channels}[kind]


def _state_alone(kind, state, grid):
    average = tf.reduce_mean(state, [1, 2])
    if kind != "spatial":
        return average
    map_ = tf.reduce_mean(state, axis=3, keepdims=True)
    return tf.concat([average, _flat(area_pool(map_, grid))], axis=1)


def _attention(spec, state, action, grid):
    """Attention received and entropy, each (batch, grid²)."""
    axes = pairwise_axes(spec.axes)
    entropy = -tf.reduce_sum(tf.math.xlogy(action, action), axis=-1)
    if axes.heads:
        action, entropy = tf.reduce_mean(action, axis=1), tf.reduce_mean(entropy, axis=1)
    if axes.keys == "cross":
        received, of_keys = _received_in_crosses(action), "places"
    else:
        received = tf.reduce_mean(action, axis=list(range(1, action.shape.rank - 1)))
        of_keys = axes.keys
    lengths = spec.action_shape
    return (
        _cells(received, of_keys, lengths[-1], state, grid),
        _cells(entropy, axes.queries, lengths[-2], state, grid),
    )


def _received_in_crosses(action):
    """Attention that each position receives from its column and row, a mean over all queries.

    Args:
        action: float32 tensor (batch, height, width, height + width).
    Returns:
        Float32 tensor (batch, height, width).
    """
    height, width = tf.shape(action)[1], tf.shape(action)[2]
    in_columns = tf.reduce_sum(action[..., :height], axis=1)  # (batch, width, height)
    in_rows = tf.reduce_sum(action[..., height:], axis=2)  # (batch, height, width)
    received = tf.transpose(in_columns, [0, 2, 1]) + in_rows
    return received / tf.cast(height * width, tf.float32)


def _cells(values, role, entries, state, grid):
    """Averages values, one per entry of an axis, to (batch, grid²), in the order of the axis."""
    if role == "members":  # They have no positions in a map: side by side.
        return tf.einsum("gn,bn->bg", _overlap(ops.shape(values)[1], grid**2), values)
    height, width = ops.shape(state)[1], ops.shape(state)[2]
    if role == "halved":
        height, width = (height + 1) // 2, (width + 1) // 2
    elif role == "window":
        height = width = math.isqrt(entries)
    map_ = tf.reshape(values, [-1, height, width, 1])
    return _flat(area_pool(map_, grid))


def area_pool(maps, grid):
    """Averages maps of any size over a grid of equal areas; cells may cut through pixels.

    Args:
        maps: float tensor (batch, height, width, channels), any height and width.
        grid: int >= 1. Side of the grid (cells).
    Returns:
        Float tensor (batch, grid, grid, channels), linear in `maps`.
    Example:
        >>> area_pool(np.arange(6, dtype="float32").reshape(1, 6, 1, 1), 3)[0, :, 0, 0].numpy().tolist()
        [0.5, 2.5, 4.5]
    """
    maps = tf.convert_to_tensor(maps)
    height, width, channels = ops.shape(maps)[1], ops.shape(maps)[2], maps.shape[3]
    if maps.shape[1] == maps.shape[2] == grid:
        return maps
    rows, columns = _overlap(height, grid), _overlap(width, grid)
    # One product that reads the maps once: a quarter of the time that einsum takes over the three.
    cells = tf.cast(rows[:, None, :, None] * columns[None, :, None, :], maps.dtype)
    cells = tf.reshape(cells, [grid**2, height * width])
    pooled = tf.matmul(cells, tf.reshape(maps, [-1, height * width, channels]))
    return tf.reshape(pooled, [-1, grid, grid, channels])


def _overlap(size, grid):
    """(grid, size): the fraction of each cell that each pixel covers; rows sum to 1."""
    # Known sizes, the usual ones, are computed here and leave no operations in a graph.
    if isinstance(size, int):
        library, pixels, size = np, np.arange(size, dtype=np.float32), np.float32(size)
    else:
        library, pixels, size = tf, tf.cast(tf.range(size), tf.float32), tf.cast(size, tf.float32)
    edges = np.arange(grid + 1, dtype=np.float32) * size / np.float32(grid)
    covered = library.minimum(edges[1:, None], pixels + 1) - library.maximum(edges[:-1, None], pixels)
    return library.maximum(covered, 0.0) * np.float32(grid) / size


def _flat(maps):
    return tf.reshape(maps, [-1, maps.shape[1] * maps.shape[2] * maps.shape[3]])


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
