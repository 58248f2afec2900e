"""Which actions of a batch are measured: pairs of an image and a step. Pure functions."""

import math
from typing import NamedTuple

import tensorflow as tf
from keras import ops


def share_of(batch, fraction):
    """Number of images in a share of a batch, rounded up.

    Args:
        batch: int or int tensor. Number of images.
        fraction: float in [0, 1].
    Returns:
        Int for an int, else int32 scalar.
    Example:
        >>> share_of(10, 0.25), share_of(10, 0.2)
        (3, 2)
    """
    if isinstance(batch, int):
        return math.ceil(fraction * batch - 1e-4)
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
    """Which actions of a batch are measured, against which alternatives; one row per pair.

    Attributes:
        images: int32 tensor (n,). Position of the image in the batch.
        steps: int32 tensor (n,). Position of the step whose action is replaced.
        forms: int32 tensor (n,). Position of the alternative in the exploration; None for the first.
        partners: int32 tensor (n,). Position of the image that lends its action; None without.
        seed: int tensor (2,), of the noise.
        in_order: bool. Whether the rows run through the steps in order, as evenly as they can: the
            step of row j of n, of L steps, is j L / n or up to (L - 1) / n more, rounded down. Where
            a step's rows lie is then known before they are drawn.
        rounds: int. How often the same images are listed, one list after another.
    """

    images: object
    steps: object
    forms: object = None
    partners: object = None
    seed: object = (0, 0)
    in_order: bool = False
    rounds: int = 1

    def begin(self, step, steps):
        """The first row that can change step `step` of `steps` or a later one and no earlier one.

        Args:
            step: int from 0 to `steps`, which stands for the end.
            steps: int. Number of steps in the network.
        Returns:
            Int where the number of rows is known, else int32 scalar.
        Example:
            >>> drawn = draw_assignment(8, 6, 3, seed=(0, 1))
            >>> [drawn.begin(step, 3) for step in range(4)]
            [0, 2, 4, 6]
        """
        rows = ops.shape(self.images)[0]
        if self.in_order:
            return (step * rows + steps - 1) // steps
        return rows if step else 0

    def candidates(self, step, steps):
        """The rows that can change step `step` of `steps`: first, and one past the last.

        Example:
            >>> drawn = draw_assignment(8, 4, 3, seed=(0, 1))
            >>> [drawn.candidates(step, 3) for step in range(3)]
            [(0, 2), (1, 3), (2, 4)]
        """
        rows = ops.shape(self.images)[0]
        if self.in_order:
            return step * rows // steps, self.begin(step + 1, steps)
        return 0, rows


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
        `Assignment` of `measured` rows, in order of steps. A partner is any other image of the batch.
    Example:
        >>> drawn = draw_assignment(8, 6, 3, seed=(0, 1), forms=2)
        >>> sorted(drawn.steps.numpy().tolist()), sorted(drawn.forms.numpy().tolist())
        ([0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1])
    """
    images = draw_images(batch, measured, seed)
    offset, first_form = (_draw_below(count, seed, fold) for fold, count in ((1, steps), (2, forms)))
    rows = tf.range(measured)
    return Assignment(
        images=images,
        # Over all rows and offsets, each step comes up equally often (systematic sampling).
        steps=(rows * steps + offset) // tf.maximum(measured, 1),
        forms=(rows + first_form) % forms,
        partners=_partners(batch, images, seed),
        seed=tf.random.experimental.stateless_fold_in(seed, 4),
        in_order=True,
    )


def every_assignment(drawn, steps, forms=1):
    """Every pair of a drawn image and a step, steps varying slowest: the exact estimator.

    Args:
        drawn: `Assignment`, whose images, partners and alternatives are taken over.
        steps: int. Number of steps in the network.
        forms: int. Number of alternatives; each image's differs from step to step.
    Returns:
        `Assignment` of `steps` times as many rows.
    Example:
        >>> every = every_assignment(Assignment(np.int32([0, 4]), None), 2)
        >>> every.images.numpy().tolist(), every.steps.numpy().tolist()
        ([0, 4, 0, 4], [0, 0, 1, 1])
    """
    which = tf.repeat(tf.range(steps), tf.fill([steps], ops.shape(drawn.images)[0]))

    def often(part):
        return None if part is None else tf.tile(part, [steps])

    chosen = often(drawn.forms)
    return drawn._replace(
        images=often(drawn.images),
        steps=which,
        forms=None if chosen is None else (chosen + which) % forms,
        partners=often(drawn.partners),
        in_order=True,
        rounds=steps,
    )


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
