"""dQ/dA of channel and spatial actions, against loops in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from support import randomized

from dreal_tf.method.critics.action_gradients import action_gradient_head
from dreal_tf.modules import ModuleSpec

CHANNELS, WIDTH, UNITS = 3, 5, 4
SPECS = {
    "channel": ModuleSpec("conv2_1/c", "conv2", "channel", (None, None, CHANNELS), (1, 1, CHANNELS)),
    "spatial": ModuleSpec("conv2_1/s", "conv2", "spatial", (None, None, CHANNELS), (None, None, 1)),
}


def head_of(kind, trained=True):
    head = action_gradient_head(SPECS[kind], UNITS, name="gradient")
    head.build((None, WIDTH))
    return randomized(head) if trained else head


def random_inputs(height, width, batch=2):
    random = np.random.default_rng(0)
    features = random.normal(size=(batch, WIDTH)).astype("float32")
    state = random.normal(size=(batch, height, width, CHANNELS)).astype("float32")
    return features, state, {"channel": state[:, :1, :1], "spatial": state[..., :1]}


def sixteenths(map_):
    """The means of four by four equal areas; one may cut through a pixel, whose parts are alike."""
    fine = np.kron(map_, np.ones((4, 4)))
    height, width = map_.shape
    return fine.reshape(4, height, 4, width).mean(axis=(1, 3))


def channel_by_hand(head, features, state):
    """One image: what is sought of each channel times what the channel has, summed."""
    height, width, _ = state.shape
    kernel = np.float64(head.query.kernel).reshape(WIDTH, 6, CHANNELS)
    gradient = np.zeros(CHANNELS)
    for channel in range(CHANNELS):
        map_ = np.float64(state[..., channel])
        own = [1.0, np.abs(sixteenths(map_)).mean()]
        for rows in (slice(0, height // 2), slice(height // 2, height)):
            for columns in (slice(0, width // 2), slice(width // 2, width)):
                own.append(map_[rows, columns].mean())
        for number, feature in enumerate(own):
            gradient[channel] += feature * (np.float64(features) @ kernel[:, number, channel])
    return gradient


def spatial_by_hand(head, features, state):
    height, width, _ = state.shape
    sought = np.float64(features) @ np.float64(head.query.kernel)
    gradient = np.zeros((height, width))
    for position in np.ndindex(height, width):
        seen = np.float64(state[position]) @ np.float64(head.positions.kernel)
        gradient[position] = (seen + np.float64(head.positions.bias)) @ sought
    return gradient / np.sqrt(height * width)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (2, 2), (6, 2)])
@pytest.mark.parametrize(
    ("kind", "by_hand"), [("channel", channel_by_hand), ("spatial", spatial_by_hand)]
)
def test_gradients_are_those_of_the_formula(kind, by_hand, height, width):
    head, (features, state, actions) = head_of(kind), random_inputs(height, width)
    gradient = head(features, state, actions[kind])
    assert gradient.shape == actions[kind].shape
    for image in range(len(state)):
        expected = by_hand(head, features[image], state[image])
        np.testing.assert_allclose(np.squeeze(gradient[image]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", SPECS)
def test_a_head_is_linear_in_the_features_and_starts_at_nothing(kind):
    head, (features, state, actions) = head_of(kind), random_inputs(3, 5)
    once = head(features, state, actions[kind])
    np.testing.assert_allclose(head(3 * features, state, actions[kind]), 3 * once, rtol=1e-4, atol=1e-5)
    assert not np.any(head_of(kind, trained=False)(features, state, actions[kind]))


@pytest.mark.parametrize("kind", SPECS)
def test_half_precision_states_and_maps_of_one_place_are_advised_too(kind):
    head, (features, state, actions) = head_of(kind), random_inputs(1, 1)
    gradient = head(features, tf.cast(state, "float16"), tf.cast(actions[kind], "float16"))
    assert gradient.dtype == "float32" and np.isfinite(gradient).all()
    expected = head(features, state, actions[kind])
    np.testing.assert_allclose(gradient, expected, rtol=2e-2, atol=2e-2)
