"""The backbone section of a recipe, from its fields to a network."""

import keras
import numpy as np
import pytest

from dreal_tf import Recipe
from dreal_tf.errors import InputError
from dreal_tf.training.builder import BACKBONES, build_network
from dreal_tf.training.recipe import KINDS

SMALL = {"backbone.width": 1 / 16, "attention.reduction": 2}
IMAGENET = SMALL | {"backbone.name": "imagenet_resnet", "backbone.depth": 50}


def network(changes, image_shape=(32, 32, 3)):
    return build_network(Recipe().replace(changes), image_shape, 5)


def test_the_two_networks_are_chosen_by_name():
    assert network(SMALL | {"backbone.depth": 50, "backbone.width": 0.25}).name == "resnet50"
    assert network(IMAGENET).name == "imagenet_resnet50"
    assert set(KINDS["backbone"][2]) == {None, *BACKBONES}


def test_every_field_reaches_the_imagenet_network():
    changes = {"stride_placement": "1x1", "zero_gamma": "true", "last_stride": "1"}
    changes |= {"synchronized": "true"}
    made = network(IMAGENET | {f"backbone.{field}": value for field, value in changes.items()})
    assert made.get_layer("conv3_1_1").output.shape[1:] == (4, 4, 8)  # Halved by the first 1×1.
    assert made.get_layer("conv5_3_relu").output.shape[1:] == (2, 2, 128)
    assert not np.any(made.get_layer("conv4_6_3_bn").gamma)
    norms = [n for n in made.layers if isinstance(n, keras.layers.BatchNormalization)]
    assert all(norm.synchronized for norm in norms)


def test_attention_and_weight_decay_reach_the_imagenet_network():
    made = network(IMAGENET | {"attention.stages": "conv4,conv5", "optim.weight_decay": 0.2})
    assert len(made.output["actions"]) == 6 + 3
    convolutions = 1 + 16 * 3 + 4
    assert len(made.losses) == convolutions + 1 + 2 * 9  # The classifier's, and two of each actor.


def test_fields_of_the_small_image_network_reach_it():
    changes = {"backbone.depth": 14, "backbone.shortcut": "projection"}
    made = network(SMALL | {"backbone.width": 0.25, "backbone.synchronized": True} | changes)
    assert made.get_layer("conv3_1_skip").output.shape[1:] == (16, 16, 8)
    assert made.get_layer("conv1_bn").synchronized


@pytest.mark.parametrize(
    ("changes", "field", "name", "other"),
    [
        (IMAGENET | {"backbone.shortcut": "projection"}, "shortcut", "imagenet_resnet", "resnet"),
        ({"backbone.stride_placement": "1x1"}, "stride_placement", "resnet", "imagenet_resnet"),
        ({"backbone.zero_gamma": True}, "zero_gamma", "resnet", "imagenet_resnet"),
        ({"backbone.last_stride": 1}, "last_stride", "resnet", "imagenet_resnet"),
        ({"backbone.weights": "imagenet"}, "weights", "resnet", "imagenet_resnet"),
    ],
)
def test_a_field_of_the_other_network_is_refused(changes, field, name, other):
    with pytest.raises(InputError) as error:
        network(changes)
    path, value = f"backbone.{field}", changes[f"backbone.{field}"]
    assert str(error.value) == (
        f"Expected no {path} with backbone.name={name!r}, which does not have it. Received: {path}="
        f"{value!r}. Leave it out, or choose backbone.name={other!r}."
    )


@pytest.mark.parametrize(
    ("changes", "image_shape", "beginning"),
    [
        (
            IMAGENET | {"backbone.depth": 20},
            (32, 32, 3),
            "Expected backbone.depth to be 18, 34, 50, 101 or",
        ),
        (IMAGENET, (28, 28, 1), "`image_shape` must be at least 32 × 32 pixels"),
        ({"backbone.depth": 18}, (32, 32, 3), "Expected backbone.depth to be 8, 14, 20, ... (6n + 2)"),
        ({"attention.stages": "conv5"}, (32, 32, 3), "`attention_stages` must be among"),
    ],
)
def test_what_a_recipe_cannot_build_is_its_users_error(changes, image_shape, beginning):
    """`InputError`, so that the command line answers in a sentence, without a traceback."""
    with pytest.raises(InputError) as error:
        network(changes, image_shape)
    assert str(error.value).startswith(beginning)


@pytest.mark.parametrize(
    ("path", "value"),
    [("stride_placement", "2x2"), ("last_stride", 3), ("zero_gamma", "often")],
)
def test_a_value_no_network_has_is_refused_by_the_recipe(path, value):
    with pytest.raises(InputError, match=rf"Expected backbone\.{path} to be .* Change it"):
        Recipe().replace({"backbone.name": "imagenet_resnet", f"backbone.{path}": value})


def test_a_name_no_network_has_is_refused_by_the_recipe():
    with pytest.raises(InputError, match="Expected a backbone.name, one of: .*keras.applications.NAME"):
        Recipe().replace({"backbone.name": "vgg"})
