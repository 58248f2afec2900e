"""Weights of the residual networks, counted by hand from the papers' tables.

The hand counts are checked against the numbers of trainable weights that torchvision documents for
ResNet-18 to -152, and timm (seresnet50) and pretrainedmodels (se_resnet101) for the SE networks.
Not comparable: keras.applications, whose convolutions have biases (25,636,712 for ResNet-50).
"""

import keras
import numpy as np
import pytest

from dreal_tf import SqueezeExcite, imagenet_residual_network, residual_network
from dreal_tf.networks.backbones import actors_of

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
PUBLISHED = {
    18: 11_689_512,
    34: 21_797_672,
    50: 25_557_032,
    101: 44_549_160,
    152: 60_192_808,
}
PUBLISHED_SE = {50: 28_088_024, 101: 49_326_872}


def trainable(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def normalised(size, channels_in, channels_out):
    """Weights of a convolution without bias, and the scale and offset of its BatchNorm."""
    return size * size * channels_in * channels_out + 2 * channels_out


def excite(channels, reduction=16):
    hidden = channels // reduction
    return channels * hidden + hidden + hidden * channels + channels


def imagenet_by_hand(depth, classes=1000, first=64, squeeze_excite=False):
    """He et al., table 1."""
    total, channels_in = normalised(7, 3, first), first
    for position, blocks in enumerate(BLOCKS[depth]):
        inner = first * 2**position
        outer = inner if depth < 50 else 4 * inner
        for block in range(blocks):
            if depth < 50:
                total += normalised(3, channels_in, inner) + normalised(3, inner, inner)
            else:
                total += normalised(1, channels_in, inner) + normalised(3, inner, inner)
                total += normalised(1, inner, outer)
            if block == 0 and channels_in != outer:
                total += normalised(1, channels_in, outer)
            total += excite(outer) if squeeze_excite else 0
            channels_in = outer
    return total + channels_in * classes + classes


def small_by_hand(depth, classes=10, projection=False):
    """He et al., section 4.2: 16, 32 and 64 channels; option A's shortcuts have no weights."""
    total, channels_in = normalised(3, 3, 16), 16
    for channels in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            total += normalised(3, channels_in, channels) + normalised(3, channels, channels)
            if projection and channels_in != channels:
                total += normalised(1, channels_in, channels)
            channels_in = channels
    return total + 64 * classes + classes


@pytest.mark.parametrize("depth", BLOCKS)
def test_imagenet_networks_are_those_of_the_papers_table(depth):
    """Weights as published, and an actor in every block, in depth order."""
    network = imagenet_residual_network((224, 224, 3), 1000, depth, attention=SqueezeExcite(16))
    blocks = [f"conv{n}_{i}" for n, count in enumerate(BLOCKS[depth], 2) for i in range(1, count + 1)]
    assert [actor.name for actor in actors_of(network)] == [f"{block}_se" for block in blocks]
    assert set(network.output["actions"]) == {f"{block}/se" for block in blocks}
    assert set(network.output["states"]) == set(network.output["actions"])
    convolutions = [
        layer
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D) and not layer.name.endswith("_skip")
    ]
    assert len(convolutions) + 1 == depth  # The classifier is the last layer with weights.
    with_actors = trainable(network)
    assert with_actors == imagenet_by_hand(depth, squeeze_excite=True)
    assert with_actors == PUBLISHED_SE.get(depth, with_actors)
    of_actors = sum(map(trainable, actors_of(network)))
    assert with_actors - of_actors == imagenet_by_hand(depth) == PUBLISHED[depth]


def test_a_network_without_attention_has_the_published_weights_and_batchnorm_two_averages_a_channel():
    network = imagenet_residual_network((224, 224, 3), 1000, depth=18)
    # Table 1: conv1, then two convolutions in each of two blocks a stage; a projection in conv3 to 5.
    channels = 64 + sum(4 * c for c in (64, 128, 256, 512)) + 128 + 256 + 512
    assert trainable(network) == PUBLISHED[18]
    assert network.count_params() == PUBLISHED[18] + 2 * channels


@pytest.mark.parametrize(
    ("depth", "options"),
    [(18, {}), (50, {}), (50, {"stride_placement": "1x1"}), (50, {"last_stride": 1})],
)
def test_width_multiplies_all_channels_and_strides_change_no_weights(depth, options):
    network = imagenet_residual_network((64, 64, 3), 10, depth, width=0.25, **options)
    assert trainable(network) == imagenet_by_hand(depth, classes=10, first=16)


@pytest.mark.parametrize(
    ("depth", "published"),
    # He et al., table 6, in millions of weights.
    [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85)],
)
def test_small_image_networks_have_the_papers_number_of_weights(depth, published):
    count = trainable(residual_network((32, 32, 3), 10, depth))
    assert count == small_by_hand(depth)
    assert round(count / 1e6, 2) == published
    assert depth != 20 or count == 269_722


def test_projections_of_the_small_image_network_are_counted():
    network = residual_network((32, 32, 3), 10, 20, shortcut="projection")
    assert trainable(network) == small_by_hand(20, projection=True)
