import numpy as np
import pytest
import tensorflow as tf
from differences import check_gradients, weights_of
from graphs import largest_tensor
from support import randomized

from dreal_tf.layers.sasa import StandAloneAttention

RANDOM = np.random.default_rng(0)


def built(shape, seed=1, **arguments):
    layer = StandAloneAttention(**({"kernel_size": 3, "heads": 2} | arguments))
    layer.build(shape)
    return randomized(layer, seed)


def by_hand(state, weights, side, strides=1, scale=False):
    """Equation 3 of the paper, key by key, then the pooling of section 3.1."""
    batch, height, width, _ = state.shape
    query, key, value = (state @ weights[f"{name}/kernel"] for name in ("query", "key", "value"))
    heads = len(weights["row_table"])
    size, reach = query.shape[-1] // heads, side // 2
    action = np.zeros((batch, heads, height * width, side * side))
    result = np.zeros(query.shape)
    for b, h, i, j in np.ndindex(batch, heads, height, width):
        part = slice(h * size, (h + 1) * size)
        q = query[b, i, j, part] / (np.sqrt(size) if scale else 1)
        logits, values = [], []
        for down in range(side):
            for right in range(side):
                y, x = i + down - reach, j + right - reach
                inside = 0 <= y < height and 0 <= x < width
                offset = weights["row_table"][h, down]
                if "column_table" in weights:
                    offset = np.concatenate([offset, weights["column_table"][h, right]])
                k = key[b, y, x, part] if inside else np.zeros(size)
                logits.append(q @ (k + offset))
                values.append(value[b, y, x, part] if inside else np.zeros(size))
        row = np.exp(np.array(logits) - max(logits))
        row /= row.sum()
        action[b, h, i * width + j] = row
        result[b, i, j, part] = row @ np.array(values)
    if strides > 1:
        cells = [range(0, height, strides), range(0, width, strides)]
        result = np.stack(
            [
                np.stack(
                    [result[:, i : i + strides, j : j + strides].mean((1, 2)) for j in cells[1]], 1
                )
                for i in cells[0]
            ],
            axis=1,
        )
    return action, result


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((2, 5, 7, 6), {"filters": 8}),
        ((2, 5, 7, 6), {"strides": 2, "heads": 3}),
        (
            (1, 3, 4, 5),
            {"filters": 6, "kernel_size": 5},
        ),  # Heads of 3 channels: 2 for rows, 1 for columns.
        ((1, 3, 4, 1), {"heads": 1, "scale": True}),  # A head of 1 channel: none for columns.
        ((1, 3, 4, 8), {"scale": True, "kernel_size": 7}),
        ((2, 1, 1, 4), {}),
    ],
)
def test_action_and_map_follow_the_paper(shape, arguments):
    layer, state = built(shape, **arguments), RANDOM.normal(size=shape).astype("float32")
    refined, action = layer(state, return_action=True)
    expected_action, expected = by_hand(
        state, weights_of(layer), layer.kernel_size, layer.strides, layer.scale
    )
    assert layer.used_heads == layer.heads
    np.testing.assert_allclose(action, expected_action, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("strides", [1, 2])
def test_gradients_are_those_of_the_formula(strides):
    layer = built((1, 3, 4, 5), filters=6, strides=strides)
    check_gradients(
        layer,
        lambda points: by_hand(points["state"], points, 3, strides)[1],
        RANDOM.normal(size=(1, 3, 4, 5)),
    )


def test_logits_are_a_dot_product_over_channels():
    """One number for each key, whatever the channels; the same for all channels of a value."""
    layer = built((1, 4, 4, 6), heads=1)
    state = RANDOM.normal(size=(1, 4, 4, 6)).astype("float32")
    assert tuple(layer(state, propose_only=0).shape) == (1, 1, 16, 9)
    one = np.zeros((1, 1, 16, 9), "float32")
    one[..., 5] = 1  # The position to the right.
    value = state @ layer.value.kernel.numpy()
    right = np.concatenate([value[:, :, 1:], 0 * value[:, :, :1]], axis=2)
    np.testing.assert_allclose(layer(state, action=one), right, rtol=1e-5, atol=1e-6)


def test_keys_outside_the_map_count_by_their_offset():
    layer = built((1, 1, 1, 4), heads=1)
    layer.row_table.assign(np.zeros((1, 3, 2)))
    layer.column_table.assign(np.zeros((1, 3, 2)))
    layer.key.kernel.assign(np.zeros((4, 4)))
    refined, action = layer(np.ones((1, 1, 1, 4), "float32"), return_action=True)
    np.testing.assert_allclose(action, np.full((1, 1, 1, 9), 1 / 9), rtol=1e-6)
    expected = layer.value.kernel.numpy().sum(axis=0) / 9
    np.testing.assert_allclose(np.ravel(refined), expected, rtol=1e-5)


@pytest.mark.parametrize(("filters", "heads"), [(64, 8), (12, 6), (8, 4), (7, 1), (1, 1)])
def test_the_greatest_number_of_heads_that_divides_the_filters_is_used(filters, heads):
    layer = StandAloneAttention(filters)
    layer.build((None, None, None, 5))
    action = layer(np.ones((1, 2, 3, 5), "float32"), propose_only=0)
    assert tuple(action.shape) == (1, heads, 6, 49)
    # A head of one channel has no table for columns.
    tables = filters if filters > heads else heads
    assert layer.count_params() == 3 * 5 * filters + 7 * tables


def test_memory_grows_with_the_window_and_not_with_pairs_of_places():
    layer = built((1, 96, 96, 4), strides=2)

    def with_gradient(state):
        with tf.GradientTape() as tape:
            tape.watch(state)
            loss = tf.reduce_sum(layer(state) ** 2)
        return tape.gradient(loss, state), layer(state, propose_only=0)

    positions = 96 * 96
    assert largest_tensor(with_gradient, (1, 96, 96, 4)) <= positions * 9 * 4


def test_images_of_any_size():
    layer = built((None, None, None, 4))
    free = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 4))])
    for side in ((1, 1), (3, 5), (6, 2)):
        state = RANDOM.normal(size=(2, *side, 4)).astype("float32")
        _, expected = by_hand(state, weights_of(layer), 3)
        np.testing.assert_allclose(free(state), expected, rtol=1e-5, atol=1e-6)
