"""Data that lies in memory, such as a user's own arrays."""

import numpy as np
import tensorflow as tf
from sklearn.model_selection import train_test_split

from dreal_tf.data.augmentation import augmented
from dreal_tf.data.splits import EpochClock, Splits
from dreal_tf.errors import InputError


def from_arrays(
    train,
    test,
    class_names,
    batch_size=64,
    validation_fraction=0.1,
    train_limit=None,
    mean=0.0,
    deviation=1.0,
    seed=0,
    crop_padding=0,
    flip=False,
):
    """Splits from arrays: validation held out of the training data, the same share of each class.

    Args:
        train: pair of arrays: images (n, height, width, channels) and int labels (n,).
        test: the same.
        class_names: sequence of str, by label.
        batch_size: int. Images per step.
        validation_fraction: float in (0, 1). Share of the training data held out.
        train_limit: int or None. Images to train on at most.
        mean, deviation: floats, or arrays (channels,): images become (image - mean) / deviation.
        seed: int. Of the held-out share, the order and the augmentation.
        crop_padding, flip: see `dreal_tf.data.augmentation.augmented`.
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
    train = _checked(train, class_names, "training")
    test = _checked(test, class_names, "test")
    classes = len(class_names)
    if min(len(train[0]) * validation_fraction, len(train[0]) * (1 - validation_fraction)) < classes:
        raise InputError(
            f"Expected at least one image of each of the {classes} classes to train on and to hold "
            f"out. Received: {len(train[0])} training images with validation_fraction="
            f"{validation_fraction}. Bring more images, or change the fraction."
        )
    images, held_images, labels, held_labels = train_test_split(
        *train, test_size=validation_fraction, random_state=seed, stratify=train[1]
    )
    images, labels = images[:train_limit], labels[:train_limit]
    if len(images) < batch_size:
        raise InputError(
            f"Expected at least one batch of training images. Received: {len(images)} images with "
            f"batch_size={batch_size}. Lower the batch size."
        )
    mean, deviation = np.float32(mean), np.float32(deviation)
    clock = EpochClock()

    def normalised(image, label):
        return (tf.cast(image, tf.float32) - mean) / deviation, label

    def evaluation(images, labels):
        pairs = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)
        return pairs.map(normalised, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def epoch_of_batches(epoch):
        draw = tf.cast(tf.stack([seed, epoch]), tf.int32)
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed=draw)

        def batch_of(positions):
            chosen, label = normalised(tf.gather(images, positions), tf.gather(labels, positions))
            if crop_padding or flip:
                seeds = tf.map_fn(
                    lambda i: tf.random.experimental.stateless_fold_in(draw, i), positions
                )
                chosen = tf.map_fn(
                    lambda pair: augmented(pair[0], pair[1], crop_padding, flip),
                    (chosen, seeds),
                    fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32),
                )
            return chosen, label

        positions = tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)
        return positions.map(batch_of, tf.data.AUTOTUNE)

    images, labels = tf.constant(images), tf.constant(labels)
    steps = len(images) // batch_size
    epochs = tf.data.Dataset.from_generator(clock.now, output_signature=tf.TensorSpec((), tf.int64))
    batches = epochs.flat_map(epoch_of_batches).prefetch(tf.data.AUTOTUNE)
    return Splits(
        train=batches.apply(tf.data.experimental.assert_cardinality(steps)),
        validation=evaluation(held_images, held_labels),
        test=evaluation(*test),
        class_names=tuple(class_names),
        image_shape=tuple(int(size) for size in images.shape[1:]),
        sizes={"train": len(images), "validation": len(held_images), "test": len(test[0])},
        steps_per_epoch=steps,
        clock=clock,
    )


def _checked(pair, class_names, which):
    images, labels = np.asarray(pair[0]), np.asarray(pair[1])
    if images.ndim != 4 or labels.shape != images.shape[:1]:
        raise InputError(
            f"Expected {which} images (n, height, width, channels) and labels (n,). Received: "
            f"shapes {images.shape} and {labels.shape}. Reshape them; grey images have one channel."
        )
    known = np.issubdtype(labels.dtype, np.integer) and len(labels) > 0
    if not known or labels.min() < 0 or labels.max() >= len(class_names):
        raise InputError(
            f"Expected {which} labels from 0 to {len(class_names) - 1}, as there are "
            f"{len(class_names)} class names. Received: {labels.dtype} labels, "
            f"{len(labels)} of them{f', {labels.min()} to {labels.max()}' if len(labels) else ''}. "
            "Number the classes from 0."
        )
    return images, labels.astype("int32")
