"""From encoded images to windows of the right size, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.data.image_files import central_window, random_window, read_image


def gradient(height, width):
    """A smooth image, which JPEG hardly changes: red tells the column, green the row."""
    columns, rows = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([columns, rows, np.full_like(rows, 128)], -1).astype("uint8")


@pytest.mark.parametrize(
    ("shape", "size", "window"),
    [
        ((256, 256), 224, (16, 16, 224, 224)),
        ((256, 512), 224, (16, 144, 224, 224)),
        ((400, 200), 224, (112, 12, 175, 175)),  # Seven eighths of 200.
        ((64, 64), 64, (0, 0, 64, 64)),
        ((1, 1), 32, (0, 0, 1, 1)),
        ((3000, 1), 32, (1499, 0, 1, 1)),
    ],
)
def test_the_central_window(shape, size, window):
    assert tuple(central_window(shape, size).numpy()) == window


@pytest.mark.parametrize("encode", [tf.io.encode_png, lambda i: tf.io.encode_jpeg(i, quality=100)])
def test_evaluation_sees_the_centre(encode):
    image = gradient(80, 160)  # Window: rows 5 to 75, columns 45 to 115.
    seen = read_image(encode(image), 35).numpy()
    assert seen.shape == (35, 35, 3)
    wanted = image[5:75, 45:115].reshape(35, 2, 35, 2, 3).mean((1, 3))  # Half the size.
    assert np.abs(seen - wanted)[1:-1, 1:-1].max() < 4


def test_an_image_of_the_wanted_size_is_left_as_it_is():
    image = gradient(32, 32)
    np.testing.assert_array_equal(read_image(tf.io.encode_png(image), 32), image)


@pytest.mark.parametrize("encode", [tf.io.encode_png, lambda i: tf.io.encode_jpeg(i, quality=100)])
def test_a_random_resized_crop_shows_its_window(encode):
    image = gradient(90, 120)
    for number in range(20):
        seed = (0, number)
        top, left, height, width = random_window((90, 120), seed, 0.1).numpy()
        seen = read_image(encode(image), 24, seed=seed, least_area=0.1).numpy()
        window = image[top : top + height, left : left + width].astype(float)
        np.testing.assert_allclose(seen.mean((0, 1)), window.mean((0, 1)), atol=4)


def test_random_windows_keep_to_their_bounds():
    windows = np.array([random_window((90, 120), (1, n), 0.25).numpy() for n in range(300)])
    top, left, height, width = windows.T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 90).all() and (left + width <= 120).all()
    share, ratio = height * width / (90 * 120), width / height
    assert share.min() > 0.23 and share.max() <= 1.0 and share.max() - share.min() > 0.5
    assert ratio.min() > 0.72 and ratio.max() < 1.4  # 3/4 to 4/3, but for whole pixels.


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images(channels):
    grey = gradient(20, 20)[..., :1]
    seen = read_image(tf.io.encode_png(grey), 20, channels)
    np.testing.assert_array_equal(seen, np.repeat(grey, channels, -1))
