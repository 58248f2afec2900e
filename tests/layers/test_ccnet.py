import keras
import numpy as np
import pytest
import tensorflow as tf
from differences import check_gradients, weights_of
from graphs import largest_tensor
from support import randomized

from dreal_tf.layers.ccnet import CrissCross

RANDOM = np.random.default_rng(0)


def built(shape, seed=1, **arguments):
    layer = CrissCross(**arguments)
    layer.build(shape)
    return randomized(layer, seed)


def one_step(state, weights):
    """Equations 1 and 2 of the paper: each position, and the positions it sees, one by one."""
    batch, height, width, _ = state.shape
    query, key, value = (
        state @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]
        for name in ("query", "key", "value")
    )
    action = np.zeros((batch, height, width, height + width))
    refined = state.copy()
    for b, i, j in np.ndindex(batch, height, width):
        seen = [(y, y, j) for y in range(height) if y != i]
        seen += [(height + x, i, x) for x in range(width)]
        logits = np.array([query[b, i, j] @ key[b, y, x] for _, y, x in seen])
        row = np.exp(logits - logits.max())
        row /= row.sum()
        for weight, (position, y, x) in zip(row, seen, strict=True):
            action[b, i, j, position] = weight
            refined[b, i, j] += weights["gamma"] * weight * value[b, y, x]
    return action, refined


def by_hand(state, weights, recurrence=2):
    actions = []
    for _ in range(recurrence):
        action, state = one_step(state, weights)
        actions.append(action)
    return actions, state


@pytest.mark.parametrize(
    "shape", [(2, 5, 7, 16), (1, 3, 4, 6), (2, 1, 1, 8), (1, 1, 5, 8), (1, 4, 1, 8)]
)
@pytest.mark.parametrize("recurrence", [1, 2])
def test_actions_and_map_follow_the_paper(shape, recurrence):
    layer, state = built(shape, recurrence=recurrence), RANDOM.normal(size=shape).astype("float32")
    refined, steps = layer(state, return_modules=True)
    expected_actions, expected = by_hand(np.float64(state), weights_of(layer), recurrence)
    assert len(steps) == len(layer.modules()) == recurrence
    for step, expected_action in zip(steps, expected_actions, strict=True):
        np.testing.assert_allclose(step.action, expected_action, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("recurrence", [1, 2])
def test_gradients_are_those_of_the_formula(recurrence):
    layer = built((1, 3, 4, 8), recurrence=recurrence)
    check_gradients(
        layer,
        lambda points: by_hand(points["state"], points, recurrence)[1],
        RANDOM.normal(size=(1, 3, 4, 8)),
        silent=("key/bias",),  # A row of the softmax does not see what all its keys share.
    )


def test_the_own_place_counts_once():
    """With the same logit everywhere a position has 1/(H + W - 1), in the row alone."""
    layer = built((1, 3, 4, 8))
    layer.query.kernel.assign(np.zeros((8, 1)))
    layer.query.bias.assign([0.0])
    action = np.array(layer(np.ones((1, 3, 4, 8), "float32"), propose_only=0))
    for i, j in np.ndindex(3, 4):
        expected = np.full(7, 1 / 6)
        expected[i] = 0
        np.testing.assert_allclose(action[0, i, j], expected, rtol=1e-6)
        assert action[0, i, j, i] == 0


def test_two_steps_reach_every_place_and_one_does_not():
    state = RANDOM.normal(size=(1, 4, 5, 8)).astype("float32")
    other = state.copy()
    other[0, 3, 4] += 1.0
    for recurrence in (1, 2):
        layer = built((1, 4, 5, 8), recurrence=recurrence)
        moved = np.abs(layer(other) - layer(state))[0].max(axis=-1) > 0
        far = moved[:3, :4]
        assert far.all() if recurrence == 2 else not far.any()
        assert moved[3].all() and moved[:, 4].all()


def test_gamma_starts_at_zero_and_is_learnt():
    layer, state = CrissCross(), RANDOM.normal(size=(1, 3, 4, 8)).astype("float32")
    np.testing.assert_array_equal(layer(state), state)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(state) ** 2)
    assert abs(tape.gradient(loss, layer.gamma.value)) > 1e-3


