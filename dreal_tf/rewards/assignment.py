"""Which actions of a batch are measured: pairs of an image and a step. Pure functions."""

import tensorflow as tf


def draw_images(batch, measured, seed):
    """Draws distinct images of a batch, each with the same probability.

    Args:
        batch: int or int tensor. Number of images.
        measured: int or int tensor, at most `batch`. Number of images to draw.
        seed: int tensor (2,). The same seed gives the same draw.
    Returns:
        int32 tensor (measured,): positions of images in the batch, in random order.
    Example:
        >>> sorted(draw_images(3, 3, seed=(0, 1)).numpy().tolist())
        [0, 1, 2]
    """
    # An order of random numbers, since TensorFlow's shuffle has no XLA kernel.
    return tf.argsort(tf.random.stateless_uniform([batch], seed))[:measured]


def draw_assignment(batch, measured, steps, seed):
    """Draws which images are measured, and the one step that is ablated in each.

    Every (image, step) pair is drawn with the same probability and the steps are balanced, so a
    mean over the drawn pairs is an unbiased estimate of the mean over all pairs [ours].

    Args:
        batch: int or int tensor. Number of images.
        measured: int or int tensor, at most `batch`. Number of images to draw.
        steps: int. Number of steps in the network.
        seed: int tensor (2,). The same seed gives the same draw.
    Returns:
        int32 tensors (measured,): positions of images in the batch, and positions of steps.
    Example:
        >>> images, steps = draw_assignment(8, 6, 3, seed=(0, 1))
        >>> sorted(steps.numpy().tolist()), len(set(images.numpy()))
        ([0, 0, 1, 1, 2, 2], 6)
    """
    images = draw_images(batch, measured, seed)
    other = tf.random.experimental.stateless_fold_in(seed, 1)  # Independent of the images.
    first = tf.random.stateless_uniform([], other, 0, steps, tf.int32)
    return images, (tf.range(measured) + first) % steps


def every_assignment(images, steps):
    """Every pair of an image and a step, steps varying slowest: the exact estimator.

    Args:
        images: int32 tensor (n,). Positions of images in the batch.
        steps: int. Number of steps in the network.
    Returns:
        int32 tensors (steps * n,): positions of images, and positions of steps.
    Example:
        >>> images, steps = every_assignment(np.int32([0, 4]), 2)
        >>> images.numpy().tolist(), steps.numpy().tolist()
        ([0, 4, 0, 4], [0, 0, 1, 1])
    """
    count = tf.shape(images)[0]
    return tf.tile(images, [steps]), tf.repeat(tf.range(steps), tf.fill([steps], count))
