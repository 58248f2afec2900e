"""The mean action of every module over images, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import ACTORS, SqueezeExcite, small_data, small_network

from dreal_tf.layers import AttentionActor, intervene
from dreal_tf.method.rewards import MEAN, OWN, STATIC, AblationPass, static_actions
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


def nested():
    images, gate = keras.Input((6, 6, 2)), SqueezeExcite(1, name="gate")
    inner = keras.Input((6, 6, 2))
    stage = keras.Model(inner, keras.layers.Conv2D(2, 3)(SqueezeExcite(1, name="conv2_1_se")(inner)))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(stage(gate(images))))


def used_twice():
    images, gate = keras.Input((6, 6, 2)), SqueezeExcite(1, name="gate")
    hidden = keras.layers.Conv2D(2, 3, padding="same")(gate(images))
    return keras.Model(images, keras.layers.Flatten()(gate(hidden) + hidden))


class Twice(keras.layers.Layer):
    """Runs its actor twice, which the graph does not show."""

    def __init__(self):
        super().__init__()
        self.gate = SqueezeExcite(1, name="gate")

    def call(self, state):
        return self.gate(self.gate(state) + 1.0)


def hidden_use():
    images = keras.Input((6, 6, 2))
    return keras.Model(images, keras.layers.Flatten()(Twice()(images)))


def masked():
    """Its second half sees only what a mask lets through."""
    images, gate = keras.Input((6, 6, 2)), SqueezeExcite(1, name="gate")
    hidden = keras.layers.Masking(0.4)(keras.layers.Reshape((36, 2))(gate(images)))
    return keras.Model(images, keras.layers.GlobalAveragePooling1D()(hidden))


def with_a_constant():
    """A tensor of the graph that is no batch."""
    images, gate = keras.Input((6, 6, 2)), SqueezeExcite(1, name="gate")
    total = keras.ops.sum(keras.ops.zeros_like(images), axis=0, keepdims=True)
    return keras.Model(images, keras.layers.Flatten()(gate(images) + total))


NETWORKS = {
    "masked": masked,
    "with a constant": with_a_constant,
    **{form: lambda form=form: plain_network(small_network(ACTORS[form])) for form in ACTORS},
    "nested": nested,
    "used twice": used_twice,
    "used twice inside": hidden_use,
}


@pytest.mark.parametrize("form", NETWORKS)
def test_rows_that_join_late_are_those_of_the_whole_network_with_the_same_actions(form):
    """Each module, all together, and none, against a pass of the whole network for each."""
    network, images = NETWORKS[form](), small_data(5)[0]
    static = static_actions(network, images[:3])
    modules = list(static)
    groups = [(), *((module,) for module in modules), tuple(modules)]
    ablation_pass = AblationPass(network, static)
    joins = [min((ablation_pass.joins[m] for m in group), default=0) for group in groups]
    arms = [
        (join, group, code)
        for join, group in zip(joins, groups, strict=True)
        for code in (MEAN, STATIC)
    ]
    arms.sort(key=lambda arm: arm[0])
    codes = np.int32([[code if m in group else OWN for m in modules] for _, group, code in arms])
    splits = [sum(join < step for join, *_ in arms) for step in range(ablation_pass.steps + 1)]
    outputs, cached = ablation_pass.factual(images)
    np.testing.assert_array_equal(outputs, network(images))
    for image in (0, 4):
        rows = [image] * len(arms)
        without, unchanged = ablation_pass(images, cached, rows, splits, codes)
        for row, (_, group, code) in enumerate(arms):
            expected, same = whole_pass(network, images[image : image + 1], static, group, code)
            np.testing.assert_allclose(without[row], expected[0], rtol=1e-5, atol=1e-6)
            assert bool(unchanged[row]) == same


def whole_pass(network, images, static, group, code):
    """By definition: the whole network with reference actions, and whether these are its own actions."""
    uses, same = [], []

    def decide(actor, index, state, action):
        name = actor.modules()[index]
        uses.append(name)
        module = name if uses.count(name) == 1 else f"{name}@{uses.count(name)}"
        if module not in group:
            return action
        mean = actor.reference_action(action, "mean", index)
        replacement = np.broadcast_to(static[module], action.shape) if code == STATIC else mean
        same.append(np.array_equal(action, replacement))
        return replacement

    with intervene(decide):
        return network(images, training=False), all(same)


def test_steps_before_an_ablated_module_are_not_run_again():
    network = plain_network(small_network(blocks=3))
    images = small_data(4)[0]
    ablation_pass = AblationPass(network, static_actions(network, images))
    _, cached = ablation_pass.factual(images)

    assert ablation_pass.joins == {"conv2_1/se": 0, "conv3_1/se": 1, "conv4_1/se": 2}
    first = ablation_pass(images, cached, [0, 1, 2], [0, 0, 0, 3], np.zeros((3, 3), "int32"))[0]
    damaged = [tf.fill(tf.shape(part), np.nan) if n == 0 else part for n, part in enumerate(cached)]
    again = ablation_pass(images, damaged, [0, 1, 2], [0, 0, 0, 3], np.zeros((3, 3), "int32"))[0]
    np.testing.assert_array_equal(first, again)  # The first cached tensor is before the rows join.
