"""Blocks that would get attention and go without."""

import pytest

from dreal_tf import Recipe
from dreal_tf.errors import InputError
from dreal_tf.layers import SqueezeExcite
from dreal_tf.networks.backbones import actors_of, imagenet_residual_network
from dreal_tf.training.builder import build_network

SMALL = {"backbone.width": 0.25, "attention.reduction": 2, "backbone.depth": 14}


def names(changes, image_shape=(16, 16, 3)):
    network = build_network(Recipe().replace(SMALL).replace(changes), image_shape, 5)
    return [actor.name for actor in actors_of(network)]


def test_a_pruned_place_goes_without_and_the_others_stay():
    all_six = names({})
    assert len(all_six) == 6
    assert names({"attention.pruned": "conv2_2,conv4_1"}) == [
        name for name in all_six if name not in ("conv2_2_se", "conv4_1_se")
    ]
    assert names({"attention.pruned": ",".join(n.removesuffix("_se") for n in all_six)}) == []


def test_where_a_convolution_was_replaced_there_is_one_again():
    changes = {"attention.kind": "sasa", "attention.pruned": "conv3_1"}
    network = build_network(Recipe().replace(SMALL).replace(changes), (16, 16, 3), 5)
    assert "conv3_1_sasa" not in {layer.name for layer in network.layers}
    assert network.get_layer("conv3_1_1").kernel_size == (3, 3)


def test_the_network_for_large_images_takes_them_too():
    network = imagenet_residual_network(
        (32, 32, 3), 5, 18, 0.125, SqueezeExcite(2), attention_pruned={"conv5_1"}
    )
    assert "conv5_1_se" not in [actor.name for actor in actors_of(network)]
    assert len(actors_of(network)) == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention.pruned": "conv2_3"}, "conv2_1, conv2_2, conv3_1, .* Received: conv2_3. Leave"),
        ({"attention.pruned": "conv2_1", "attention.stages": "conv3"}, "attention, conv3_1, conv3_2. "),
        ({"attention.pruned": "conv2_1", "attention.blocks": "last"}, "conv2_2, conv3_2, conv4_2. "),
    ],
)
def test_a_place_that_would_get_none_is_refused(changes, message):
    with pytest.raises(InputError, match=rf"^`attention_pruned` must be among the blocks .*{message}"):
        names(changes)


def test_without_attention_no_place_can_be_pruned():
    with pytest.raises(InputError, match=r"^`attention_pruned` must be among the blocks .*here none"):
        imagenet_residual_network((32, 32, 3), 5, 18, 0.125, attention_pruned={"conv5_1"})
    with pytest.raises(InputError, match=r"^Expected no attention.pruned with attention.kind='none'"):
        names({"attention.kind": "none", "attention.pruned": "conv2_1"})
