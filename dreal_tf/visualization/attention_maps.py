"""The actions of a network on images, and its attention as maps over them."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dreal_tf.errors import InputError
from dreal_tf.layers import intervene
from dreal_tf.method.critics.pairwise import pairwise_axes
from dreal_tf.modules import ACTION_KINDS, ModuleSpec


class Recorded(NamedTuple):
    """The action of a module on some images.

    Attributes:
        spec: `ModuleSpec`; its sizes are those of these images.
        action: float32 array (n, ...), see `dreal_tf.modules.ModuleOutput`.
    """

    spec: ModuleSpec
    action: np.ndarray


def recorded_actions(network, images, kinds=ACTION_KINDS, batch_size=64, applied=False):
    """The actions of every actor of a network; actors may lie in networks inside it.

    Args:
        network: `keras.Model` of any kind with attention actors in it.
        images: float array (n, height, width, channels), as the network takes them; a list or dict of
            arrays if it has several inputs.
        kinds: collection of str, the kinds of action to keep, see `ModuleSpec`.
        batch_size: int >= 1. Images at a time.
        applied: bool. Record the factor 1 + b (A - 1) of a gate A that its layer blends in at the weight b, see
            `AttentionActor`, if the layer has no other module.
    Returns:
        Dict of `Recorded` by module, in the order in which they ran.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> recorded_actions(network, np.random.rand(5, 8, 8, 1))["conv4_1/se"].action.shape
        (5, 1, 1, 64)
    """
    return ActionRecorder(network, kinds, batch_size, applied)(images)


def batches_of(images, batch_size):
    """Yields batches of images, smaller ones if the images are large.

    Args:
        images: array (n, ...), or a list or dict of them for a network with several inputs.
        batch_size: int >= 1. Images at a time, of up to 512 × 512 pixels.
    Example:
        >>> [len(batch) for batch in batches_of(np.ones((3, 1024, 512, 1)), batch_size=4)]
        [2, 1]
    """
    parts = tf.nest.flatten(images)
    pixels = max(math.prod(part.shape[1:3]) for part in parts)
    size = max(1, min(batch_size, batch_size * 512**2 // max(pixels, 1)))
    for start in range(0, len(parts[0]), size):
        batch = slice(start, start + size)
        yield tf.nest.map_structure(lambda part, of=batch: np.asarray(part[of], np.float32), images)


def specs_of(images):
    """The `tf.TensorSpec` of any number of images like these, in their structure."""
    return tf.nest.map_structure(lambda part: tf.TensorSpec((None, *part.shape[1:])), images)


class ActionRecorder:
    """Records actions as `recorded_actions` does, and traces the network once for many calls.

    Args:
        network, kinds, batch_size, applied: see `recorded_actions`.
    Call arguments:
        images: see `recorded_actions`.
    Returns:
        Dict of `Recorded` by module.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> list(ActionRecorder(network)(np.random.rand(5, 8, 8, 1)))
        ['conv2_1/se', 'conv3_1/se', 'conv4_1/se']
    """

    def __init__(self, network, kinds=ACTION_KINDS, batch_size=64, applied=False):
        self.network = network
        self.applied = applied
        self.kinds = kinds
        self.batch_size = batch_size
        self._traced = {}

    def __call__(self, images):
        batches = list(self.batches(images))
        return {
            module: Recorded(spec, np.concatenate([batch[module].action for batch in batches]))
            for module, (spec, _) in batches[0].items()
        }

    def batches(self, images):
        """Yields the dict of one batch after the other, so that large actions need not be kept."""
        images = tf.nest.map_structure(np.asarray, images)
        traced, specs = self._for_images(specs_of(images))
        for batch in batches_of(images, self.batch_size):
            actions = traced(batch)
            yield {
                module: Recorded(specs[module], action.numpy()) for module, action in actions.items()
            }

    def _for_images(self, of_images):
        """The traced function for images of a shape, and the specs of the modules."""
        shape = str(of_images)
        if shape not in self._traced:
            specs = {}

            def actions_of(images):
                actions = {}

                def record(actor, index, state, action):
                    if actor.kinds[index] in self.kinds:
                        spec = actor.module_spec(index, state, action)
                        specs[spec.module] = spec
                        exact = tf.cast(action, tf.float32)
                        if self.applied and actor.blended and actor.is_gate and len(actor.kinds) == 1:
                            exact = 1 + tf.cast(actor.blend, tf.float32) * (exact - 1)
                        actions[spec.module] = exact
                    return action

                with intervene(record):
                    self.network(images, training=False)
                return actions

            traced = tf.function(actions_of, input_signature=[of_images], autograph=False)
            traced.get_concrete_function()
            self._traced[shape] = traced, specs
        return self._traced[shape]


def module_maps(network, images, batch_size=16):
    """The attention to positions of every module that has one.

    Args:
        network: `keras.Model` of any kind with attention actors in it.
        images: float array (n, height, width, channels), as the network takes them.
        batch_size: int >= 1. Images at a time.
    Returns:
        Dict of float32 arrays (n, rows, columns) by module, see `attention_map`; empty for a network
        whose actions are all over channels.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=CBAM(4))
        >>> maps = module_maps(network, np.ones((2, 8, 8, 1)))
        >>> list(maps)[0], maps["conv4_1/cbam_spatial"].shape
        ('conv2_1/cbam_spatial', (2, 2, 2))
    """
    batches = [
        {module: attention_map(*one) for module, one in batch.items() if has_map(one.spec)}
        for batch in ActionRecorder(network, ("spatial", "pairwise"), batch_size).batches(images)
    ]
    return {module: np.concatenate([batch[module] for batch in batches]) for module in batches[0]}


def has_map(spec):
    """Whether an action differs between positions.

    Args:
        spec: `ModuleSpec`.
    Example:
        >>> has_map(ModuleSpec("conv4_1/se", "conv4", "channel", (4, 4, 8), (1, 1, 8)))
        False
    """
    if spec.kind != "pairwise":
        return spec.kind == "spatial"
    _, queries, keys = pairwise_axes(spec.axes)
    return (queries, keys) != ("members", "members")


def attention_map(spec, action):
    """The attention of a module to each position.

    Spatial action: the action, a mean over its maps. Pairwise action: the attention that each position receives, a mean over
    queries and heads, times the number of positions, so that even attention gives 1. In a window,
    attention outside the map reaches no position. If the keys are not positions but members, such as
    bases: the attention of a position to its strongest member, from 1 over their number to 1.

    Args:
        spec: `ModuleSpec`, its sizes known.
        action: float array, see `dreal_tf.modules.ModuleOutput`.
    Returns:
        Float32 array (batch, height, width), the positions of the state, or of the halved state.
    Raises:
        InputError: for an action over channels, which has no map.
    Example:
        >>> spec = ModuleSpec("m/pair", "m", "pairwise", (1, 2, 3), (2, 2), ("places", "places"))
        >>> attention_map(spec, [[[0.0, 1.0], [0.5, 0.5]]]).tolist()
        [[[0.5, 1.5]]]
    """
    heads, queries, keys = _axes_with_map(spec)
    action = np.asarray(action, np.float32)
    if spec.kind == "spatial":
        return action.mean(axis=-1)
    if heads:
        action = action.mean(axis=1)
    if keys == "members":
        return action.max(axis=-1).reshape(-1, *_sides(queries, spec))
    if keys == "cross":
        received = _received_in_crosses(action)
    elif keys == "window":
        received = _received_in_windows(action, *_sides(queries, spec))
    else:
        received = action.sum(axis=1).reshape(-1, *_sides(keys, spec))
    count = np.prod(action.shape[1:-1])
    return received * np.float32(np.prod(received.shape[1:]) / count)


def query_map(spec, action, query):
    """The attention of one position, or of one member, to each position.

    If positions attend to members, such as bases: how much a position is rebuilt from each other one, if
    each member is the mean of the positions that attend to it, as in expectation maximization.

    Args:
        spec: `ModuleSpec` of a pairwise action, its sizes known.
        action: float array, see `dreal_tf.modules.ModuleOutput`.
        query: pair of int (row, column), a position of the state; an int if the queries are members.
    Returns:
        Float32 array (batch, height, width); a mean over heads. Each image's map sums to 1, or to
        less where some of the attention lies outside the image.
    Raises:
        InputError: for an action that is not pairwise, or over channels, or a query outside.
    Example:
        >>> spec = ModuleSpec("m/pair", "m", "pairwise", (1, 2, 3), (2, 2), ("places", "places"))
        >>> query_map(spec, [[[0.0, 1.0], [0.5, 0.5]]], (0, 0)).tolist()
        [[[0.0, 1.0]]]
    """
    heads, queries, keys = _axes_with_map(spec)
    if spec.kind == "spatial":
        raise InputError(
            f"Expected a pairwise action. Received: {spec.module!r}, whose action is spatial: all "
            "queries share its map. Use attention_map."
        )
    action = np.asarray(action, np.float32)
    if heads:
        action = action.mean(axis=1)
    if keys == "cross":
        return _cross_map(action, *_checked_query(query, *_sides("places", spec)))
    position = _position(query, queries, action.shape[1], spec)
    if keys == "members":  # Σ_m Z_im Z_jm / Σ_j Z_jm
        fractions = action / np.maximum(action.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        rows = np.einsum("bm,bjm->bj", action[:, position], fractions)
        return rows.reshape(-1, *_sides(queries, spec))
    if keys == "window":
        alone = np.zeros_like(action)
        alone[:, position] = action[:, position]
        return _received_in_windows(alone, *_sides(queries, spec))
    return action[:, position].reshape(-1, *_sides(keys, spec))


def _axes_with_map(spec):
    if not has_map(spec):
        raise InputError(
            f"Expected an action over places. Received: {spec.module!r}, whose action is over channels: "
            "it treats all places alike. Look at its channels, or take Grad-CAM."
        )
    return pairwise_axes(spec.axes) if spec.kind == "pairwise" else (False, "places", "places")


def _sides(role, spec):
    """Height and width of the map that an axis stands for."""
    height, width = spec.state_shape[:2]
    return ((height + 1) // 2, (width + 1) // 2) if role == "halved" else (height, width)


def _position(query, queries, count, spec):
    """The row of an action that a query stands for."""
    if queries != "members":
        height, width = _sides(queries, spec)
        row, column = _checked_query(query, height, width)
        return row * width + column
    if not isinstance(query, int) or not 0 <= query < count:
        raise InputError(
            f"Expected a member, from 0 to {count - 1}. Received: query={query!r}. Name one of them."
        )
    return query


def _checked_query(query, height, width):
    fits = isinstance(query, tuple) and len(query) == 2
    if not fits or not (0 <= query[0] < height and 0 <= query[1] < width):
        raise InputError(
            f"Expected a place (row, column) of a map of {height} × {width}. Received: "
            f"query={query!r}. Name one inside."
        )
    return query


def _received_in_crosses(action):
    """Sums over all queries: (batch, height, width)."""
    height = action.shape[1]
    in_columns = action[..., :height].sum(axis=1)  # (batch, width, height)
    return in_columns.transpose(0, 2, 1) + action[..., height:].sum(axis=2)


def _cross_map(action, row, column):
    """One query's attention on its column and its row."""
    batch, height, width, _ = action.shape
    map_ = np.zeros((batch, height, width), np.float32)
    map_[:, :, column] += action[:, row, column, :height]
    map_[:, row, :] += action[:, row, column, height:]
    return map_


def _received_in_windows(action, height, width):
    """Sums over all queries, without attention outside the map: (batch, height, width)."""
    side = math.isqrt(action.shape[-1])
    margin = side // 2
    windows = action.reshape(-1, height, width, side, side)
    wide = np.zeros((len(action), height + 2 * margin, width + 2 * margin), np.float32)
    for row in range(side):
        for column in range(side):
            wide[:, row : row + height, column : column + width] += windows[..., row, column]
    return wide[:, margin : margin + height, margin : margin + width]
