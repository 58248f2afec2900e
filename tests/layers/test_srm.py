import numpy as np
import pytest
import tensorflow as tf
from differences import check_gradients, weights_of

from dreal_tf.layers.srm import SRM

SHAPES = [(3, 5, 7, 6), (1, 3, 4, 6), (3, 1, 2, 6), (3, 1, 1, 6)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def filled(shape, dtype=None, **arguments):
    """A layer whose weights are all random, and those weights by name in float64."""
    layer = SRM(dtype=dtype, **arguments)
    layer.build(shape)
    random = np.random.default_rng(1)
    for variable in layer.weights:
        low, high = (0.5, 2.0) if variable.name in ("gamma", "moving_variance") else (-1.0, 1.0)
        variable.assign(random.uniform(low, high, variable.shape))
    return layer, weights_of(layer)


def by_hand(state, w, training=False):
    """The paper's section 3 channel by channel, in float64: action, refined map, statistics."""
    batch, _, _, channels = state.shape
    logits = np.zeros((batch, channels))
    for image, channel in np.ndindex(batch, channels):
        values = state[image, :, :, channel].ravel()
        mean = sum(values) / len(values)
        variance = 0.0
        if len(values) > 1:
            variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
        style = np.array([mean, np.sqrt(variance + 1e-5)])
        logits[image, channel] = w["style"][channel] @ style
    mean, variance = w["norm/moving_mean"], w["norm/moving_variance"]
    if training:
        mean, variance = logits.mean(0), logits.var(0)
    normal = (logits - mean) / np.sqrt(variance + 1e-5)
    action = sigmoid(normal * w["norm/gamma"] + w["norm/beta"])[:, None, None, :]
    return action, state * action, (mean, variance)


def draw(shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_action_and_map_follow_the_paper(shape, training):
    layer, w = filled(shape)
    state = draw(shape).astype("float32")
    refined, action = layer(state, return_action=True, training=training)
    expected_action, expected, _ = by_hand(np.float64(state), w, training)
    np.testing.assert_allclose(action, expected_action, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_places_are_counted_where_height_and_width_are_unknown(shape):
    layer, w = filled((None, None, None, 6))
    state = draw(shape).astype("float32")
    traced = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 6))])
    np.testing.assert_allclose(traced(state), by_hand(np.float64(state), w)[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_every_gate_is_half_open_before_the_first_step_of_training(training):
    _, action = SRM()(draw((3, 5, 7, 6)), return_action=True, training=training)
    np.testing.assert_array_equal(action, np.full((3, 1, 1, 6), 0.5))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_statistics_keep_the_digits_that_half_precision_would_lose(policy):
    shape = (4, 5, 7, 6)
    layer, w = filled(shape, dtype=policy)
    # Around 300 these types have steps of 2 and 0.25; the images' means differ by less.
    state = tf.cast(300 + 0.5 * draw(shape), layer.compute_dtype)
    action = layer(state, propose_only=0, training=True)
    assert action.dtype == layer.compute_dtype
    assert {v.dtype for v in layer.weights} == {"float32"}
    expected, _, _ = by_hand(np.float64(tf.cast(state, "float64")), w, training=True)
    np.testing.assert_allclose(np.float32(action), expected, atol=4e-3)


def test_only_training_moves_the_averages_and_by_a_tenth():
    shape = (3, 5, 7, 6)
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
        np.testing.assert_allclose(moved, 0.9 * w[f"norm/{name}"] + 0.1 * own, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(3, 5, 7, 6), (3, 1, 1, 6)])
def test_gradient_is_that_of_the_formula(shape, training):
    layer, _ = filled(shape, dtype="float64")
    check_gradients(
        layer,
        lambda points: by_hand(points["state"], points, training)[1],
        draw(shape),
        training=training,
    )


def test_parameter_count():
    layer = SRM()
    layer.build((None, None, None, 6))
    assert layer.count_params() == 6 * 2 + 6 * 4  # Two weights a channel and BatchNorm's four.
