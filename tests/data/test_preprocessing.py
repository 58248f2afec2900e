"""An exported network prepares its images as the validation data of its training."""

import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.data.built_in import digits
from dreal_tf.data.folder import image_folder
from dreal_tf.data.preprocessing import preprocessing_of
from dreal_tf.training.builder import build_data
from dreal_tf.training.recipe_files import load_recipe


@pytest.mark.parametrize("size", [(24, 24), (64, 32), (40, 90), (9, 17)])
def test_images_of_a_folder_are_prepared_as_its_test_images_are(tmp_path, size):
    draws = np.random.default_rng(0)
    for number in range(20):
        image = tf.io.encode_png(draws.integers(0, 256, (*size, 3), "uint8"))
        tf.io.write_file(str(tmp_path / "ab"[number % 2] / f"{number}.png"), image)
    options = dict(image_size=24, batch_size=2, validation_fraction=0.3)
    data = image_folder(tmp_path, **options)
    kept = {tuple(np.ravel(inputs)[:9].round(3)) for inputs, _ in data.test.unbatch()}
    for path in tmp_path.rglob("*.png"):
        pixels = tf.io.decode_png(tf.io.read_file(str(path)))[None]
        kept -= {tuple(np.ravel(data.preprocessing(pixels))[:9].round(3))}
    assert not kept


def test_whole_images_of_arrays_are_prepared_as_their_test_images_are():
    recipe = load_recipe("digits_resnet8_se").replace({"data.image_size": 12})
    data = build_data(recipe)
    inputs, _ = next(iter(data.test))
    stored, _ = next(iter(build_data(load_recipe("digits_resnet8_se")).test))
    small = digits(batch_size=64).preprocessing.pixels(stored)
    # Digits are no bytes: they have 17 shades, and bytes are within half of 1/255 of them.
    error = np.abs(data.preprocessing(small) - inputs).max()
    assert error < 1.1 / 255 / data.preprocessing.deviation[0]


def test_pixels_undo_the_normalisation_exactly():
    prepare = preprocessing_of((4, 4, 3), [120.0, 110.0, 100.0], [60.0, 50.0, 40.0], "central", "ab")
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), "uint8")
    np.testing.assert_array_equal(prepare.pixels(prepare(images)), images)
    by_hand = (np.float64(images) - prepare.mean) / prepare.deviation
    np.testing.assert_allclose(prepare(images), by_hand, atol=1e-5)
