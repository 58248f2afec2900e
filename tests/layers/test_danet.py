import keras
import numpy as np
import pytest
import tensorflow as tf
from differences import check_gradients, named, weights_of

from dreal_tf.layers.danet import DualAttention

STATE = np.random.default_rng(0).normal(size=(2, 5, 7, 6), scale=0.5).astype("float32")
SHAPES = [(2, 5, 7, 6), (1, 3, 4, 16), (3, 1, 1, 4), (1, 2, 1, 3)]


def state_of(shape):
    return np.random.default_rng(sum(shape)).normal(size=shape, scale=0.5).astype("float32")


def random_layer(state, **options):
    """A layer whose every weight is random, the factors that start at 0 included."""
    layer = DualAttention(**options)
    layer.build(state.shape)
    random = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape, scale=0.5))
    layer.alpha.assign(0.7)
    layer.beta.assign(-1.3)
    return layer


def softmax(row):
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def by_hand(w, state, actions=(None, None)):
    """Equations 1, 2 and 4 of the paper, image by image; channel attention as the authors' code has it."""
    state = np.float64(state)
    batch, height, width, channels = state.shape
    positions = height * width
    own = np.zeros((batch, positions, positions)), np.zeros((batch, channels, channels))
    parts = np.zeros((2, *state.shape))
    for image in range(batch):
        pixels = [state[image, i, j] for i in range(height) for j in range(width)]
        query, key, value = (
            [pixel @ w[f"{name}/kernel"] + w[f"{name}/bias"] for pixel in pixels]
            for name in ("query", "key", "value")
        )
        for j in range(positions):
            own[0][image, j] = softmax(np.array([query[j] @ key[i] for i in range(positions)]))
        for j in range(channels):
            similarity = np.array(
                [sum(pixel[j] * pixel[i] for pixel in pixels) for i in range(channels)]
            )
            own[1][image, j] = softmax(similarity.max() - similarity)
        position, channel = (
            (mine if given is None else np.float64(given))[image]
            for mine, given in zip(own, actions, strict=True)
        )
        for j in range(positions):
            attended = sum(position[j, i] * value[i] for i in range(positions))
            parts[0][image, j // width, j % width] = w["position_gamma"] * attended
        for j in range(channels):
            attended = sum(channel[j, i] * state[image, :, :, i] for i in range(channels))
            parts[1][image, :, :, j] = w["channel_gamma"] * attended
    return own, state + parts[0] + parts[1]


@pytest.mark.parametrize("shape", SHAPES)
def test_actions_and_map_follow_the_paper(shape):
    state = state_of(shape)
    layer = random_layer(state, reduction=2)
    refined, actions = layer(state, return_action=True)
    expected_actions, expected = by_hand(weights_of(layer), state)
    for action, expected_action in zip(actions, expected_actions, strict=True):
        np.testing.assert_allclose(action, expected_action, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-6)


def test_other_actions_are_applied_by_their_rows():
    layer, random = random_layer(STATE), np.random.default_rng(3)
    actions = tuple(
        random.dirichlet(np.full(size, 0.3), size=(2, size)).astype("float32") for size in (35, 6)
    )
    _, expected = by_hand(weights_of(layer), STATE, actions)
    np.testing.assert_allclose(layer(STATE, action=actions), expected, rtol=1e-5, atol=1e-6)


def test_row_i_of_the_channel_action_makes_channel_i():
    layer = random_layer(STATE)
    nothing = np.zeros((2, 35, 35), "float32")
    sources = [2, 0, 0, 5, 1, 3]
    channel = np.tile(np.eye(6, dtype="float32")[sources], (2, 1, 1))
    refined = layer(STATE, action=(nothing, channel))
    np.testing.assert_allclose(refined, STATE - 1.3 * STATE[..., sources], rtol=1e-5, atol=1e-6)


def test_a_channel_asks_most_of_those_least_like_it():
    state = np.random.default_rng(4).normal(size=(1, 4, 4, 1)).astype("float32")
    _, (_, action) = DualAttention()(
        np.concatenate([state, state, -state], axis=-1), return_action=True
    )
    assert np.argmax(action[0], axis=-1).tolist()[:2] == [2, 2] and action[0, 0, 2] > 0.9


def test_both_steps_read_the_same_state():
    layer = random_layer(STATE)
    _, steps = layer(STATE, return_modules=True)
    for step in steps:
        np.testing.assert_array_equal(step.state, STATE)
    other = np.full((2, 35, 35), 1 / 35, "float32")
    _, (_, channel) = layer(STATE, action=(other, None), return_action=True)
    np.testing.assert_array_equal(channel, steps[1].action)


def test_zeros_pass_the_state_through_to_the_bit_and_leave_the_other_part_alone():
    layer = random_layer(STATE)
    refined, own = layer(STATE, return_action=True)
    nothing = tuple(layer.reference_action(action, "identity", i) for i, action in enumerate(own))
    np.testing.assert_array_equal(layer(STATE, action=nothing), STATE)
    parts = []
    for index in (0, 1):
        mixed = [nothing[0], nothing[1]]
        mixed[index] = own[index]
        alone = layer(STATE, action=tuple(mixed))
        _, expected = by_hand(weights_of(layer), STATE, mixed)
        np.testing.assert_allclose(alone, expected, rtol=1e-5, atol=1e-6)
        parts.append(alone - STATE)
        assert np.abs(parts[index]).max() > 1e-2
        np.testing.assert_array_equal(layer.refine(STATE, own[index], index), alone)
        np.testing.assert_array_equal(layer.refine(STATE, nothing[index], index), STATE)
    np.testing.assert_allclose(STATE + parts[0] + parts[1], refined, rtol=1e-5, atol=1e-6)


def test_zeros_for_one_image_leave_the_others_alone():
    layer = random_layer(STATE)
    refined, own = layer(STATE, return_action=True)
    cut = tuple(action * np.float32([1, 0]).reshape(2, 1, 1) for action in own)
    again = layer(STATE, action=cut)
    np.testing.assert_array_equal(again[1], STATE[1])
    np.testing.assert_allclose(again[0], refined[0], rtol=1e-6)


def test_gradients_are_those_of_the_formula():
    layer = random_layer(STATE, reduction=2)
    check_gradients(
        layer,
        lambda points: by_hand(points, points["state"])[1],
        STATE[:, :3, :4],
        silent=("key/bias",),  # A row of the softmax does not see what all its keys share.
    )


@pytest.mark.parametrize(("index", "expected"), [(0, {"query", "key"}), (1, set())])
def test_only_the_position_action_has_weights_to_learn(index, expected):
    layer = random_layer(STATE)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer(STATE, propose_only=index) ** 2)
    variables = named(layer, layer.trainable_variables)
    gradients = tape.gradient(value, [v.value for v in variables.values()])
    reached = {
        name.split("/")[0] for name, g in zip(variables, gradients, strict=True) if g is not None
    }
    assert reached == expected


