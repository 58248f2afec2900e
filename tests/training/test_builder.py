"""The model, schedule and losses that a recipe becomes."""

import keras
import numpy as np
import pytest

from dreal_tf import build, load_recipe
from dreal_tf.data.arrays import from_arrays
from dreal_tf.errors import InputError
from dreal_tf.training.builder import build_network

SMALL = load_recipe("digits_resnet8_se", smoke=True)


def test_a_run_whose_critic_is_not_trusted_is_the_baselines_to_the_last_bit():
    trained = []
    for changes in ({"dreal.enabled": False}, {"dreal.critic": "paper", "dreal.actor_weight": 1.0}):
        recipe = load_recipe("digits_resnet8_se").replace({"backbone.width": 0.5} | changes)
        model, data, callbacks = build(recipe)
        history = model.fit(data.train, epochs=1, callbacks=callbacks, verbose=0).history
        trained.append(model.network.get_weights())
    assert not any(np.any(history[f"trust/{module}"]) for module in model.trajectory.modules)
    for ours, plain in zip(*reversed(trained), strict=True):
        np.testing.assert_array_equal(ours, plain)


def test_a_warm_up_as_long_as_the_training_is_refused():
    with pytest.raises(InputError, match="Expected a warm-up shorter than the training.*Shorten it"):
        build(SMALL.replace({"schedule.warmup_epochs": 2}))


def test_label_smoothing_and_mixed_images_come_with_soft_labels():
    for changes in ({"optim.label_smoothing": 0.1}, {"augment.mix_up": 0.2}):
        model, data, callbacks = build(SMALL.replace(changes))
        model.run_eagerly = True  # A few steps take less time than a trace.
        history = model.fit(
            data.train, validation_data=data.validation, verbose=0, callbacks=callbacks
        ).history
        assert np.isfinite(history["loss"]).all() and 0 < history["accuracy"][0] <= 1
        assert history["val_reward_measured"][0] > 0


def test_smoothing_is_in_the_loss():
    model, data, _ = build(SMALL.replace({"optim.label_smoothing": 0.3, "optim.weight_decay": 0}))
    images, labels = next(iter(data.validation))
    logits = np.float64(model.network(images))
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    smooth = 0.7 * np.array(labels) + 0.3 / labels.shape[1]
    logs = model.test_on_batch(images, labels, return_dict=True)
    assert logs["loss"] == pytest.approx(-(smooth * log_p).sum(axis=1).mean(), rel=1e-5)


def test_attention_kind_none_trains_as_a_baseline():
    model, data, _ = build(SMALL.replace({"attention.kind": "none"}))
    assert model.critic is None
    assert np.isfinite(model.fit(data.train, verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data.name": "generated", "data.images": 10**9},
            "a generated data set that fits into the memory",
        ),
        ({"data.shape": (2**14, 2**14, 3), "data.images": 10**6}, "a generated data set that fits"),
        ({"data.batch_size": 10**9}, "at least one batch of training images"),
        ({"data.classes": 10**6}, "at least two generated images of each class"),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_made_of_them(changes, message):
    with pytest.raises(InputError, match=message):
        build(SMALL.replace(changes))


@pytest.mark.parametrize(
    "changes", [{"data.batch_size": 10**9}, {"backbone.width": 32, "data.batch_size": 10**7}]
)
def test_a_network_that_fills_the_memory_is_not_built(changes):
    with pytest.raises(InputError, match="a network that fits into the memory .*Lower one of them"):
        build_network(SMALL.replace(changes), (64, 64, 3), 10)


def test_a_stride_placement_that_a_depth_does_not_have_is_replaced_as_the_message_says():
    recipe = load_recipe("market1501_resnet50_cbam").replace(
        {"backbone.depth": 18, "backbone.width": 0.125}
    )
    with pytest.raises(InputError, match="Set it to '3x3'"):
        build_network(recipe, (64, 32, 3), 4)
    assert build_network(recipe.replace({"backbone.stride_placement": "3x3"}), (64, 32, 3), 4)


def test_images_that_would_fill_the_memory_are_not_resized():
    pair = np.zeros((10**5, 1, 1, 3), "uint8"), np.arange(10**5) % 2
    with pytest.raises(
        InputError, match="a data set that fits into the memory .*data.image_size=16384"
    ):
        from_arrays(pair, pair, ["a", "b"], image_size=2**14)


def test_channels_first_are_refused_with_the_cure():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(InputError, match="Call keras.config.set_image_data_format"):
            build_network(SMALL, (8, 8, 1), 10)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_a_method_without_attention_is_refused():
    with pytest.raises(InputError, match="or train with --baseline"):
        build(SMALL.replace({"attention.kind": "none", "dreal.enabled": True}))


def test_the_seed_makes_the_weights_whatever_the_critic():
    settings = {"dreal.enabled": True}, {"dreal.enabled": False}, {"run.seed": 1}
    ours, baseline, other = (build(SMALL.replace(changes))[0].network for changes in settings)
    for one, two in zip(ours.variables, baseline.variables, strict=True):
        np.testing.assert_array_equal(one, two)
    kernels = [network.get_layer("conv1").kernel.numpy() for network in (ours, other)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0


@pytest.mark.parametrize("critic", ["comparative", "shuffled"])
def test_exploration_and_noise_reach_the_critic_and_what_measures(critic):
    changes = {"dreal.critic": critic, "dreal.exploration": "reference,permuted", "dreal.noise": 0.25}
    model, _, _ = build(SMALL.replace(changes))
    for part in (model.critic, model.reward_estimator):
        assert part.exploration == ("reference", "permuted") and part.noise == 0.25


def test_the_critic_chooses_where_nothing_is_said():
    model, _, _ = build(SMALL)
    assert model.critic.exploration.count("noise") == 3 and model.critic.noise == 0.5


def test_a_critic_without_a_choice_refuses_one():
    with pytest.raises(InputError, match="no dreal.noise with dreal.critic='paper'") as error:
        build(SMALL.replace({"dreal.critic": "paper", "dreal.noise": 0.25}))
    assert "choose dreal.critic='comparative' or 'shuffled'" in str(error.value)


def test_a_run_starts_from_weights_that_were_kept(tmp_path):
    model, _, _ = build(SMALL.replace({"run.seed": 3}))
    model.network.save(tmp_path / "start.keras")
    again, _, _ = build(SMALL.replace({"run.start": str(tmp_path / "start.keras")}))
    for ours, kept in zip(again.network.get_weights(), model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, kept)


def test_weights_that_are_not_there_or_anothers_are_refused(tmp_path):
    with pytest.raises(InputError, match="Expected a .keras file with weights.*run.start"):
        build(SMALL.replace({"run.start": str(tmp_path / "none.keras")}))
    model, _, _ = build(SMALL.replace({"attention.pruned": "conv3_1"}))
    model.network.save(tmp_path / "start.keras")
    with pytest.raises(InputError, match="Expected weights of 'resnet8' as the recipe has it"):
        build(SMALL.replace({"run.start": str(tmp_path / "start.keras")}))
