"""Sampling plans: which actions of a batch are measured, against which counterfactuals. Pure functions."""

import math
from typing import NamedTuple

import tensorflow as tf
from keras import ops


def count_of_fraction(batch, fraction):
    """Number of images in a fraction of a batch, rounded up.

    Args:
        batch: int or int tensor. Number of images.
        fraction: float in [0, 1].
    Returns:
        Int for an int, else int32 scalar.
    Example:
        >>> count_of_fraction(10, 0.25), count_of_fraction(10, 0.2)
        (3, 2)
    """
    # 0.2 · 10 may come out as 2.0000000000000004, which must not round up to 3.
    if isinstance(batch, int):
        return math.ceil(fraction * batch - 1e-4)
    return tf.cast(tf.math.ceil(fraction * tf.cast(batch, tf.float32) - 1e-4), tf.int32)


def sample_images(batch, count, seed):
    """Samples distinct images of a batch, each with the same probability.

    Args:
        batch: int or int tensor. Number of images.
        count: int or int tensor, at most `batch`. Number of images to sample.
        seed: int tensor (2,). The same seed gives the same sample.
    Returns:
        int32 tensor (count,): positions of images in the batch, in random order.
    Example:
        >>> sorted(sample_images(3, 3, seed=(0, 1)).numpy().tolist())
        [0, 1, 2]
    """
    # The order of random numbers, since TensorFlow's shuffle has no XLA kernel.
    return tf.argsort(tf.random.stateless_uniform([batch], seed))[:count]


class SamplingPlan(NamedTuple):
    """Which actions of a batch are measured: one row per pair of an image and a module.

    Attributes:
        images: int32 tensor (n,). Position of the image in the batch.
        modules: int32 tensor (n,). Position of the module whose action is replaced.
        kinds: int32 tensor (n,). Position of the counterfactual's kind in the exploration; None for
            the first everywhere.
        donors: int32 tensor (n,). Position of the image that lends its action to the kind
            "permuted"; None without.
        seed: int tensor (2,), of the noise.
        ordered: bool. Whether the rows go through the modules in order, as evenly as they can: row j
            of n, of L modules, is of module floor((j L + offset) / n) with one offset from 0 to
            L - 1. Which rows can belong to a module is then known before the offset is sampled.
        repeats: int. How often the same images are listed, one list after another.
    """

    images: object
    modules: object
    kinds: object = None
    donors: object = None
    seed: object = (0, 0)
    ordered: bool = False
    repeats: int = 1

    def first_row(self, module, modules):
        """The first row that can belong to a module or a later one, but to no earlier one.

        Args:
            module: int from 0 to `modules`, which stands for the end.
            modules: int. Number of modules.
        Returns:
            Int where the number of rows is known, else int32 scalar.
        Example:
            >>> plan = sample_plan(8, 6, 3, seed=(0, 1))
            >>> [plan.first_row(module, 3) for module in range(4)]
            [0, 2, 4, 6]
        """
        rows = ops.shape(self.images)[0]
        if self.ordered:
            return (module * rows + modules - 1) // modules
        return rows if module else 0

    def row_range(self, module, modules):
        """The rows that can belong to a module: the first, and one past the last.

        Example:
            >>> plan = sample_plan(8, 4, 3, seed=(0, 1))
            >>> [plan.row_range(module, 3) for module in range(3)]
            [(0, 2), (1, 3), (2, 4)]
        """
        rows = ops.shape(self.images)[0]
        if self.ordered:
            return module * rows // modules, self.first_row(module + 1, modules)
        return 0, rows


def sample_plan(batch, count, modules, seed, kinds=1):
    """Samples images of a batch, and one module and one kind of counterfactual for each.

    Every (image, module, kind) has the same probability, and modules and kinds are balanced, so a
    mean over the samples is an unbiased estimate of the mean over all [ours].

    Args:
        batch: int or int tensor. Number of images.
        count: int or int tensor, at most `batch`. Number of images to sample.
        modules: int. Number of modules.
        seed: int tensor (2,). The same seed gives the same plan.
        kinds: int. Number of kinds of counterfactual.
    Returns:
        `SamplingPlan` of `count` rows, in order of modules. A donor is any other image of the batch.
    Example:
        >>> plan = sample_plan(8, 6, 3, seed=(0, 1), kinds=2)
        >>> sorted(plan.modules.numpy().tolist()), sorted(plan.kinds.numpy().tolist())
        ([0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1])
    """
    images = sample_images(batch, count, seed)  # (count,)
    offset, first_kind = _uniform_int(modules, seed, fold=1), _uniform_int(kinds, seed, fold=2)
    rows = tf.range(count)
    return SamplingPlan(
        images=images,
        # Systematic sampling: over all offsets, each row takes each module equally often.
        modules=(rows * modules + offset) // tf.maximum(count, 1),
        kinds=(rows + first_kind) % kinds,
        donors=_sample_donors(batch, images, seed),
        seed=tf.random.experimental.stateless_fold_in(seed, 4),
        ordered=True,
    )


def full_plan(plan, modules, kinds=1):
    """Every module of a plan's images, modules varying slowest: the exact estimator.

    Args:
        plan: `SamplingPlan`, whose images, donors and kinds are kept.
        modules: int. Number of modules.
        kinds: int. Number of kinds of counterfactual; an image's kind changes from module to module.
    Returns:
        `SamplingPlan` of `modules` times as many rows.
    Example:
        >>> plan = full_plan(SamplingPlan(np.int32([0, 4]), None), 2)
        >>> plan.images.numpy().tolist(), plan.modules.numpy().tolist()
        ([0, 4, 0, 4], [0, 0, 1, 1])
    """
    of_rows = tf.repeat(tf.range(modules), tf.fill([modules], ops.shape(plan.images)[0]))  # (rows,)

    def repeated(part):
        return None if part is None else tf.tile(part, [modules])

    first_kinds = repeated(plan.kinds)
    return plan._replace(
        images=repeated(plan.images),
        modules=of_rows,
        kinds=None if first_kinds is None else (first_kinds + of_rows) % kinds,
        donors=repeated(plan.donors),
        ordered=True,
        repeats=modules,
    )


def _uniform_int(count, seed, fold):
    """An int from 0 to `count` - 1, independent of other folds of the seed."""
    folded = tf.random.experimental.stateless_fold_in(seed, fold)
    return tf.random.stateless_uniform([], folded, 0, count, tf.int32)


def _sample_donors(batch, images, seed):
    """Another image of the batch for each; the image itself in a batch of one."""
    folded = tf.random.experimental.stateless_fold_in(seed, 3)
    others = tf.maximum(batch - 1, 1)
    distance = tf.random.stateless_uniform(tf.shape(images), folded, 0, others, tf.int32)
    return (images + 1 + distance) % batch
