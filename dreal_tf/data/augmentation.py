"""Augmentation whose draws depend on the seed, the epoch and the image alone."""

import tensorflow as tf


def augmented(image, seed, crop_padding=0, flip=False):
    """One training image, varied.

    Args:
        image: float tensor (height, width, channels).
        seed: int tensor (2,). The same seed gives the same image.
        crop_padding: int >= 0. Zeros on each side (pixels) before a crop of the original size.
        flip: bool. Mirror left and right, half of the time.
    Returns:
        Float tensor of the same shape.
    Example:
        >>> image = np.arange(9.0).reshape(3, 3, 1)
        >>> float(tf.reduce_max(augmented(image, seed=(0, 1), flip=True)))
        8.0
    """
    if crop_padding:
        shape = tf.shape(image)
        padding = [[crop_padding, crop_padding], [crop_padding, crop_padding], [0, 0]]
        image = tf.image.stateless_random_crop(tf.pad(image, padding), shape, seed)
    if flip:
        other = tf.random.experimental.stateless_fold_in(seed, 1)  # Independent of the crop.
        image = tf.image.stateless_random_flip_left_right(image, other)
    return image
