"""Whole passes of the residual networks, worked out again in NumPy from their weights."""

import keras
import numpy as np
import pytest

from dreal_tf import SqueezeExcite, imagenet_residual_network, residual_network

RANDOM = np.random.default_rng(0)


def randomised(network):
    """Gives every weight, the moving statistics too, a value whose omission shows."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            gamma = RANDOM.uniform(0.3, 0.7, shape)  # Below 1, or actions saturate in deep stages.
            beta, mean = RANDOM.normal(0, 0.3, (2, *shape))
            layer.set_weights([gamma, beta, mean, RANDOM.uniform(0.5, 1.5, shape)])
        elif isinstance(layer, SqueezeExcite | keras.layers.Dense):
            layer.set_weights([RANDOM.normal(0, 0.3, w.shape) for w in layer.get_weights()])
    return network


class ByHand:
    """The layers of a network as NumPy functions of its weights.

    `padding` says how many zeros lie before and after each side of a map for a kernel of some size:
    "both" as many on both sides; "end" as TensorFlow pads for stride 2, one more at the end where
    the map is even.
    """

    def __init__(self, network, padding):
        self.network, self.padding = network, padding

    def convolution(self, inputs, name, strides=1):
        kernel = np.float64(self.network.get_layer(name).get_weights()[0])
        size = kernel.shape[0]
        rows, columns = (self._zeros(side, size, strides) for side in inputs.shape[1:3])
        padded = np.pad(inputs, [(0, 0), rows, columns, (0, 0)])
        height, width = (-(-n // strides) for n in inputs.shape[1:3])
        total = 0.0
        for row in range(size):
            for column in range(size):
                window = padded[:, row::strides, column::strides][:, :height, :width]
                total = total + window @ kernel[row, column]
        gamma, beta, mean, variance = map(
            np.float64, self.network.get_layer(f"{name}_bn").get_weights()
        )
        return gamma * (total - mean) / np.sqrt(variance + 1e-5) + beta

    def _zeros(self, side, size, strides):
        if self.padding == "both" or size == 1:
            return (size // 2, size // 2)
        missing = max((-(-side // strides) - 1) * strides + size - side, 0)
        return (missing // 2, missing - missing // 2)

    def attention(self, state, name):
        kernel1, bias1, kernel2, bias2 = map(np.float64, self.network.get_layer(name).get_weights())
        hidden = np.maximum(state.mean(axis=(1, 2)) @ kernel1 + bias1, 0)
        action = 1 / (1 + np.exp(-(hidden @ kernel2 + bias2)))
        return state * action[:, None, None], action[:, None, None]

    def classifier(self, hidden):
        kernel, bias = map(np.float64, self.network.get_layer("logits").get_weights())
        return hidden.mean(axis=(1, 2)) @ kernel + bias


def relu(inputs):
    return np.maximum(inputs, 0)


def pooled(inputs):
    """The maximum of 3 × 3 positions around every second one, as far as they exist."""
    padded = np.pad(inputs, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    height, width = (-(-n // 2) for n in inputs.shape[1:3])
    windows = [
        padded[:, row::2, column::2][:, :height, :width] for row in range(3) for column in range(3)
    ]
    return np.max(windows, axis=0)


def imagenet_pass(network, images, blocks, bottleneck, stride_placement="3x3", last_stride=2):
    """He et al., table 1, each block ended by attention. Returns logits and actions by module."""
    hand, actions = ByHand(network, padding="both"), {}
    hidden = pooled(relu(hand.convolution(np.float64(images), "conv1", 2)))
    for stage, count, stage_strides in zip((2, 3, 4, 5), blocks, (1, 2, 2, last_stride), strict=True):
        for number in range(1, count + 1):
            block, strides = f"conv{stage}_{number}", stage_strides if number == 1 else 1
            first, second = (strides, 1)
            if bottleneck and stride_placement == "3x3":
                first, second = second, first
            branch = relu(hand.convolution(hidden, f"{block}_1", first))
            branch = hand.convolution(branch, f"{block}_2", second)
            if bottleneck:
                branch = hand.convolution(relu(branch), f"{block}_3")
            branch, actions[f"{block}/se"] = hand.attention(branch, f"{block}_se")
            if number == 1 and (bottleneck or stage > 2):
                hidden = hand.convolution(hidden, f"{block}_skip", strides)
            hidden = relu(hidden + branch)
    return hand.classifier(hidden), actions


def small_pass(network, images, blocks, shortcut):
    hand, actions = ByHand(network, padding="end"), {}
    hidden = relu(hand.convolution(np.float64(images), "conv1"))
    for stage in (2, 3, 4):
        for number in range(1, blocks + 1):
            block, strides = f"conv{stage}_{number}", 2 if stage > 2 and number == 1 else 1
            branch = relu(hand.convolution(hidden, f"{block}_1", strides))
            branch = hand.convolution(branch, f"{block}_2")
            branch, actions[f"{block}/se"] = hand.attention(branch, f"{block}_se")
            if strides == 2 and shortcut == "projection":
                hidden = hand.convolution(hidden, f"{block}_skip", 2)
            elif strides == 2:  # Every second position; channels of zeros make up the width.
                hidden = hidden[:, ::2, ::2]
                hidden = np.concatenate([hidden, np.zeros_like(hidden)], axis=3)
            hidden = relu(hidden + branch)
    return hand.classifier(hidden), actions


def agree(network, size, by_hand, *arguments, **options):
    images = RANDOM.normal(size=(2, *size, 3)).astype("float32")
    logits, actions = by_hand(network, images, *arguments, **options)
    outputs = network(images, training=False)
    np.testing.assert_allclose(outputs["logits"], logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())
    assert set(outputs["actions"]) == set(actions)
    for module, action in actions.items():
        assert np.ptp(action) > 0.01  # Saturated, it would prove nothing.
        np.testing.assert_allclose(outputs["actions"][module], action, atol=1e-4)


@pytest.mark.parametrize(
    ("depth", "blocks", "options"),
    [
        (18, (2, 2, 2, 2), {}),
        (50, (3, 4, 6, 3), {}),
        (50, (3, 4, 6, 3), {"stride_placement": "1x1"}),
        (50, (3, 4, 6, 3), {"last_stride": 1}),
    ],
)
def test_the_imagenet_network_computes_what_the_papers_table_says(depth, blocks, options):
    network = randomised(
        imagenet_residual_network(
            (None, None, 3), 5, depth, width=1 / 16, attention=SqueezeExcite(2), **options
        )
    )
    for size in ((32, 32), (45, 38)):
        agree(network, size, imagenet_pass, blocks, depth >= 50, **options)


@pytest.mark.parametrize("shortcut", ["identity", "projection"])
def test_the_small_image_network_computes_what_the_paper_says(shortcut):
    network = randomised(
        residual_network(
            (None, None, 3), 5, 14, width=0.25, attention=SqueezeExcite(2), shortcut=shortcut
        )
    )
    for size in ((8, 8), (13, 10)):
        agree(network, size, small_pass, 2, shortcut)
