"""How a network's images are prepared: known data sets and their normalisation, and `Preprocessing`."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dreal_tf.data.files import shown_name
from dreal_tf.data.image_files import central_window, scaled


class KnownSet(NamedTuple):
    """A data set's shape and its normalisation.

    Attributes:
        image_shape: tuple (height, width, channels), as networks get it (pixels).
        classes: int.
        mean, deviation: tuples of float by channel: mean and standard deviation, on the scale from 0 to 1.
    """

    image_shape: tuple
    classes: int
    mean: tuple
    deviation: tuple


# Those of torchvision's ImageNet networks; also for sets that are not listed.
IMAGENET = {"mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225)}
# For grey images of sets that are not listed: the averages of ImageNet's channels.
GREY = {"mean": (0.449,), "deviation": (0.226,)}
# All others are statistics of the training images. Computed here: digits, Fashion-MNIST, COIL-100 and
# Tiny ImageNet with 50 classes. Commonly cited: MNIST (PyTorch's example), CIFAR-10 and CIFAR-100
# (computed over the originals, as in PyTorch training code).
KNOWN_SETS = {
    "digits": KnownSet((8, 8, 1), 10, (0.3056,), (0.3762,)),
    "cued": KnownSet((24, 24, 1), 10, (0.2120,), (0.3683,)),  # Of digits.
    "mnist": KnownSet((28, 28, 1), 10, (0.1307,), (0.3081,)),
    "fashion_mnist": KnownSet((28, 28, 1), 10, (0.2860,), (0.3530,)),
    "cifar10": KnownSet((32, 32, 3), 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": KnownSet((32, 32, 3), 100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "tiny_imagenet_50": KnownSet((64, 64, 3), 50, (0.4670, 0.4423, 0.3789), (0.2764, 0.2660, 0.2835)),
    "imagenette": KnownSet((224, 224, 3), 10, **IMAGENET),
    "imagenet2012": KnownSet((224, 224, 3), 1000, **IMAGENET),
    # Identities: the shape of the images or, if they differ in size, the usual one; the number of
    # training identities.
    "market1501": KnownSet((128, 64, 3), 751, **IMAGENET),
    "dukemtmc": KnownSet((256, 128, 3), 702, **IMAGENET),
    "msmt17": KnownSet((256, 128, 3), 1041, **IMAGENET),
    "veri776": KnownSet((256, 256, 3), 576, **IMAGENET),
    "coil100": KnownSet((128, 128, 3), 50, (0.3240, 0.2571, 0.2047), (0.2729, 0.2164, 0.1964)),
}


def known_set(name):
    """The shape and normalisation of a data set that is known before its images are read.

    Args:
        name: str; a TFDS name may end in "/config" or ":version".
    Returns:
        `KnownSet`, or None if the set is not listed.
    Example:
        >>> known_set("cifar10:3.0.2").classes
        10
    """
    return KNOWN_SETS.get(name.split("/")[0].split(":")[0])


def normalisation_of(name, channels, top=255.0):
    """The mean and standard deviation that normalise a data set's images.

    Args:
        name: str. A data set's name; a TFDS name may end in "/config" or ":version".
        channels: int, 1 or 3.
        top: float. The value of white; black is 0.
    Returns:
        Dict of "mean" and "deviation", lists of float by channel, on the scale from 0 to `top`: those of
        the data set if it is listed, else ImageNet's.
    Example:
        >>> normalisation_of("cifar10:3.0.2", 3, top=1.0)["mean"]
        [0.4914, 0.4822, 0.4465]
        >>> normalisation_of("my_own", 3, top=1.0)["mean"]
        [0.485, 0.456, 0.406]
    """
    known = known_set(name)
    usual = IMAGENET if channels == 3 else GREY
    fits = known is not None and known.image_shape[-1] == channels
    values = {"mean": known.mean, "deviation": known.deviation} if fits else usual
    return {key: [top * value for value in row] for key, row in values.items()}


class Preprocessing(NamedTuple):
    """From images of bytes to network inputs, exactly as the validation images were prepared.

    Attributes:
        image_shape: tuple (height, width, channels), as the network takes them (pixels).
        mean, deviation: tuples of float, by channel or one for all: images become
            (image - mean) / deviation, on the scale where white is `top`.
        top: float. The value of white; black is 0.
        window: "central": an image of another size is cut to the central square of 7/8 of the shorter
            side, which is scaled, see `dreal_tf.data.image_files.read_image`; "whole": nothing is cut off.
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
        """Resizes and normalises images of any one size.

        Args:
            images: uint8 tensor (batch, height, width, channels).
        Returns:
            Float32 tensor (batch, *image_shape).
        """
        return self.normalised(self.resized(images))

    def resized(self, images):
        """Brings images to the network's size.

        Args:
            images: uint8 tensor (batch, height, width, channels).
        Returns:
            Float32 tensor (batch, *image_shape), values from 0 to 255.
        """
        size = tuple(self.image_shape[:2])
        images = tf.convert_to_tensor(images)
        if tuple(images.shape[1:3]) == size:
            return tf.cast(images, tf.float32)

        def scaled_window():
            window = images
            if self.window == "central":
                top, left, height, width = tf.unstack(central_window(tf.shape(images)[1:3], size[0]))
                window = images[:, top : top + height, left : left + width]
            resized = scaled(window, size)
            # Whole images are scaled once, before training, and kept as bytes.
            return tf.clip_by_value(tf.round(resized), 0, 255) if self.window == "whole" else resized

        fits = tf.reduce_all(tf.shape(images)[1:3] == size)
        resized = tf.cond(fits, lambda: tf.cast(images, tf.float32), scaled_window)
        return tf.ensure_shape(resized, (None, *self.image_shape))

    def normalised(self, images):
        """Normalises images of the network's size with values from 0 to 255: float32, same shape."""
        return self.standardised(tf.cast(images, tf.float32) * (self.top / 255.0))

    def standardised(self, images):
        """Normalises images with values from 0 to `top`: float32, same shape."""
        images = tf.cast(images, tf.float32)
        return (images - tf.constant(self.mean, tf.float32)) / tf.constant(self.deviation, tf.float32)

    def pixels(self, inputs):
        """Recovers the images of bytes from network inputs: uint8, rounded, same shape."""
        images = tf.cast(inputs, tf.float32) * tf.constant(self.deviation, tf.float32)
        images = (images + tf.constant(self.mean, tf.float32)) * (255.0 / self.top)
        return tf.cast(tf.clip_by_value(tf.round(images), 0, 255), tf.uint8)


def preprocessing_of(image_shape, mean, deviation, window, class_names, top=255.0):
    """A `Preprocessing` of plain numbers, which JSON can hold.

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
    return Preprocessing(
        shape, mean, deviation, float(top), window, tuple(map(shown_name, class_names))
    )
