"""Fields chosen from a folder, initial weights, frozen stages, and the delayed start of the method."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dreal_tf import Recipe, SqueezeExcite, build, load_recipe, residual_network
from dreal_tf.errors import InputError
from dreal_tf.networks.backbones import actors_of
from dreal_tf.training.builder import build_network
from dreal_tf.training.callbacks import DelayedStart
from dreal_tf.training.fine_tuning import freeze, resolve_auto


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes that a network can tell apart, 30 images each."""
    root, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(60):
        image = random.integers(0, 100, (40, 70, 3)) + [0, 0, 100] * np.array(number % 2)
        tf.io.write_file(
            f"{root}/{('dull', 'blue')[number % 2]}/{number}.png", tf.io.encode_png(np.uint8(image))
        )
    return root


SMALL = {
    "backbone.depth": 18,
    "backbone.width": 0.125,
    "backbone.stride_placement": "3x3",
    "attention.reduction": 2,
}


def test_what_is_open_is_found_from_the_folder(folder):
    recipe = load_recipe("finetune").replace({"data.folder": str(folder)})
    resolved = resolve_auto(recipe)
    assert (resolved.data.image_size, resolved.data.batch_size, resolved.schedule.epochs) == (64, 4, 50)
    assert resolve_auto(resolved) is resolved
    kept = resolve_auto(recipe.replace({"data.batch_size": 16, "schedule.epochs": 3}))
    assert (kept.data.image_size, kept.data.batch_size, kept.schedule.epochs) == (64, 16, 3)
    other = resolve_auto(recipe.replace({"data.name": "cifar10"}))
    assert (other.data.image_size, other.data.batch_size, other.schedule.epochs) == (None, 32, 10)
    with pytest.raises(InputError, match="Expected a folder of images"):
        build(load_recipe("finetune"))


def test_a_start_without_the_weights_says_what_to_bring(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    recipe = load_recipe("finetune").replace({"data.folder": str(folder)})
    with pytest.raises(InputError, match="backbone.download=true"):
        build(recipe)
    with pytest.raises(InputError, match="weights='none', where there is no file.*weights=null starts"):
        build(recipe.replace({"backbone.weights": "none"}))
    with pytest.raises(InputError, match="Received: backbone.weights='imagenet'.*'imagenet_resnet'"):
        Recipe().replace({"backbone.weights": "imagenet", "backbone.depth": 8})


def test_new_attention_starts_as_if_it_were_not_there():
    recipe = load_recipe("finetune").replace(SMALL)
    network = build_network(recipe, (64, 64, 3), 5)
    bare = build_network(recipe.replace({"attention.kind": "none"}), (64, 64, 3), 5)
    for layer in bare.layers:
        network.get_layer(layer.name).set_weights(layer.get_weights())
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    np.testing.assert_array_equal(network(images)["logits"], bare(images)["logits"])
    assert all(actor.blended for actor in actors_of(network))


def small():
    keras.utils.set_random_seed(0)
    return residual_network((8, 8, 1), 4, depth=8, width=0.25, attention=SqueezeExcite(2))


def test_frozen_stages_keep_what_they_have_but_their_attention_learns():
    network = small()
    freeze(network, {"conv1", "conv3"})
    trained = {v.path.split("/")[0] for v in network.trainable_variables}
    assert "conv3_1_se" in trained and not trained & {"conv1", "conv1_bn", "conv3_1_1", "conv3_1_2_bn"}
    with pytest.raises(InputError, match="stage of the network.*Did you mean 'conv3'"):
        freeze(network, {"conv33"})


def test_a_method_that_would_never_set_in_is_refused():
    recipe = load_recipe("digits_resnet8_se", smoke=True).replace({"dreal.start_epoch": 3})
    with pytest.raises(InputError, match="start_epoch=3 of schedule.epochs=2.*--baseline"):
        build(recipe)


def test_until_the_method_sets_in_training_is_plain():
    recipe = load_recipe("digits_resnet8_se", smoke=True)
    waited, data, callbacks = build(recipe.replace({"dreal.start_epoch": 2}))
    assert any(isinstance(callback, DelayedStart) for callback in callbacks)
    history = waited.fit(data.train, epochs=1, callbacks=callbacks, verbose=0).history
    assert history["reward_measured"] == [0] and history["loss"] == history["loss"]
    plain, data, callbacks = build(recipe.replace({"dreal.enabled": False}))
    plain.fit(data.train, epochs=1, callbacks=callbacks, verbose=0)
    for ours, theirs in zip(waited.network.get_weights(), plain.network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
