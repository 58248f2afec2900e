import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from differences import check_gradients, weights_of

from dreal_tf.layers.non_local import NonLocal

STATE = np.random.default_rng(0).normal(size=(2, 5, 7, 6)).astype("float32")
SHAPES = [(2, 5, 7, 6), (1, 3, 4, 6), (3, 4, 6, 2), (1, 1, 1, 6), (2, 1, 3, 6), (1, 2, 1, 6)]
FORMS = list(itertools.product((True, False), (True, False)))  # subsample, scale


def state_of(shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def random_layer(state, **options):
    """A layer whose every weight is random, those that start at 0 or 1 included."""
    layer = NonLocal(**options)
    layer.build(state.shape)
    random = np.random.default_rng(1)
    for weight in layer.weights:
        value = random.normal(size=weight.shape, scale=0.5)
        weight.assign(np.abs(value) + 0.5 if weight.name == "moving_variance" else value)
    return layer


def embedded(w, name, state):
    """A 1×1 convolution: the same matrix at every position."""
    return state @ w[f"{name}/kernel"] + w.get(f"{name}/bias", 0.0)


def pooled(maps):
    """The greatest of each 2×2 window; windows at the end of an odd side are cut off."""
    rows, columns = -(-maps.shape[1] // 2), -(-maps.shape[2] // 2)
    out = np.zeros((maps.shape[0], rows, columns, maps.shape[3]))
    for row, column in np.ndindex(rows, columns):
        window = maps[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        out[:, row, column] = window.max(axis=(1, 2))
    return out


def by_hand(w, state, subsample=True, scale=False, training=False, action=None):
    """Equations 1, 3 and 6 of the paper, position by position, in float64."""
    state = np.float64(state)
    batch, height, width, _ = state.shape
    theta, phi, g = (embedded(w, name, state) for name in ("theta", "phi", "g"))
    if subsample:
        phi, g = pooled(phi), pooled(g)
    inner = theta.shape[-1]
    query_positions = [(i, j) for i in range(height) for j in range(width)]
    key_positions = [(i, j) for i in range(phi.shape[1]) for j in range(phi.shape[2])]
    own = np.zeros((batch, len(query_positions), len(key_positions)))
    for image in range(batch):
        for query, position in enumerate(query_positions):
            for key, other in enumerate(key_positions):
                product = theta[(image, *position)] @ phi[(image, *other)]
                own[image, query, key] = np.exp(product / np.sqrt(inner) if scale else product)
            own[image, query] /= own[image, query].sum()
    action = own if action is None else np.float64(action)
    attended = np.zeros((batch, height, width, inner))
    for image in range(batch):
        for query, position in enumerate(query_positions):
            for key, other in enumerate(key_positions):
                attended[(image, *position)] += action[image, query, key] * g[(image, *other)]
    widened = embedded(w, "w_z", attended)
    mean, variance = w["norm/moving_mean"], w["norm/moving_variance"]
    if training:
        mean, variance = widened.mean(axis=(0, 1, 2)), widened.var(axis=(0, 1, 2))
    branch = (widened - mean) / np.sqrt(variance + 1e-5) * w["norm/gamma"] + w["norm/beta"]
    for image in range(batch):
        if not action[image].any():
            branch[image] = 0.0
    return own, state + branch


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("subsample", "scale"), FORMS)
def test_action_and_map_follow_the_paper(shape, subsample, scale):
    state = state_of(shape)
    layer = random_layer(state, subsample=subsample, scale=scale)
    refined, action = layer(state, return_action=True)
    expected_action, expected = by_hand(weights_of(layer), state, subsample, scale)
    assert action.shape == expected_action.shape
    np.testing.assert_allclose(action, expected_action, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-6)


def test_training_normalises_by_the_batch_and_moves_the_averages():
    layer = random_layer(STATE)
    weights = weights_of(layer)
    _, expected = by_hand(weights, STATE, training=True)
    np.testing.assert_allclose(layer(STATE, training=True), expected, rtol=1e-5, atol=1e-5)
    assert np.abs(layer.norm.moving_mean - weights["norm/moving_mean"]).max() > 1e-3


def test_neither_inference_nor_proposing_moves_the_averages():
    layer = random_layer(STATE)
    before = weights_of(layer)
    layer(STATE, training=False)
    layer(STATE, propose_only=0, training=True)
    for name, value in weights_of(layer).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("training", [False, True])
def test_another_action_is_applied_to_the_halved_values(training):
    layer, random = random_layer(STATE), np.random.default_rng(3)
    action = random.dirichlet(np.ones(12), size=(2, 35)).astype("float32")
    _, expected = by_hand(weights_of(layer), STATE, training=training, action=action)
    refined = layer(STATE, action=action, training=training)
    np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("subsample", "scale"), [(True, False), (False, True)])
def test_gradients_are_those_of_the_formula(training, subsample, scale):
    state = STATE[:, :3, :5]
    layer = random_layer(state, subsample=subsample, scale=scale)
    check_gradients(
        layer,
        lambda points: by_hand(points, points["state"], subsample, scale, training)[1],
        state,
        # A row of the softmax does not see what all its keys share; BatchNorm takes off what all
        # positions share.
        silent=("phi/bias", "g/bias") if training else ("phi/bias",),
        training=training,
    )


def test_only_what_makes_the_action_learns_from_the_action():
    layer = random_layer(STATE)
    direction = np.random.default_rng(5).normal(size=(2, 35, 12)).astype("float32")
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(direction * layer(STATE, propose_only=0))
    gradients = tape.gradient(value, [v.value for v in layer.trainable_variables])
    reached = {
        v.path.split("/")[-2]
        for v, g in zip(layer.trainable_variables, gradients, strict=True)
        if g is not None
    }
    assert reached == {"theta", "phi"}


def test_a_new_layer_passes_the_state_through_with_an_action_of_its_own():
    layer = NonLocal()
    for training in (False, True):
        refined, action = layer(100 * STATE, training=training, return_action=True)
        np.testing.assert_array_equal(refined, 100 * STATE)
        assert np.std(action, axis=-1).max() > 1e-3


def test_a_new_layer_of_a_wide_state_attends_to_more_than_one_place():
    wide = np.random.default_rng(6).normal(size=(1, 4, 4, 512)).astype("float32")
    assert np.max(NonLocal(subsample=False)(wide, propose_only=0)) < 0.5


@pytest.mark.parametrize("training", [False, True])
def test_an_action_of_zeros_passes_its_image_through_to_the_bit(training):
    layer = random_layer(STATE)
    assert np.abs(layer.norm.beta).max() > 0.1
    action = np.array(layer(STATE, propose_only=0))
    action[1] = 0
    refined = layer(STATE, action=action, training=training)
    np.testing.assert_array_equal(refined[1], STATE[1])
    _, expected = by_hand(weights_of(random_layer(STATE)), STATE, training=training, action=action)
    np.testing.assert_allclose(refined[0], expected[0], rtol=1e-5, atol=1e-5)
    assert np.abs(refined[0] - STATE[0]).max() > 1e-2


@pytest.mark.parametrize(("subsample", "keys"), [(True, "halved"), (False, "places")])
def test_axes_say_what_the_keys_are(subsample, keys):
    layer = NonLocal(subsample=subsample)
    _, steps = layer(keras.Input((5, 7, 6)), return_modules=True)
    (spec,) = layer.module_specs(steps)
    assert spec.axes == ("places", keys)
    assert spec.action_shape == (35, 12 if subsample else 35)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_large_logits_neither_overflow_nor_blur(policy):
    """Products of 160,000: beyond float16, and nearer to each other than steps of bfloat16."""
    layer = NonLocal(bottleneck=1, subsample=False, dtype=policy)
    state = np.float32([[[[400.0, 0.0], [400.0, 1.0]]]])
    layer.build(state.shape)
    for sublayer in (layer.theta, layer.phi):
        sublayer.kernel.assign(np.eye(2).reshape(1, 1, 2, 2))
    action = layer(state, propose_only=0)
    assert action.dtype == layer.compute_dtype
    one = 1 / (1 + np.exp(-1))
    expected = [[[0.5, 0.5], [1 - one, one]]]
    np.testing.assert_allclose(np.float32(action), expected, atol=5e-3)


@pytest.mark.parametrize(("channels", "bottleneck", "inner"), [(6, 2, 3), (7, 3, 2), (3, 8, 1)])
def test_inner_width_is_the_whole_part_of_channels_over_bottleneck(channels, bottleneck, inner):
    layer = NonLocal(bottleneck)
    layer.build((None, 4, 4, channels))
    embeddings = 3 * (channels * inner + inner)
    assert layer.count_params() == embeddings + inner * channels + 4 * channels
