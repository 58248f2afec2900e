"""A draw of examples from a data set, classes mixed, held in memory."""

import numpy as np


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
