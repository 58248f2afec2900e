"""Samples of a data set's examples: in memory, or in batches in the order of the data."""

import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.data.splits import sample_batches, sample_examples


@pytest.mark.parametrize("count", [1, 6, 17, 99])
def test_batches_hold_the_sample_in_the_order_of_the_data(count):
    rows = np.random.default_rng(0).normal(size=(17, 2)), np.arange(17)
    data = tf.data.Dataset.from_tensor_slices(rows).batch(5)
    images, labels = sample_examples(data, 17, count, seed=3)
    batches = sample_batches(data, 17, count, batch_size=4, seed=3)
    read = list(batches.as_numpy_iterator())
    assert len(batches) == len(read) == -(-min(count, 17) // 4)
    order = np.argsort(labels)
    np.testing.assert_array_equal(np.concatenate([part for _, part in read]), labels[order])
    np.testing.assert_array_equal(np.concatenate([part for part, _ in read]), images[order])


def test_a_sample_follows_the_seed_in_random_order_with_its_labels():
    rows = np.random.default_rng(0).normal(size=(17, 2)), np.arange(17)
    data = tf.data.Dataset.from_tensor_slices(rows).batch(5)
    images, labels = sample_examples(data, 17, 8, seed=1)
    np.testing.assert_array_equal(labels, np.random.default_rng(1).permutation(17)[:8])
    np.testing.assert_array_equal(images, rows[0][labels])
    np.testing.assert_array_equal(sample_examples(data, 17, 8, seed=1)[0], images)
    assert not np.array_equal(sample_examples(data, 17, 8, seed=2)[0], images)
    assert len(sample_examples(data, 17, 10**6)[1]) == 17
