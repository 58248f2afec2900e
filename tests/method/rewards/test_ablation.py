"""The mean action of every module over images, against NumPy."""

import keras
import numpy as np
import pytest
from support import ACTORS, SqueezeExcite, small_data, small_network

from dreal_tf.layers import AttentionActor
from dreal_tf.method.rewards import static_actions
from dreal_tf.networks.backbones import plain_network


class Constant(AttentionActor):
    attention, suffixes, kinds = "constant", ("constant",), ("channel",)

    def propose(self, state, index=0, training=None):
        return 0 * state[:, :1, :1] + np.float32(0.1)


@pytest.mark.parametrize("form", ACTORS)
def test_it_is_the_mean_over_images_however_many(form):
    network, (images, _) = small_network(ACTORS[form]), small_data(70)
    static = static_actions(plain_network(network), images)
    actions = network(images)["actions"]
    assert set(static) == set(actions)
    for module, action in actions.items():
        assert static[module].dtype == np.float32
        np.testing.assert_allclose(static[module], np.float64(action).mean(axis=0), atol=1e-6)


def test_modules_come_in_depth_order():
    network = small_network([ACTORS["two steps"], SqueezeExcite(2)], blocks=3)
    assert list(static_actions(network, small_data(3)[0])) == [
        *("conv2_1/two_channel", "conv2_1/two_spatial"),
        *("conv3_1/se", "conv4_1/two_channel", "conv4_1/two_spatial"),
    ]


def test_a_constant_action_is_its_own_mean_to_the_last_bit():
    static = static_actions(small_network(Constant()), small_data(70)[0])
    for action in static.values():
        np.testing.assert_array_equal(action, np.full((1, 1, 4), 0.1, "float32"))


def test_actors_of_nested_networks_and_of_layers_used_twice_are_told_apart():
    images = keras.Input((6, 6, 2))
    gate = SqueezeExcite(1, name="gate")
    first, second = (
        keras.Model(inner := keras.Input((6, 6, 2)), SqueezeExcite(2, name="conv2_1_se")(inner))
        for _ in range(2)
    )
    hidden = gate(second(first(gate(images))))
    network = keras.Model(images, keras.layers.GlobalAveragePooling2D()(hidden))
    pictures = small_data(5)[0]
    static = static_actions(network, pictures)
    assert list(static) == ["gate/se", "conv2_1/se", "conv2_1/se@2", "gate/se@2"]
    state = pictures
    for module, layer in zip(static, (gate, first.layers[1], second.layers[1], gate), strict=True):
        state, action = layer(state, return_action=True)
        np.testing.assert_allclose(static[module], np.float64(action).mean(axis=0), atol=1e-6)


def test_a_network_without_attention_has_none():
    images = keras.Input((6, 6, 2))
    assert static_actions(keras.Model(images, images + 1), small_data(3)[0]) == {}
