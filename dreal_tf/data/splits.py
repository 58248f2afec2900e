"""Splits of a data set: what is held out, label noise, and the splits themselves."""

from typing import NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from dreal_tf.errors import InputError


def with_noise(labels, share, classes, seed):
    """Labels, some of which are replaced by another class: symmetric noise.

    Args:
        labels: int array (n,).
        share: float in [0, 1). Share of the labels that are made wrong.
        classes: int >= 2.
        seed: int. The same labels are made wrong each time.
    Returns:
        int array (n,); each wrong label is any of the other classes, all as likely.
    Example:
        >>> noisy = with_noise(np.zeros(8, int), share=0.5, classes=3, seed=0)
        >>> int(np.sum(noisy > 0)), int(noisy.max()) < 3
        (4, True)
    """
    random = np.random.default_rng([seed, 1])  # Another stream than that of what is held out.
    wrong = random.permutation(len(labels))[: round(share * len(labels))]
    noisy = np.array(labels)
    noisy[wrong] = (noisy[wrong] + random.integers(1, classes, len(wrong))) % classes
    return noisy


class Splits(NamedTuple):
    """Training, validation and test data, batched and ready for `fit` and `evaluate`.

    Attributes:
        train: tf.data.Dataset of (images, labels), one epoch per iteration; its order and
            augmentation follow `clock`. Drops an incomplete batch.
        validation: tf.data.Dataset of (images, labels), held out of the training data, or the data
            set's own.
        test: tf.data.Dataset of (images, labels), read once at the end; its labels are ints.
        preprocessing: `Preprocessing`, what validation and test images went through.
        sizes: dict of int: images in "train", "validation" and "test".
        steps_per_epoch: int.
        clock: `EpochClock` that says which epoch `train` draws.
        soft_labels: bool. True: the labels of `train` and `validation` are float rows (batch,
            classes) that sum to 1, as `keras.losses.CategoricalCrossentropy` takes them. False:
            ints (batch,), as `keras.losses.SparseCategoricalCrossentropy` takes them.
        skipped: tuple of str: path and reason of each image that was left out, being unreadable.
        files: `dreal_tf.data.file_record.FileRecord` of data in files; else None.
        notes: tuple of str, lines on how the data was read.
        retrieval: None, or of data of identities a dict of `RetrievalSet`: "validation", identities
            held out of the training data, and "test". `validation` and `test` above are then images
            held out of the identities that are trained on.
    """

    train: object
    validation: object
    test: object
    preprocessing: object
    sizes: dict
    steps_per_epoch: int
    clock: object
    soft_labels: bool = False
    skipped: tuple = ()
    files: object = None
    notes: tuple = ()
    retrieval: dict | None = None

    @property
    def class_names(self):
        """Tuple of str, by label."""
        return self.preprocessing.class_names

    @property
    def image_shape(self):
        """Tuple (height, width, channels)."""
        return self.preprocessing.image_shape


class EpochClock:
    """The epoch that the next iteration over the training data draws; moved by a callback.

    Order and augmentation depend on (seed, epoch) alone, so a resumed run draws what an
    uninterrupted one would have drawn.

    Example:
        >>> clock = EpochClock()
        >>> clock.epoch = 3
        >>> next(clock.now())
        3
    """

    def __init__(self):
        self.epoch = 0

    def now(self):
        """Yields the epoch once."""
        yield self.epoch


def hold_out(labels, fraction, seed, class_names):
    """Which examples to keep and which to hold out: the same share of each class.

    Args:
        labels: int array (n,).
        fraction: float in (0, 1). Share to hold out.
        seed: int.
        class_names: sequence of str, by label.
    Returns:
        Pair of int arrays: the positions kept, and those held out, each in random order.
    Raises:
        InputError: if a class has fewer than two images, or there are too few in all.
    Example:
        >>> kept, held = hold_out(np.arange(40) % 2, 0.1, 0, ["a", "b"])
        >>> len(kept), sorted((held % 2).tolist())
        (36, [0, 0, 1, 1])
    """
    classes = len(class_names)
    counts = np.bincount(labels, minlength=classes)
    if counts.min() == 0:
        raise InputError(
            "Expected training images of each class. Received: none of class "
            f"{class_names[int(counts.argmin())]!r}. Bring some, or leave the class out."
        )
    if counts.min() < 2:
        rarest = int(counts.argmin())
        raise InputError(
            "Expected at least two training images of each class, one of them to hold out. "
            f"Received: {counts[rarest]} of class {class_names[rarest]!r}. Bring more of them, or "
            "leave the class out."
        )
    if min(len(labels) * fraction, len(labels) * (1 - fraction)) < classes:
        raise InputError(
            f"Expected at least one image of each of the {classes} classes to train on and to hold "
            f"out. Received: {len(labels)} training images, of which a share of {fraction} is to be "
            "held out. Bring more images, or change validation_fraction."
        )
    positions = np.arange(len(labels))
    return train_test_split(positions, test_size=fraction, random_state=seed, stratify=labels)