def test_the_state_is_reached_through_the_channel_action():
    state = tf.Variable(STATE)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(random_layer(STATE)(state, propose_only=1) ** 2)
    assert np.abs(tape.gradient(value, state)).max() > 1e-4


def test_a_new_layer_passes_the_state_through_and_can_learn_not_to():
    layer = DualAttention()
    direction = np.random.default_rng(6).normal(size=STATE.shape).astype("float32")
    with tf.GradientTape() as tape:
        refined = layer(STATE)
        value = tf.reduce_sum(direction * refined)
    np.testing.assert_array_equal(refined, STATE)
    assert min(np.abs(g) for g in tape.gradient(value, [layer.alpha.value, layer.beta.value])) > 1e-3


def test_a_new_layer_of_a_wide_state_attends_to_more_than_one_place():
    wide = np.random.default_rng(7).normal(size=(1, 4, 4, 512)).astype("float32")
    largest = np.max(DualAttention()(wide, propose_only=0), axis=-1)
    assert np.median(largest) < 0.9


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_large_logits_neither_overflow_nor_blur(policy):
    """Sums of 160,000: beyond float16, and nearer to each other than steps of bfloat16."""
    layer = DualAttention(reduction=1, dtype=policy)
    state = np.float32([[[[400.0, 400.0], [0.0, 1.0]]]])
    layer.build(state.shape)
    for sublayer in (layer.query, layer.key):
        sublayer.kernel.assign(np.eye(2).reshape(1, 1, 2, 2))
    one = 1 / (1 + np.exp(-1))
    position, channel = (layer(state, propose_only=index) for index in (0, 1))
    assert position.dtype == channel.dtype == layer.compute_dtype
    np.testing.assert_allclose(np.float32(position), [[[1, 0], [1, 0]]], atol=5e-3)
    np.testing.assert_allclose(np.float32(channel), [[[0.5, 0.5], [one, 1 - one]]], atol=5e-3)


def test_axes_say_what_rows_and_keys_are():
    layer = DualAttention(name="conv5_3_danet")
    _, steps = layer(keras.Input((5, 7, 6)), return_modules=True)
    position, channel = layer.module_specs(steps)
    assert (position.module, position.axes) == ("conv5_3/danet_position", ("places", "places"))
    assert (channel.module, channel.axes) == ("conv5_3/danet_channel", ("members", "members"))
    assert (position.action_shape, channel.action_shape) == ((35, 35), (6, 6))


@pytest.mark.parametrize(("channels", "reduction", "narrow"), [(16, 8, 2), (7, 3, 2), (3, 8, 1)])
def test_width_of_queries_is_the_whole_part_of_channels_over_reduction(channels, reduction, narrow):
    layer = DualAttention(reduction)
    layer.build((None, 4, 4, channels))
    value = channels * channels + channels
    assert layer.count_params() == 2 * (channels * narrow + narrow) + value + 2


def test_weight_decay_leaves_the_factors_alone():
    layer = random_layer(STATE)
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    optimizer.build(layer.trainable_variables)
    optimizer.apply([tf.zeros_like(v.value) for v in layer.trainable_variables])
    assert (float(layer.alpha), float(layer.beta)) == pytest.approx((0.7, -1.3), rel=1e-6)
