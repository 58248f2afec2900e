"""Samples of a data set's examples: in memory, or in batches in the order of the data."""

import os

import numpy as np
import pytest
from class_folder import fill

from dreal_tf.data.arrays import from_arrays
from dreal_tf.data.folder import image_folder
from dreal_tf.data.splits import sample_batches, sample_examples


def seventeen():
    """Splits with 17 test images, and these with their labels."""
    images = np.random.default_rng(0).normal(size=(17, 1, 2, 1)).astype("float32")
    training = np.zeros((34, 1, 2, 1), "float32"), np.arange(34) % 17
    rows = images, np.arange(17)
    names = list("abcdefghijklmnopq")
    return from_arrays(training, rows, names, validation=rows, batch_size=8), rows


@pytest.mark.parametrize("count", [1, 6, 17, 99])
def test_batches_hold_the_sample_in_the_order_of_the_data(count):
    data, _ = seventeen()
    images, labels = sample_examples(data, count, seed=3)
    batches = sample_batches(data, count, batch_size=4, seed=3)
    read = list(batches.as_numpy_iterator())
    assert len(batches) == len(read) == -(-min(count, 17) // 4)
    order = np.argsort(labels)
    np.testing.assert_array_equal(np.concatenate([part for _, part in read]), labels[order])
    np.testing.assert_array_equal(np.concatenate([part for part, _ in read]), images[order])


def test_a_sample_follows_the_seed_in_random_order_with_its_labels():
    data, rows = seventeen()
    images, labels = sample_examples(data, 8, seed=1)
    np.testing.assert_array_equal(labels, np.random.default_rng(1).permutation(17)[:8])
    np.testing.assert_array_equal(images, rows[0][labels])
    np.testing.assert_array_equal(sample_examples(data, 8, seed=1)[0], images)
    assert not np.array_equal(sample_examples(data, 8, seed=2)[0], images)
    assert len(sample_examples(data, 10**6)[1]) == 17


def test_a_sample_of_files_reads_no_other(tmp_path):
    data = image_folder(fill(tmp_path, count=20), image_size=8, batch_size=4, validation_fraction=0.2)
    paths = [os.fsdecode(path) for path in data.sources["test"].paths.numpy()]
    sampled = np.random.default_rng(2).permutation(len(paths))[:3]
    expected = [images[row] for images, _ in data.test for row in range(len(images))]
    for number, path in enumerate(paths):
        if number not in sampled:
            os.truncate(path, 0)
    (images,) = [images.numpy() for images, _ in sample_batches(data, 3, 4, seed=2)]
    np.testing.assert_array_equal(images, np.stack(expected)[np.sort(sampled)])
