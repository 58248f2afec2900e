"""Steps to vectors whose length does not depend on the image size: what a critic reads. [ours]"""

import tensorflow as tf


def summarize(kind, state, action=None, grid=4):
    """One vector per image from the state and action of a step, or from its state alone.

    Channel: [global average of the state; action]. Spatial: the state's channel mean and the
    action, both averaged to a grid. Pairwise: the attention received by each place and the entropy
    of each place's own attention, both averaged to a grid, and the global average of the state.
    Without the action: its part left out, and for a spatial one the state's global average too.

    Args:
        kind: str, one of `ACTION_KINDS`.
        state: float tensor (batch, height, width, channels).
        action: float tensor of the kind's shape, see `Step`, or None.
        grid: int >= 1. Side of the grid (cells).
    Returns:
        float32 tensor (batch, features); `summary_width` gives the number of features.
    Example:
        >>> vector = summarize("channel", np.ones((2, 4, 4, 8)), np.zeros((2, 1, 1, 8)))
        >>> tuple(vector.shape), float(vector[0, 0]), float(vector[0, 8])
        ((2, 16), 1.0, 0.0)
    """
    state = tf.cast(state, tf.float32)
    if action is None:
        return _state_alone(kind, state, grid)
    action = tf.cast(action, tf.float32)
    if kind == "channel":
        return tf.concat([tf.reduce_mean(state, [1, 2]), tf.squeeze(action, [1, 2])], axis=1)
    if kind == "spatial":
        maps = tf.concat([tf.reduce_mean(state, axis=3, keepdims=True), action], axis=3)
        return _flat(area_pool(maps, grid))
    head_axes = list(range(1, action.shape.rank - 2))
    action = tf.reduce_mean(action, axis=head_axes) if head_axes else action
    received = tf.reduce_mean(action, axis=1)
    entropy = -tf.reduce_sum(tf.math.xlogy(action, action), axis=2)
    return tf.concat(
        [
            _flat(area_pool(_as_map(received, state), grid)),
            _flat(area_pool(_as_map(entropy, state), grid)),
            tf.reduce_mean(state, [1, 2]),
        ],
        axis=1,
    )


def summary_width(kind, channels, grid=4, with_action=True):
    """Number of features that `summarize` gives for a state of `channels` channels.

    Example:
        >>> summary_width("channel", 8), summary_width("spatial", 8), summary_width("pairwise", 8)
        (16, 32, 40)
    """
    cells = grid**2
    if with_action:
        return {"channel": 2 * channels, "spatial": 2 * cells, "pairwise": 2 * cells + channels}[kind]
    return {"channel": channels, "spatial": cells + channels, "pairwise": channels}[kind]


def _state_alone(kind, state, grid):
    average = tf.reduce_mean(state, [1, 2])
    if kind != "spatial":
        return average
    map_ = tf.reduce_mean(state, axis=3, keepdims=True)
    return tf.concat([average, _flat(area_pool(map_, grid))], axis=1)


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
    rows = _overlap(tf.shape(maps)[1], grid)
    columns = _overlap(tf.shape(maps)[2], grid)
    return tf.einsum("gh,bhwc,kw->bgkc", rows, maps, columns)


def _overlap(size, grid):
    """(grid, size): the share of each cell that each pixel covers; rows sum to 1."""
    length = tf.cast(size, tf.float32)
    edges = tf.range(grid + 1, dtype=tf.float32) * length / grid
    pixels = tf.range(length)
    covered = tf.minimum(edges[1:, None], pixels + 1) - tf.maximum(edges[:-1, None], pixels)
    return tf.maximum(covered, 0.0) * grid / length


def _as_map(values, state):
    """Values (batch, n) laid out as the state's map where n is its number of places, else as a row."""
    places = tf.shape(state)[1] * tf.shape(state)[2]
    count = tf.shape(values)[1]
    height = tf.where(count == places, tf.shape(state)[1], 1)
    return tf.reshape(values, tf.stack([tf.shape(values)[0], height, count // height, 1]))


def _flat(maps):
    return tf.reshape(maps, [tf.shape(maps)[0], maps.shape[1] * maps.shape[2] * maps.shape[3]])
