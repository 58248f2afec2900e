import numpy as np
import pytest
from differences import check_gradients, weights_of

from dreal_tf.layers.cbam import CBAM

SHAPES = [(2, 5, 7, 6), (1, 3, 4, 6), (2, 1, 1, 6)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def filled(shape, dtype=None, **arguments):
    """A layer whose weights are all random, and those weights by name in float64."""
    layer = CBAM(2, dtype=dtype, **arguments)
    layer.build(shape)
    random = np.random.default_rng(1)
    for variable in layer.weights:
        low, high = (0.5, 2.0) if variable.name in ("gamma", "moving_variance") else (-1.0, 1.0)
        variable.assign(random.uniform(low, high, variable.shape))
    return layer, weights_of(layer)


def by_hand(state, w, training=False):
    """Equations 1 to 3 of the paper position by position, in float64: actions, refined map, statistics."""
    batch, height, width, channels = state.shape

    def mlp(pooled):
        hidden = pooled @ w["squeeze/kernel"] + w.get("squeeze/bias", 0)
        return np.maximum(hidden, 0) @ w["excite/kernel"] + w.get("excite/bias", 0)

    channel = np.zeros((batch, 1, 1, channels))
    for image in range(batch):
        positions = state[image].reshape(-1, channels)
        channel[image, 0, 0] = sigmoid(mlp(positions.mean(0)) + mlp(positions.max(0)))
    gated = state * channel
    kernel = w["convolve/kernel"]
    reach = kernel.shape[0] // 2
    logits = np.zeros((batch, height, width, 1))
    for image, row, column in np.ndindex(batch, height, width):
        for y in range(max(row - reach, 0), min(row + reach + 1, height)):
            for x in range(max(column - reach, 0), min(column + reach + 1, width)):
                weight = kernel[y - row + reach, x - column + reach, :, 0]
                features = gated[image, y, x]
                logits[image, row, column] += weight[0] * features.mean()
                logits[image, row, column] += weight[1] * features.max()
    mean, variance = w["norm/moving_mean"], w["norm/moving_variance"]
    if training:
        mean, variance = logits.mean(keepdims=True)[0, 0, 0], logits.var(keepdims=True)[0, 0, 0]
    normal = (logits - mean) / np.sqrt(variance + 1e-5)
    spatial = sigmoid(normal * w["norm/gamma"] + w["norm/beta"])
    return (channel, spatial), gated * spatial, (mean, variance)


def draw(shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_actions_and_map_follow_the_paper(shape, training):
    layer, w = filled(shape)
    state = draw(shape).astype("float32")
    refined, actions = layer(state, return_action=True, training=training)
    expected_actions, expected, _ = by_hand(np.float64(state), w, training)
    for action, expected_action in zip(actions, expected_actions, strict=True):
        np.testing.assert_allclose(action, expected_action, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-6)


def test_without_biases_and_with_another_kernel():
    shape = (2, 5, 7, 6)
    layer, w = filled(shape, use_bias=False, kernel_size=3)
    assert sorted(w) == sorted(
        ["squeeze/kernel", "excite/kernel", "convolve/kernel"]
        + [f"norm/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    )
    state = draw(shape).astype("float32")
    np.testing.assert_allclose(layer(state), by_hand(np.float64(state), w)[1], rtol=1e-5, atol=1e-6)


def test_the_second_state_is_what_the_first_step_refined():
    shape = (2, 5, 7, 6)
    layer, _ = filled(shape)
    state = draw(shape).astype("float32")
    refined, (channel, spatial) = layer(state, return_modules=True)
    np.testing.assert_array_equal(spatial.state, channel.state * channel.action)
    np.testing.assert_array_equal(refined, spatial.state * spatial.action)
    for index, step in enumerate((channel, spatial)):
        np.testing.assert_array_equal(layer(step.state, propose_only=index), step.action)


def test_only_training_moves_the_averages_and_by_a_tenth():
    shape = (2, 5, 7, 6)
    layer, w = filled(shape)
    state = draw(shape).astype("float32")
    norm = layer.norm
    layer(state, training=False)
    np.testing.assert_array_equal(norm.moving_mean, np.float32(w["norm/moving_mean"]))
    layer(state, training=True)
    _, _, (mean, variance) = by_hand(np.float64(state), w, training=True)
    for moved, name, own in [
        (norm.moving_mean, "moving_mean", mean),
        (norm.moving_variance, "moving_variance", variance),
    ]:
        np.testing.assert_allclose(moved, 0.9 * w[f"norm/{name}"] + 0.1 * own, rtol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_gradient_is_that_of_the_formula(training):
    shape = (2, 4, 5, 6)
    layer, _ = filled(shape, dtype="float64")
    check_gradients(
        layer,
        lambda points: by_hand(points["state"], points, training)[1],
        draw(shape),
        training=training,
    )


@pytest.mark.parametrize(
    ("channels", "reduction", "hidden"),
    [(8, 2, 4), (16, 16, 1), (40, 16, 2), (7, 3, 2), (4, 16, 1), (1, 2, 1)],
)
def test_parameter_count(channels, reduction, hidden):
    layer = CBAM(reduction)
    layer.build((None, None, None, channels))
    mlp = channels * hidden + hidden + hidden * channels + channels
    assert layer.count_params() == mlp + 7 * 7 * 2 + 4  # BatchNorm of one map holds four numbers.
