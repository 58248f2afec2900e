"""Examples drawn from a data set: in memory, or in batches as they come."""

import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.data.splits import sample_batches, sample_examples


@pytest.mark.parametrize("count", [1, 6, 17, 99])
def test_batches_hold_what_a_draw_holds_in_the_order_of_the_data(count):
    rows = np.random.default_rng(0).normal(size=(17, 2)), np.arange(17)
    data = tf.data.Dataset.from_tensor_slices(rows).batch(5)
    images, labels = sample_examples(data, 17, count, seed=3)
    batches = sample_batches(data, 17, count, batch_size=4, seed=3)
    found = list(batches.as_numpy_iterator())
    assert len(batches) == len(found) == -(-min(count, 17) // 4)
    order = np.argsort(labels)
    np.testing.assert_array_equal(np.concatenate([part for _, part in found]), labels[order])
    np.testing.assert_array_equal(np.concatenate([part for part, _ in found]), images[order])
