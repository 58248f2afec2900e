"""Data in memory, such as a user's own arrays."""

import numpy as np
import tensorflow as tf

from dreal_tf.data.image_files import random_window
from dreal_tf.data.preprocessing import preprocessing_of
from dreal_tf.data.sections import Options, check_memory
from dreal_tf.data.splits import add_label_noise, epoch_order, hold_out, make_splits
from dreal_tf.errors import InputError


def from_arrays(train, test, class_names, mean=0.0, deviation=1.0, validation=None, **options):
    """Splits from arrays; validation is held out of the training data, the same fraction of each class.

    Args:
        train: pair of arrays: images (n, height, width, channels), integers from 0 to 255 or floats
            from 0 to 1, and int labels (n,). The range matters to RandAugment alone.
        test: the same.
        class_names: sequence of str, by label.
        mean, deviation: floats, or sequences by channel: images become (image - mean) / deviation.
        validation: pair of arrays to use in place of held-out images, or None.
        options: fields of `dreal_tf.data.sections.Options`, such as `batch_size`, `seed` and `flip`.
    Returns:
        `Splits`.
    Raises:
        InputError: if the arrays do not fit each other, or are too few.
    Example:
        >>> images, labels = np.zeros((40, 8, 8, 1), "uint8"), np.arange(40) % 2
        >>> splits = from_arrays((images, labels), (images, labels), ["a", "b"], batch_size=8)
        >>> splits.sizes, splits.steps_per_epoch
        ({'train': 36, 'validation': 4, 'test': 40}, 4)
    """
    options = Options(**options)
    pairs = {"train": train, "validation": validation, "test": test}
    pairs = {s: _checked(pair, class_names, s) for s, pair in pairs.items() if pair is not None}
    images, labels = pairs["train"]
    top = 255.0 if np.issubdtype(images.dtype, np.integer) else 1.0
    if validation is None:
        kept, held = hold_out(labels, options.validation_fraction, options.seed, class_names)
        pairs["validation"] = images[held], labels[held]
        images, labels = images[kept], labels[kept]
    images, labels = images[: options.train_limit], labels[: options.train_limit]
    pairs["train"] = (
        images,
        add_label_noise(labels, options.label_noise, len(class_names), options.seed),
    )
    shapes = {split: images.shape[1:] for split, (images, _) in pairs.items()}
    if len(set(shapes.values())) > 1:
        raise InputError(f"Expected images of one shape. Received: {shapes}. Resize them first.")
    sources = {
        split: Arrays(_resized(images, options.image_size), labels, options.resized_crop)
        for split, (images, labels) in pairs.items()
    }
    shape = sources["train"].images.shape[1:]
    preprocessing = preprocessing_of(shape, mean, deviation, "whole", class_names, top)
    return make_splits(sources, options, preprocessing)


class Arrays:
    """A source of examples in memory; see `dreal_tf.data.splits.make_splits`.

    Args:
        images: array (n, height, width, channels).
        labels: int array (n,).
        least_area: float in (0, 1] for a random-resized crop in training, or None.
        sampler: `IdentitySampler` of these images, or None for a random order.
    Example:
        >>> source = Arrays(np.zeros((5, 2, 2, 1)), np.arange(5))
        >>> [len(labels) for _, labels in source.ordered(2)]
        [2, 2, 1]
    """

    def __init__(self, images, labels, least_area=None, sampler=None):
        with tf.device("CPU"):  # tf.data works there, also on a machine with a GPU.
            self.images, self.labels = tf.constant(images), tf.constant(labels)
        self.least_area = least_area
        self.sampler = sampler
        self.size = len(images)

    def shuffled(self, epoch_seed, batch_size, shard=(0, 1)):
        """Full batches, in an order that follows from `epoch_seed`."""
        order = epoch_order(self.size, epoch_seed, batch_size, shard, self.sampler)
        # A worker's last batch may be smaller: see `dreal_tf.data.splits.make_splits`.
        positions = tf.data.Dataset.from_tensor_slices(order)
        positions = positions.batch(batch_size, drop_remainder=shard[1] == 1)
        return positions.map(lambda rows: self._batch(rows, epoch_seed), tf.data.AUTOTUNE)

    def ordered(self, batch_size, chosen=None):
        """All examples, or the chosen ones, in batches."""
        images, labels = self.images, self.labels
        if chosen is not None:
            images, labels = tf.boolean_mask(images, chosen), tf.boolean_mask(labels, chosen)
        return tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)

    def _batch(self, positions, epoch_seed):
        images = tf.gather(self.images, positions)
        if self.least_area is not None:
            images = self._cropped(images, positions, epoch_seed)
        return images, tf.gather(self.labels, positions)

    def _cropped(self, images, positions, epoch_seed):
        """Random-resized crops of a batch."""
        height, width = images.shape[1:3]

        def window(position):
            seed = tf.random.experimental.stateless_fold_in(epoch_seed, position)
            return random_window((height, width), seed, self.least_area)

        windows = tf.cast(tf.map_fn(window, positions), tf.float32)  # (batch, 4)
        ends = windows[:, :2] + windows[:, 2:] - 1
        last = tf.maximum([height - 1, width - 1] * 2, 1)
        boxes = tf.concat([windows[:, :2], ends], 1) / tf.cast(last, tf.float32)
        return tf.image.crop_and_resize(
            tf.cast(images, tf.float32), boxes, tf.range(tf.shape(images)[0]), (height, width)
        )


def _resized(images, size):
    """Whole images scaled to a size, in portions that take little memory."""
    if size is None or images.shape[1:3] == (size, size):
        return images
    check_memory(
        len(images) * size**2 * images.shape[3] * images.itemsize,
        "a data set",
        f"{len(images)} images with data.image_size={size}",
        "Lower data.image_size.",
    )
    portions = np.array_split(images, -(-len(images) // 1000))
    resized = np.concatenate([tf.image.resize(part, (size, size), antialias=True) for part in portions])
    if np.issubdtype(images.dtype, np.integer):
        return np.clip(np.rint(resized), 0, 255).astype(images.dtype)
    return resized


def _checked(pair, class_names, split):
    name = {"train": "training"}.get(split, split)
    images, labels = np.asarray(pair[0]), np.asarray(pair[1])
    if images.ndim != 4 or labels.shape != images.shape[:1]:
        raise InputError(
            f"Expected {name} images (n, height, width, channels) and labels (n,). Received: "
            f"shapes {images.shape} and {labels.shape}. Reshape them; grey images have one channel."
        )
    integers = np.issubdtype(labels.dtype, np.integer) and len(labels) > 0
    if not integers or labels.min() < 0 or labels.max() >= len(class_names):
        raise InputError(
            f"Expected {name} labels from 0 to {len(class_names) - 1}, as there are "
            f"{len(class_names)} class names. Received: {labels.dtype} labels, "
            f"{len(labels)} of them{f', {labels.min()} to {labels.max()}' if len(labels) else ''}. "
            "Number the classes from 0."
        )
    return images, labels.astype("int32")
