"""The data of a run: three splits and what they have in common."""

from typing import NamedTuple


class Splits(NamedTuple):
    """Training, validation and test data, batched and ready for `fit` and `evaluate`.

    Attributes:
        train: tf.data.Dataset of (images, labels), one epoch per iteration; its order and
            augmentation follow `clock`. Drops an incomplete batch.
        validation: tf.data.Dataset of (images, labels), held out of the training data.
        test: tf.data.Dataset of (images, labels), read once at the end.
        class_names: tuple of str, by label.
        image_shape: tuple (height, width, channels).
        sizes: dict of int: images in "train", "validation" and "test".
        steps_per_epoch: int.
        clock: `EpochClock` that says which epoch `train` draws.
    """

    train: object
    validation: object
    test: object
    class_names: tuple
    image_shape: tuple
    sizes: dict
    steps_per_epoch: int
    clock: object


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
