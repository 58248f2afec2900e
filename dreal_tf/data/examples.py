"""A draw of examples from a data set: held in memory, classes mixed, or in batches as it comes."""

import numpy as np
import tensorflow as tf


def draw_examples(data, size, count, seed=0):
    """Some examples of a data set, in random order.

    Args:
        data: tf.data.Dataset of (images, int labels), batched.
        size: int. Number of its examples.
        count: int. How many to draw; all where there are fewer.
        seed: int.
    Returns:
        Array (count, ...) of the images, and int32 array (count,).
    Example:
        >>> data = tf.data.Dataset.from_tensor_slices((np.arange(9.0), np.arange(9))).batch(4)
        >>> images, labels = draw_examples(data, 9, 5)
        >>> len(set(labels.tolist())), bool((images == labels).all())
        (5, True)
    """
    order = np.random.default_rng(seed).permutation(size)[: min(count, size)]
    chosen = np.zeros(size, bool)
    chosen[order] = True
    images, labels, start = [], [], 0
    for batch, of_batch in data.as_numpy_iterator():  # Only what was drawn is kept in memory.
        here = chosen[start : start + len(of_batch)]
        images.append(batch[here])
        labels.append(of_batch[here])
        start += len(here)
    mixed = np.argsort(np.argsort(order))  # From the order of the data to that of the draw.
    return np.concatenate(images)[mixed], np.concatenate(labels)[mixed].astype("int32")


def drawn_batches(data, size, count, batch_size, seed=0):
    """The same examples, but in the order of the data and read as they are needed.

    Args:
        data, size, count, seed: as of `draw_examples`.
        batch_size: int.
    Returns:
        tf.data.Dataset of (images, labels), which knows its length.
    Example:
        >>> data = tf.data.Dataset.from_tensor_slices((np.arange(9.0), np.arange(9))).batch(4)
        >>> batches = drawn_batches(data, 9, 5, batch_size=3)
        >>> len(batches), [len(labels) for _, labels in batches]
        (2, [3, 2])
    """
    count = min(count, size)
    chosen = np.zeros(size, bool)
    chosen[np.random.default_rng(seed).permutation(size)[:count]] = True
    chosen = tf.constant(chosen)
    rows = data.unbatch().enumerate().filter(lambda place, _: chosen[place])
    batches = rows.map(lambda _, example: example).batch(batch_size)
    batches = batches.apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))
    return batches.prefetch(tf.data.AUTOTUNE)