def test_an_action_of_zeros_passes_the_state_through_for_each_image_and_step():
    layer, state = built((2, 3, 4, 8)), RANDOM.normal(size=(2, 3, 4, 8)).astype("float32")
    plain, (first, second) = layer(state, return_action=True)
    half = np.array(first)
    half[0] = 0
    refined, steps = layer(state, action=(half, tf.zeros_like(second)), return_modules=True)
    np.testing.assert_array_equal(refined[0], state[0])
    np.testing.assert_array_equal(refined[1], layer.refine(state, first)[1])
    np.testing.assert_array_equal(refined, steps[1].state)
    assert np.abs(refined[1] - plain[1]).max() > 1e-3


@pytest.mark.parametrize("shape", [(2, 3, 4, 8), (1, 1, 1, 8)])
def test_the_mean_is_over_the_valid_keys(shape):
    layer = built(shape)
    height, width = shape[1:3]
    action = layer(RANDOM.normal(size=shape).astype("float32"), propose_only=0)
    mean = layer.reference_action(action, "mean")
    expected = np.full(action.shape, 1 / (height + width - 1))
    for i in range(height):
        expected[:, i, :, i] = 0
    np.testing.assert_allclose(mean, expected, rtol=1e-6, atol=0)
    np.testing.assert_array_equal(layer.reference_action(mean, "mean"), mean)
    # A constant that 7 terms do not sum to exactly.
    constant = tf.constant(np.where(expected > 0, 0.1, 0.0), action.dtype)
    for dtype in ("float32", "bfloat16", "float16"):
        typed = tf.cast(constant, dtype)
        again = layer.reference_action(typed, "mean", index=1)
        assert again.dtype == typed.dtype
        np.testing.assert_array_equal(again, typed)
    np.testing.assert_array_equal(layer.reference_action(action, "identity"), 0 * action)
    with pytest.raises(ValueError, match="reference action of a layer.*'median'"):
        layer.reference_action(action, "median")


def test_a_moved_action_stays_in_its_domain():
    layer, state = built((2, 3, 4, 8)), RANDOM.normal(size=(2, 3, 4, 8)).astype("float32")
    action = layer(state, propose_only=0)
    change = RANDOM.normal(size=action.shape)
    moved = np.array(layer.perturb_action(action, change))
    for i in range(3):
        assert (moved[:, i, :, i] == 0).all()
    expected = np.float64(action) * np.exp(change)
    expected /= expected.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(moved.sum(axis=-1), 1, rtol=1e-6)


def test_memory_grows_with_height_plus_width_and_not_with_pairs_of_places():
    layer = built((1, 48, 48, 8))

    def everything(state):
        with tf.GradientTape() as tape:
            tape.watch(state)
            refined, actions = layer(state, return_action=True)
            loss = tf.reduce_sum(refined**2)
        mean = layer.reference_action(actions[0])
        moved = layer.perturb_action(actions[1], mean)
        return tape.gradient(loss, state), mean, moved, layer(state, propose_only=1)

    assert largest_tensor(everything, (1, 48, 48, 8)) <= 48 * 48 * (48 + 48)


def test_images_of_any_size():
    layer = built((None, None, None, 8))
    free = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 8))])
    for side in ((1, 1), (3, 5), (6, 2)):
        state = RANDOM.normal(size=(2, *side, 8)).astype("float32")
        _, expected = by_hand(np.float64(state), weights_of(layer))
        np.testing.assert_allclose(free(state), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("channels", "hidden"), [(16, 2), (23, 2), (4, 1)])
def test_both_steps_share_all_weights(channels, hidden):
    for recurrence in (1, 2):
        layer = built((None, None, None, channels), recurrence=recurrence)
        linear = 2 * (channels * hidden + hidden) + channels * channels + channels
        assert layer.count_params() == linear + 1


def test_one_step_is_one_module():
    images = keras.Input((3, 4, 8))
    layer = CrissCross(recurrence=1, name="conv5_3_ccnet")
    _, steps = layer(images, return_modules=True)
    (spec,) = layer.module_specs(steps)
    assert layer.modules() == ("conv5_3/ccnet_1",)
    assert spec.action_shape == (3, 4, 7) and spec.axes == ("rows", "columns", "cross")
    assert CrissCross(name="conv5_3_ccnet").modules() == ("conv5_3/ccnet_1", "conv5_3/ccnet_2")
