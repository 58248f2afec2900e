"""Fashion-MNIST from IDX files, written here byte by byte, and generated images."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from dreal_tf.data.built_in import (
    USUAL_FOLDER,
    fashion_mnist,
    generated,
    generated_like,
    read_idx,
)
from dreal_tf.data.preprocessing import KNOWN_SETS
from dreal_tf.errors import InputError


def idx(array):
    """By the format's description: zeros, kind 8, axes; lengths, highest byte first; values."""
    lengths = b"".join(struct.pack(">I", length) for length in array.shape)
    return bytes([0, 0, 8, array.ndim]) + lengths + array.astype("uint8").tobytes()


def write(folder, train=200, test=20):
    for split, count in (("train", train), ("t10k", test)):
        numbers = np.arange(count)
        images = np.broadcast_to(numbers[:, None, None], (count, 28, 28))
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(numbers % 10)))
    return folder


def test_the_four_files_become_splits(tmp_path):
    data = fashion_mnist(write(tmp_path), batch_size=16)
    assert data.sizes == {"train": 180, "validation": 20, "test": 20}
    assert data.image_shape == (28, 28, 1)
    assert data.class_names[0] == "T-shirt/top" and data.class_names[9] == "Ankle boot"
    images, labels = next(data.test.as_numpy_iterator())
    np.testing.assert_array_equal(labels, np.arange(16) % 10)
    np.testing.assert_allclose(images[:, 5, 7, 0], (np.arange(16) / 255 - 0.2860) / 0.3530, rtol=1e-5)


def test_a_missing_file_is_named(tmp_path):
    (write(tmp_path) / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"file t10k-labels-idx1-ubyte.gz.*--data-dir"):
        fashion_mnist(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(idx(np.zeros((3, 2))))[:-9], "cannot be unpacked"),
        (b"no archive", "cannot be unpacked"),
        (gzip.compress(b"\0\0\x0d\x01" + bytes(8)), "does not start like one"),
        (gzip.compress(b""), "does not start like one"),
        (gzip.compress(b"\0\0\x08\x03\0\0"), "ends in its header"),
        (gzip.compress(idx(np.zeros((3, 2)))[:-1]), r"holds 5 values for the shape \[3, 2\]"),
    ],
    ids=["cut", "no_archive", "floats", "nothing", "header", "short"],
)
def test_a_damaged_file_is_named(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"train-images-idx3-ubyte.gz'.*{message}"):
        read_idx(path)


def test_the_real_one():
    if not Path(USUAL_FOLDER).is_dir():
        pytest.skip(f"{USUAL_FOLDER} is not there: apt-get install dataset-fashion-mnist")
    data = fashion_mnist(batch_size=100)
    assert data.sizes == {"train": 54000, "validation": 6000, "test": 10000}
    pixels = np.concatenate([images for images, _ in data.validation.as_numpy_iterator()])
    assert abs(pixels.mean()) < 0.02 and abs(pixels.std() - 1) < 0.02


def test_generated_classes_can_be_told_apart():
    data = generated(shape=(8, 8, 3), classes=4, images=400, batch_size=32)
    images, labels = (
        np.concatenate(part) for part in zip(*data.train.as_numpy_iterator(), strict=True)
    )
    centres = np.stack([images[labels == label].mean(0) for label in range(4)])
    tests, wanted = (np.concatenate(part) for part in zip(*data.test.as_numpy_iterator(), strict=True))
    nearest = np.square(tests[:, None] - centres).sum((2, 3, 4)).argmin(1)
    assert (nearest == wanted).mean() > 0.95


@pytest.mark.parametrize("name", ["cifar10", "digits", "imagenette/320px-v2", "imagenet2012"])
def test_generated_data_takes_a_known_shape(name):
    """Few images, however many classes."""
    known = KNOWN_SETS[name.split("/")[0]]
    data = generated_like(name, images=16, batch_size=8, image_size=16)
    assert (data.image_shape, len(data.class_names)) == ((16, 16, known.image_shape[2]), known.classes)
    assert data.sizes == {"train": 16, "validation": 16, "test": 16} and data.steps_per_epoch == 2
    assert generated_like("cifar10", images=4, batch_size=4).image_shape == (32, 32, 3)
