"""Augmentation of a batch, against NumPy and by its invariants."""

import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.data.augmentation import (
    Augmentation,
    RandAugment,
    SeedSequence,
    randomly_cropped,
    randomly_flipped,
)
from dreal_tf.data.sections import Options

SEED = (3, 7)


def augment(images, labels, classes=4, seed=SEED, **options):
    """In a graph, as tf.data does it."""
    augmentation = Augmentation(Options(**options), lambda images: images, 255.0, classes)
    data = tf.data.Dataset.from_tensors((images, labels))
    images, labels = next(iter(data.map(lambda images, labels: augmentation(images, labels, seed))))
    return images.numpy(), labels.numpy()


def class_images(batch=64, classes=4, side=8):
    """Channel c is 1 where the label is c, so that a mixed image shows what it is mixed of."""
    labels = np.arange(batch) % classes
    planes = np.eye(classes, dtype="float32")[labels]
    return np.tile(planes[:, None, None], (1, side, side, 1)), labels


def test_a_crop_is_a_window_of_the_padded_image():
    images = np.random.default_rng(0).normal(size=(64, 5, 7, 2)).astype("float32")
    cropped = randomly_cropped(images, 2, SeedSequence(SEED)).numpy()
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)])
    corners = set()
    for image, frame in zip(cropped, padded, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(frame, image.shape)[:, :, 0]
        ((top, left),) = np.argwhere((windows == image).all((2, 3, 4)))
        corners.add((top, left))
    assert {top for top, _ in corners} == {left for _, left in corners} == set(range(5))


def test_half_of_the_images_are_flipped():
    images = np.random.default_rng(0).normal(size=(400, 3, 4, 1)).astype("float32")
    flipped = randomly_flipped(images, SeedSequence(SEED)).numpy()
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    unchanged = (flipped == images).all((1, 2, 3))
    assert np.array_equal(mirrored, ~unchanged)
    assert 160 < mirrored.sum() < 240  # Four standard deviations of a fair coin.


def test_mix_up_mixes_images_and_labels_by_the_same_weights():
    images, labels = class_images()
    mixed, soft = augment(images, labels, mix_up=0.4)
    assert soft.dtype == np.float32
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(mixed, np.broadcast_to(soft[:, None, None], mixed.shape), atol=1e-6)
    assert ((soft > 0.01).sum(1) == 2).any()


@pytest.mark.parametrize("side", [8, 16, 32])
def test_cut_mix_labels_are_the_fractions_of_the_pixels(side):
    images, labels = class_images(side=side)
    mixed, soft = augment(images, labels, cut_mix=1.0)
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)
    assert set(np.unique(mixed)) == {0.0, 1.0}  # Each pixel is of one image or the other.
    np.testing.assert_allclose(mixed.mean((1, 2)), soft, atol=1e-6)
    assert ((soft > 0.01).sum(1) == 2).any()


def test_with_both_a_batch_gets_one_of_them():
    images, labels = class_images()
    mixing = Augmentation(Options(mix_up=1.0, cut_mix=1.0), lambda images: images, 255.0, 4)
    mix = tf.function(lambda step: mixing(images, labels, tf.stack([0, step]))[0])
    binary = [set(np.unique(mix(tf.constant(step)))) == {0, 1} for step in range(12)]
    assert 0 < sum(binary) < 12


def test_labels_are_rows_only_with_soft_labels():
    images, labels = class_images()
    assert augment(images, labels, flip=True)[1].tolist() == labels.tolist()
    np.testing.assert_array_equal(augment(images, labels, soft_labels=True)[1], np.eye(4)[labels])


def test_erasing_clears_one_rectangle():
    images, labels = np.ones((200, 16, 16, 3), "float32"), np.zeros(200, "int32")
    erased, _ = augment(images, labels, erasing=0.5)
    hit = [image for image in erased if image.min() == 0]
    assert 70 < len(hit) < 130
    for image in hit:
        assert set(np.unique(image)) == {0.0, 1.0}
        hole = image[..., 0] == 0
        rows, columns = hole.any(1), hole.any(0)
        np.testing.assert_array_equal(hole, rows[:, None] & columns)
        np.testing.assert_array_equal(image[..., 0], image[..., 2])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("top", [1.0, 255.0])
def test_rand_augment_stays_in_range_and_varies_by_image(channels, top):
    image = np.random.default_rng(0).uniform(0, top, (12, 12, channels)).astype("float32")
    batch, labels = np.stack([image] * 48), np.zeros(48, "int32")
    augmentation = Augmentation(Options(rand_augment=2), lambda images: images, top, 2)
    varied = augmentation(batch, labels, SEED)[0].numpy()
    assert varied.min() >= 0 and varied.max() <= top * (1 + 1e-6)
    assert len({made.tobytes() for made in varied}) > 24


def test_rand_augment_repeats_by_seed():
    image = np.random.default_rng(0).uniform(0, 255, (12, 12, 3)).astype("float32")
    rand_augment = RandAugment(2, 0.5)
    made = [rand_augment(image, seed=(0, number)).numpy() for number in (1, 1, 2)]
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_seeds_differ_from_call_to_call_and_need_no_variable():
    seeds = SeedSequence(SEED)
    first, second = seeds.uniform((4,)).numpy(), seeds.uniform((4,)).numpy()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, SeedSequence(SEED).uniform((4,)))
    assert not [value for value in vars(seeds).values() if isinstance(value, tf.Variable)]
