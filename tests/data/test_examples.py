"""Examples drawn from a data set: in memory, or in batches as they come."""

import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.data.examples import draw_examples, drawn_batches


@pytest.mark.parametrize("count", [1, 6, 17, 99])
def test_batches_hold_what_a_draw_holds_in_the_order_of_the_data(count):
    rows = np.random.default_rng(0).normal(size=(17, 2)), np.arange(17)
    data = tf.data.Dataset.from_tensor_slices(rows).batch(5)
    images, labels = draw_examples(data, 17, count, seed=3)
    batches = drawn_batches(data, 17, count, batch_size=4, seed=3)
    found = list(batches.as_numpy_iterator())
    assert len(batches) == len(found) == -(-min(count, 17) // 4)
    order = np.argsort(labels)
    np.testing.assert_array_equal(np.concatenate([part for _, part in found]), labels[order])
    np.testing.assert_array_equal(np.concatenate([part for part, _ in found]), images[order])


def test_a_draw_is_a_sample_by_the_seed_in_random_order_with_its_labels():
    rows = np.random.default_rng(0).normal(size=(17, 2)), np.arange(17)
    data = tf.data.Dataset.from_tensor_slices(rows).batch(5)
    images, labels = draw_examples(data, 17, 8, seed=1)
    np.testing.assert_array_equal(labels, np.random.default_rng(1).permutation(17)[:8])
    np.testing.assert_array_equal(images, rows[0][labels])
    np.testing.assert_array_equal(draw_examples(data, 17, 8, seed=1)[0], images)
    assert not np.array_equal(draw_examples(data, 17, 8, seed=2)[0], images)
    assert len(draw_examples(data, 17, 10**6)[1]) == 17
