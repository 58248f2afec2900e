import numpy as np
import pytest
import tensorflow as tf
from differences import check_gradients, weights_of
from support import randomized

from dreal_tf.layers.aa import AugmentedConvolution, offsets

RANDOM = np.random.default_rng(0)
SMALL = dict(heads=2, key_fraction=0.5, value_fraction=0.5, least_key_size=3)


def built(shape, seed=1, **arguments):
    layer = AugmentedConvolution(**(SMALL | arguments))
    layer.build(shape)
    return randomized(layer, seed)


def stretched(table, side):
    """The table read at 2 · side - 1 positions from its one end to its other."""
    positions = np.linspace(0, len(table) - 1, 2 * side - 1) if side > 1 else [(len(table) - 1) / 2]
    known = np.arange(len(table))
    return np.stack([np.interp(positions, known, column) for column in table.T], axis=1)


def pooled(state, stride):
    """The mean of each cell; cells at the far ends may hold fewer positions."""
    height, width = (-(-side // stride) for side in state.shape[1:3])
    result = np.zeros((len(state), height, width, state.shape[3]))
    for i in range(height):
        for j in range(width):
            cell = state[:, i * stride : (i + 1) * stride, j * stride : (j + 1) * stride]
            result[:, i, j] = cell.mean(axis=(1, 2))
    return result


def convolved(state, kernel, stride):
    kernel = kernel[None, None] if kernel.ndim == 2 else kernel  # `weights_of` gives 1×1 as a matrix.
    size = len(kernel)
    sides = [-(-side // stride) for side in state.shape[1:3]]
    total = [
        max((out - 1) * stride + size - side, 0)
        for out, side in zip(sides, state.shape[1:3], strict=True)
    ]
    pads = [(0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)]
    padded = np.pad(state, pads)
    result = np.zeros((len(state), *sides, kernel.shape[3]))
    for i in range(sides[0]):
        for j in range(sides[1]):
            patch = padded[:, i * stride : i * stride + size, j * stride : j * stride + size]
            result[:, i, j] = np.tensordot(patch, kernel, 3)
    return result


def by_hand(state, weights, heads, strides=1):
    """Equations 1 to 4 of the paper, position by position."""
    bias = {
        n: weights.get(f"{n}/bias", 0.0) for n in ("convolution", "query", "key", "value", "project")
    }
    small = pooled(state, strides)
    batch, height, width, _ = small.shape
    query, key, value = (small @ weights[f"{n}/kernel"] + bias[n] for n in ("query", "key", "value"))
    size, positions = query.shape[-1] // heads, height * width
    if "row_table" in weights:
        rows, columns = (
            stretched(weights["row_table"], height),
            stretched(weights["column_table"], width),
        )
    action = np.zeros((batch, heads, positions, positions))
    attended = np.zeros(value.shape)
    for b, h in np.ndindex(batch, heads):
        keys, values = slice(h * size, (h + 1) * size), value.shape[-1] // heads
        values = slice(h * values, (h + 1) * values)
        for i, j in np.ndindex(height, width):
            q = query[b, i, j, keys] / np.sqrt(size)
            logits = key[b, :, :, keys] @ q
            if "row_table" in weights:  # The embeddings of offsets from -i and -j on.
                logits += (rows[height - 1 - i :][:height] @ q)[:, None]
                logits += columns[width - 1 - j :][:width] @ q
            row = np.exp(logits - logits.max())
            row /= row.sum()
            action[b, h, i * width + j] = row.ravel()
            attended[b, i, j, values] = (row[..., None] * value[b, :, :, values]).sum(axis=(0, 1))
    attended = attended @ weights["project/kernel"] + bias["project"]
    convolution = convolved(state, weights["convolution/kernel"], strides) + bias["convolution"]
    return action, np.concatenate([convolution, attended], axis=-1)


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((2, 5, 7, 6), {}),
        ((1, 3, 4, 6), {"relative": False, "filters": 9, "heads": 3}),
        ((2, 5, 7, 6), {"strides": 2, "filters": 8}),
        ((1, 3, 4, 5), {"strides": 2, "kernel_size": 1, "use_bias": True}),
        ((2, 1, 1, 4), {}),
    ],
)
def test_action_and_map_follow_the_paper(shape, arguments):
    layer, state = built(shape, **arguments), RANDOM.normal(size=shape).astype("float32")
    refined, action = layer(state, return_action=True)
    strides = arguments.get("strides", 1)
    expected_action, expected = by_hand(state, weights_of(layer), layer.heads, strides)
    np.testing.assert_allclose(action, expected_action, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strides", [1, 2])
def test_gradients_are_those_of_the_formula(strides):
    layer = built((1, 3, 4, 6), strides=strides, use_bias=True)
    check_gradients(
        layer,
        lambda points: by_hand(points["state"], points, 2, strides)[1],
        RANDOM.normal(size=(1, 3, 4, 6)),
        silent=("key/bias",),  # A row of the softmax does not see what all its keys share.
    )


def test_every_head_reads_its_own_part_of_the_queries():
    """A port that reshapes heads without the transpose mixes positions of one head with another's."""
    layer = built((2, 3, 4, 6), least_key_size=4)
    state = RANDOM.normal(size=(2, 3, 4, 6)).astype("float32")
    _, before = layer(state, return_action=True)
    kernel = layer.query.kernel.numpy()
    kernel[:, 4:] = RANDOM.normal(size=(6, 4))
    layer.query.kernel.assign(kernel)
    _, after = layer(state, return_action=True)
    np.testing.assert_array_equal(before[:, 0], after[:, 0])
    assert np.abs(before[:, 1] - after[:, 1]).max(axis=-1).min() > 1e-3


def test_every_head_s_action_moves_its_own_part_of_the_values():
    layer = built((1, 3, 4, 8))
    layer.project.kernel.assign(np.eye(4))
    state = RANDOM.normal(size=(1, 3, 4, 8)).astype("float32")
    refined, action = layer(state, return_action=True)
    other = np.array(action)
    other[:, 1] = np.roll(other[:, 1], 1, axis=-1)
    moved = np.abs(layer(state, action=other) - refined).max(axis=(0, 1, 2))
    assert (moved[:6] == 0).all() and (moved[6:] > 1e-3).all()


@pytest.mark.parametrize("side", [(5, 7), (3, 9), (8, 4), (1, 1), (1, 6)])
@pytest.mark.parametrize("known", [True, False])
def test_tables_stretch_to_images_of_another_size(side, known):
    layer = built((None, 5, 7, 6) if known else (None, None, None, 6))
    assert tuple(layer.row_table.shape) == ((9, 3) if known else (63, 3))
    assert tuple(layer.column_table.shape) == ((13, 3) if known else (63, 3))
    state = RANDOM.normal(size=(2, *side, 6)).astype("float32")
    expected_action, expected = by_hand(state, weights_of(layer), heads=2)
    free = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 6))])
    for call in (layer, free):
        np.testing.assert_allclose(call(state), expected, rtol=1e-5, atol=1e-5)
    action = layer(state, propose_only=0)
    np.testing.assert_allclose(action, expected_action, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("side", [1, 2, 5, 32])
def test_the_built_size_reads_the_table_to_the_bit(side):
    table = RANDOM.normal(size=(2 * side - 1, 3)).astype("float32")
    free = tf.function(lambda side: offsets(table, side), input_signature=[tf.TensorSpec((), tf.int32)])
    for vectors in (offsets(table, side), free(side)):
        for query, key in np.ndindex(side, side):
            np.testing.assert_array_equal(vectors[query, key], table[key - query + side - 1])


def test_with_strides_the_step_s_state_is_the_one_that_attention_reads():
    layer = built((None, 5, 7, 6), strides=2)
    state = RANDOM.normal(size=(2, 5, 7, 6)).astype("float32")
    _, (step,) = layer(state, return_modules=True)
    np.testing.assert_allclose(step.state, pooled(state, 2), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer(step.state, propose_only=0), step.action)


@pytest.mark.parametrize(
    ("filters", "heads", "keys", "values"),
    [
        (64, 8, 160, 8),  # 64 / 8 · 0.2 = 1.6, at least 20; 0.8, rounded.
        (1024, 8, 208, 104),  # 25.6 and 12.8, rounded.
        (6, 3, 60, 3),  # 3 heads: the convolution keeps half of the channels.
        (2, 1, 20, 1),
    ],
)
def test_widths_are_those_of_the_paper_and_narrow_layers_use_fewer_heads(filters, heads, keys, values):
    layer = AugmentedConvolution(filters=filters)
    layer.build((None, 6, 5, 16))
    assert layer(np.ones((1, 6, 5, 16)), propose_only=0).shape[1] == heads
    kernels = 9 * 16 * (filters - values) + 16 * (2 * keys + values) + values**2
    assert layer.count_params() == kernels + (11 + 9) * keys // heads
    without = AugmentedConvolution(filters=filters, relative=False, use_bias=True)
    without.build((None, 6, 5, 16))
    assert without.count_params() == kernels + filters - values + 2 * keys + 2 * values
