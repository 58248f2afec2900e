import numpy as np
import pytest

from dreal_tf.layers import SqueezeExcite

STATE = np.random.default_rng(0).normal(size=(3, 5, 7, 8)).astype("float32")


def by_hand(state, layer):
    """Equations 2 to 4 of the paper, in float64."""
    kernel1, bias1, kernel2, bias2 = (np.float64(w) for w in layer.get_weights())
    squeezed = np.float64(state).mean(axis=(1, 2))
    hidden = np.maximum(squeezed @ kernel1 + bias1, 0)
    action = 1 / (1 + np.exp(-(hidden @ kernel2 + bias2)))
    return action[:, None, None, :], state * action[:, None, None, :]


def test_action_and_map_follow_the_paper():
    layer = SqueezeExcite(2)
    layer.build(STATE.shape)
    random = np.random.default_rng(1)
    layer.set_weights([random.normal(size=w.shape) for w in layer.get_weights()])
    refined, action = layer(STATE, return_action=True)
    expected_action, expected = by_hand(STATE, layer)
    np.testing.assert_allclose(action, expected_action, rtol=1e-5)
    np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "reduction", "hidden"),
    [(8, 2, 4), (16, 16, 1), (40, 16, 2), (7, 3, 2), (4, 16, 1), (15, 16, 1), (1, 2, 1)],
)
def test_hidden_width_is_channels_over_reduction_rounded_down_but_at_least_1(
    channels, reduction, hidden
):
    layer = SqueezeExcite(reduction)
    layer.build((None, 4, 4, channels))
    assert layer.count_params() == channels * hidden + hidden + hidden * channels + channels


def test_biases_can_be_left_out():
    layer = SqueezeExcite(2, use_bias=False)
    layer.build((None, 4, 4, 8))
    assert layer.count_params() == 8 * 4 * 2
