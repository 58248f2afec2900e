"""The numbers of figure 1, and which images are shown."""

import numpy as np
import pytest

from dreal_tf import residual_network
from dreal_tf.errors import InputError
from dreal_tf.layers import CBAM, SqueezeExcite
from dreal_tf.visualization.attention_maps import recorded_actions
from dreal_tf.visualization.heatmaps import chosen_images
from dreal_tf.visualization.module_figures import channel_actions, channel_statistics


def test_channel_statistics_by_hand():
    """Channels: 0, 1, 0 and 0.5, 0.5, 0.5 and 1, 0.5, 0: means 0.5, 2/3, 1/6.

    Within the images the deviations over the three channels are √(2/9), 0 and √(1/6); between them,
    over the three images, √(1/6), √(1/18) and √(1/18)."""
    statistics = channel_statistics(np.float32([[0, 1, 0], [0.5, 0.5, 0.5], [1, 0.5, 0]]))
    np.testing.assert_allclose(statistics.mean, [1 / 2, 2 / 3, 1 / 6])
    np.testing.assert_allclose(statistics.spread, np.sqrt([1 / 6, 1 / 18, 1 / 18]))
    assert statistics.across_channels == pytest.approx((np.sqrt(2 / 9) + np.sqrt(1 / 6)) / 3)
    assert statistics.between_images == pytest.approx((np.sqrt(1 / 6) + 2 * np.sqrt(1 / 18)) / 3)


def test_the_two_diversities_tell_channels_from_images():
    of_channels = np.tile(np.linspace(0, 1, 8), (5, 1))
    assert channel_statistics(of_channels).between_images == 0 < channel_statistics(of_channels)[2]
    assert channel_statistics(of_channels.T).across_channels == 0
    assert channel_statistics(of_channels.T).between_images > 0


def test_channel_actions_of_a_network_are_those_that_it_gives():
    network = residual_network((8, 8, 3), 4, depth=8, attention=CBAM(4))
    images = np.random.default_rng(0).normal(size=(7, 8, 8, 3)).astype("float32")
    actions_by_module = channel_actions(network, images, batch_size=3)
    assert list(actions_by_module) == [f"conv{stage}_1/cbam_channel" for stage in (2, 3, 4)]
    actions = network.predict(images, verbose=0)["actions"]
    for module, of_module in actions_by_module.items():
        expected = actions[module].reshape(7, -1)
        np.testing.assert_allclose(of_module.mean, expected.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(of_module.spread, expected.std(axis=0), rtol=1e-3, atol=1e-6)


LABELS = np.random.default_rng(1).integers(0, 5, 200)


def test_images_are_chosen_one_a_class_and_again_from_all():
    for count in (1, 3, 5, 12):
        chosen = chosen_images(LABELS, count, seed=4)
        assert len(set(chosen.tolist())) == count
        counts = np.bincount(LABELS[chosen], minlength=5)
        assert counts.max() - counts.min() <= 1 and (np.diff(LABELS[chosen]) >= 0).all()


def test_the_choice_follows_from_the_seed_alone():
    one, again, other = (chosen_images(LABELS, 4, seed) for seed in (0, 0, 1))
    assert one.tolist() == again.tolist() != other.tolist()


def test_every_class_and_every_image_is_drawn_alike():
    draws = [chosen_images(LABELS[:40], 1, seed)[0] for seed in range(4000)]
    classes = np.bincount(LABELS[draws], minlength=5)
    # 4000 draws of 5 classes: 800 each, deviation √(4000 · 0.2 · 0.8) = 25.
    assert np.abs(classes - 800).max() < 4 * 25.3
    assert len(set(draws)) == 40


def test_a_class_that_runs_out_is_made_up_for_by_others_until_none_is_left():
    labels = np.array([0, 1, 1, 1, 1])
    assert chosen_images(labels, 5).tolist() == [0, 1, 2, 3, 4]
    for count in (0, 6):
        with pytest.raises(InputError, match=f"from 1 to 5 images to show.*count={count}"):
            chosen_images(labels, count)


def test_a_gate_that_is_blended_in_is_shown_as_it_acts():
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype("float32")
    attention = SqueezeExcite(4, blended=True)
    network = residual_network((8, 8, 1), 10, depth=8, attention=attention)
    for module, actions in channel_actions(network, images).items():
        assert (actions.mean == 1).all(), module  # A new one passes its state through.
    network.get_layer("conv2_1_se").blend.assign(0.5)
    gate = recorded_actions(network, images)["conv2_1/se"].action.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(
        channel_actions(network, images)["conv2_1/se"].mean, 0.5 + gate / 2, rtol=1e-5
    )
