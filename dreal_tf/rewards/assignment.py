"""Which actions of a batch are measured: pairs of an image and a step. Pure functions."""

import math
from typing import NamedTuple

import tensorflow as tf


def share_of(batch, fraction):
    """Number of images in a share of a batch, rounded up.

    Args:
        batch: int or int tensor. Number of images.
        fraction: float in [0, 1].
    Returns:
        int32 scalar.
    Example:
        >>> int(share_of(10, 0.25)), int(share_of(10, 0.2))
        (3, 2)
    """
    return tf.cast(tf.math.ceil(fraction * tf.cast(batch, tf.float32) - 1e-4), tf.int32)


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


class Assignment(NamedTuple):
    """Which actions of a batch are measured, against which alternatives; one entry per pair.

    Attributes:
        images: int32 tensor (n,). Position of the image in the batch.
        steps: int32 tensor (n,). Position of the step whose action is replaced.
        forms: int32 tensor (n,). Position of the alternative in the exploration; None for the first.
        partners: int32 tensor (n,). Position of the image that lends its action; None without.
        seed: int tensor (2,), of the noise.
    """

    images: object
    steps: object
    forms: object = None
    partners: object = None
    seed: object = (0, 0)

    def each(self, change):
        """The assignment with every tensor of entries changed alike.

        Args:
            change: callable from a tensor (n,) to a tensor.
        Returns:
            `Assignment`; its seed is the same.
        Example:
            >>> Assignment(np.int32([0, 4]), np.int32([1, 2])).each(lambda part: part[1:]).images
            array([4], dtype=int32)
        """
        fields = {n: p for n, p in self._asdict().items() if n != "seed" and p is not None}
        return self._replace(**{name: change(part) for name, part in fields.items()})


def draw_assignment(batch, measured, steps, seed, forms=1):
    """Draws which images are measured, the one step that is changed in each, and how.

    Every (image, step, alternative) is drawn with the same probability, and steps and alternatives
    are balanced, so a mean over what is drawn is an unbiased estimate of the mean over all [ours].

    Args:
        batch: int or int tensor. Number of images.
        measured: int or int tensor, at most `batch`. Number of images to draw.
        steps: int. Number of steps in the network.
        seed: int tensor (2,). The same seed gives the same draw.
        forms: int. Number of alternatives.
    Returns:
        `Assignment` of `measured` entries. A partner is any other image of the batch.
    Example:
        >>> drawn = draw_assignment(8, 6, 3, seed=(0, 1), forms=2)
        >>> sorted(drawn.steps.numpy().tolist()), sorted(drawn.forms.numpy().tolist())
        ([0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1])
    """
    images = draw_images(batch, measured, seed)
    first, first_form = (_draw_below(count, seed, fold) for fold, count in ((1, steps), (2, forms)))
    places = tf.range(measured)
    return Assignment(
        images=images,
        steps=(places + first) % steps,
        forms=(places + places // math.lcm(steps, forms) + first_form) % forms,
        partners=_partners(batch, images, seed),
        seed=tf.random.experimental.stateless_fold_in(seed, 4),
    )


def every_assignment(drawn, steps, forms=1):
    """Every pair of a drawn image and a step, steps varying slowest: the exact estimator.

    Args:
        drawn: `Assignment`, whose images, partners and alternatives are taken over.
        steps: int. Number of steps in the network.
        forms: int. Number of alternatives; each image's differs from step to step.
    Returns:
        `Assignment` of `steps` times as many entries.
    Example:
        >>> every = every_assignment(Assignment(np.int32([0, 4]), None), 2)
        >>> every.images.numpy().tolist(), every.steps.numpy().tolist()
        ([0, 4, 0, 4], [0, 0, 1, 1])
    """
    count = tf.shape(drawn.images)[0]
    which = tf.repeat(tf.range(steps), tf.fill([steps], count))
    every = drawn.each(lambda part: tf.tile(part, [steps]))._replace(steps=which)
    if every.forms is None:
        return every
    return every._replace(forms=(every.forms + which) % forms)


def _draw_below(count, seed, fold):
    """An int from 0 to `count` - 1, independent of other folds of the seed."""
    folded = tf.random.experimental.stateless_fold_in(seed, fold)
    return tf.random.stateless_uniform([], folded, 0, count, tf.int32)


def _partners(batch, images, seed):
    """Another image of the batch for each; the image itself where it is alone."""
    folded = tf.random.experimental.stateless_fold_in(seed, 3)
    others = tf.maximum(batch - 1, 1)
    distance = tf.random.stateless_uniform(tf.shape(images), folded, 0, others, tf.int32)
    return (images + 1 + distance) % batch
