"""What a network is given of an image at evaluation: as code, and as a description that is kept."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dreal_tf.data.decoding import central_window, scaled


class Preprocessing(NamedTuple):
    """From images of bytes to what a network takes, exactly as its validation images were prepared.

    Attributes:
        image_shape: tuple (height, width, channels), as the network takes them (pixels).
        mean, deviation: tuples of float, by channel or one for all: images become
            (image - mean) / deviation, where white is `top`.
        top: float. The value of white; black is 0.
        window: "central": of an image of another size the central square of 7/8 of the shorter side
            is scaled, see `dreal_tf.data.decoding.read_image`; "whole": the whole image.
        class_names: tuple of str, by label.
    Example:
        >>> prepare = Preprocessing((2, 2, 1), (127.5,), (127.5,), 255.0, "whole", ("a", "b"))
        >>> prepare(np.full((1, 4, 4, 1), 255, "uint8")).numpy().ravel().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    image_shape: tuple
    mean: tuple
    deviation: tuple
    top: float
    window: str
    class_names: tuple

    def __call__(self, images):
        """Images of any one size, resized and normalised.

        Args:
            images: uint8 tensor (batch, height, width, channels).
        Returns:
            Float32 tensor (batch, *image_shape).
        """
        return self.normalised(self.resized(images))

    def resized(self, images):
        """Images of the network's size.

        Args:
            images: uint8 tensor (batch, height, width, channels).
        Returns:
            Float32 tensor (batch, *image_shape), values from 0 to 255.
        """
        size = tuple(self.image_shape[:2])
        images = tf.convert_to_tensor(images)
        if tuple(images.shape[1:3]) == size:
            return tf.cast(images, tf.float32)

        def of_another_size():
            cut = images
            if self.window == "central":
                top, left, height, width = tf.unstack(central_window(tf.shape(images)[1:3], size[0]))
                cut = images[:, top : top + height, left : left + width]
            resized = scaled(cut, size)
            # Whole images are scaled once, before training, and kept as bytes.
            return tf.clip_by_value(tf.round(resized), 0, 255) if self.window == "whole" else resized

        whole = tf.reduce_all(tf.shape(images)[1:3] == size)
        resized = tf.cond(whole, lambda: tf.cast(images, tf.float32), of_another_size)
        return tf.ensure_shape(resized, (None, *self.image_shape))

    def normalised(self, images):
        """What the network takes of images of its size, values from 0 to 255: float32, same shape."""
        return self.standardised(tf.cast(images, tf.float32) * (self.top / 255.0))

    def standardised(self, images):
        """The same of images with values from 0 to `top`."""
        images = tf.cast(images, tf.float32)
        return (images - tf.constant(self.mean, tf.float32)) / tf.constant(self.deviation, tf.float32)

    def pixels(self, inputs):
        """The images of bytes that network inputs come from: uint8, rounded, same shape."""
        images = tf.cast(inputs, tf.float32) * tf.constant(self.deviation, tf.float32)
        images = (images + tf.constant(self.mean, tf.float32)) * (255.0 / self.top)
        return tf.cast(tf.clip_by_value(tf.round(images), 0, 255), tf.uint8)


def preprocessing_of(image_shape, mean, deviation, window, class_names, top=255.0):
    """A `Preprocessing` of plain numbers, which can be written down.

    Args:
        image_shape, window, top: see `Preprocessing`.
        mean, deviation: floats, or sequences by channel.
        class_names: sequence of str.
    Returns:
        `Preprocessing`.
    Example:
        >>> preprocessing_of((8, 8, 1), 0.5, np.float32([0.25]), "whole", ["a"]).deviation
        (0.25,)
    """
    mean, deviation = (tuple(np.atleast_1d(row).astype(float).tolist()) for row in (mean, deviation))
    shape = tuple(int(size) for size in image_shape)
    return Preprocessing(shape, mean, deviation, float(top), window, tuple(map(str, class_names)))
