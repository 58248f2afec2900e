"""What is known of a data set before its images are read."""

from typing import NamedTuple


class KnownSet(NamedTuple):
    """A data set's shape and its normalisation.

    Attributes:
        image_shape: tuple (height, width, channels), as networks get it (pixels).
        classes: int.
        mean, deviation: tuples of float by channel, on the scale from 0 to 1.
    """

    image_shape: tuple
    classes: int
    mean: tuple
    deviation: tuple


# The ones that torchvision's ImageNet networks are trained with; also for what is not listed.
IMAGENET = {"mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225)}
# Of all grey images that are not listed: the averages of ImageNet's channels.
GREY = {"mean": (0.449,), "deviation": (0.226,)}
# All others are taken over the training images. Computed here: digits, Fashion-MNIST, COIL-100 and Tiny
# ImageNet with 50 classes. Taken from where they are commonly cited: MNIST (PyTorch's example),
# CIFAR-10 and CIFAR-100 (computed over the originals, as in PyTorch training code).
KNOWN_SETS = {
    "digits": KnownSet((8, 8, 1), 10, (0.3056,), (0.3762,)),
    "mnist": KnownSet((28, 28, 1), 10, (0.1307,), (0.3081,)),
    "fashion_mnist": KnownSet((28, 28, 1), 10, (0.2860,), (0.3530,)),
    "cifar10": KnownSet((32, 32, 3), 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": KnownSet((32, 32, 3), 100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "tiny_imagenet_50": KnownSet((64, 64, 3), 50, (0.4670, 0.4423, 0.3789), (0.2764, 0.2660, 0.2835)),
    "imagenette": KnownSet((224, 224, 3), 10, **IMAGENET),
    "imagenet2012": KnownSet((224, 224, 3), 1000, **IMAGENET),
    # Of identities: the shape is that of the images or, where they differ, the usual one; the classes
    # are the training identities.
    "market1501": KnownSet((128, 64, 3), 751, **IMAGENET),
    "dukemtmc": KnownSet((256, 128, 3), 702, **IMAGENET),
    "msmt17": KnownSet((256, 128, 3), 1041, **IMAGENET),
    "veri776": KnownSet((256, 256, 3), 576, **IMAGENET),
    "coil100": KnownSet((128, 128, 3), 50, (0.3240, 0.2571, 0.2047), (0.2729, 0.2164, 0.1964)),
}


def known_set(name):
    """What is known of a data set.

    Args:
        name: str; a TFDS name may end in "/config" or ":version".
    Returns:
        `KnownSet`, or None of one that is not listed.
    Example:
        >>> known_set("cifar10:3.0.2").classes
        10
    """
    return KNOWN_SETS.get(name.split("/")[0].split(":")[0])


def normalisation_of(name, channels):
    """Mean and deviation with which a data set's images are normalised.

    Args:
        name: str. A data set's name; a TFDS name may end in "/config" or ":version".
        channels: int, 1 or 3.
    Returns:
        Pair of tuples of float by channel, on the scale from 0 to 1: the data set's own where they
        are listed, else ImageNet's.
    Example:
        >>> normalisation_of("cifar10:3.0.2", 3)[0]
        (0.4914, 0.4822, 0.4465)
        >>> normalisation_of("my_own", 3)[0]
        (0.485, 0.456, 0.406)
    """
    known = known_set(name)
    if known and known.image_shape[-1] == channels:
        return known.mean, known.deviation
    return tuple((IMAGENET if channels == 3 else GREY).values())
