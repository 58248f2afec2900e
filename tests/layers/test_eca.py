import numpy as np
import pytest
from differences import check_gradients

from dreal_tf.layers.eca import ECA

SHAPES = [(2, 5, 7, 6), (1, 3, 4, 6), (2, 1, 1, 6)]


def filled(shape, dtype=None, **arguments):
    """A layer with a random kernel, and that kernel in float64."""
    layer = ECA(dtype=dtype, **arguments)
    layer.build(shape)
    (kernel,) = layer.weights
    kernel.assign(np.random.default_rng(1).normal(size=kernel.shape))
    return layer, np.float64(kernel).ravel()


def by_hand(state, kernel):
    """Equation 9 of the paper channel by channel, in float64: action and refined map."""
    batch, _, _, channels = state.shape
    averages = state.mean(axis=(1, 2))
    action = np.zeros((batch, 1, 1, channels))
    for image, channel in np.ndindex(batch, channels):
        logit = 0.0
        for position, weight in enumerate(kernel):
            neighbour = channel + position - len(kernel) // 2
            if 0 <= neighbour < channels:
                logit += weight * averages[image, neighbour]
        action[image, 0, 0, channel] = 1 / (1 + np.exp(-logit))
    return action, state * action


def nearest_odd(value):
    """The nearest odd number; the greater of two that are equally near."""
    return min(range(1, 99, 2), key=lambda odd: (abs(odd - value), -odd))


def draw(shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("kernel_size", [None, 1, 5, 9])
@pytest.mark.parametrize("shape", SHAPES)
def test_action_and_map_follow_the_paper(shape, kernel_size):
    layer, kernel = filled(shape, kernel_size=kernel_size)
    state = draw(shape).astype("float32")
    refined, action = layer(state, return_action=True)
    expected_action, expected = by_hand(np.float64(state), kernel)
    np.testing.assert_allclose(action, expected_action, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "width"),
    [(1, 1), (2, 1), (8, 3), (16, 3), (64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7)],
)
def test_width_grows_with_the_channels(channels, width):
    layer = ECA()
    layer.build((None, None, None, channels))
    assert layer.count_params() == layer.convolve.kernel.shape[0] == width


@pytest.mark.parametrize(("gamma", "b"), [(2, 1), (1, 0), (3, 2), (1.5, -4)])
def test_width_is_the_nearest_odd_number(gamma, b):
    layer = ECA(gamma, b)
    for channels in range(1, 600):
        value = abs(np.log2(channels) / gamma + b / gamma)
        assert layer.width(channels) == nearest_odd(value), channels


@pytest.mark.parametrize("shape", [(2, 5, 7, 6), (2, 1, 1, 6)])
def test_gradient_is_that_of_the_formula(shape):
    layer, _ = filled(shape, dtype="float64")
    check_gradients(
        layer,
        lambda points: by_hand(points["state"], points["convolve/kernel"].ravel())[1],
        draw(shape),
    )


def test_a_width_worked_out_from_the_channels_stays_out_of_the_config():
    layer = ECA()
    layer.build((None, 4, 4, 256))
    assert layer.get_config()["kernel_size"] is None
