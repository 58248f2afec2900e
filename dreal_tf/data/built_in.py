"""Built-in data sets: digits, Fashion-MNIST and generated images."""

import gzip
import math
import zlib

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dreal_tf.data.arrays import Arrays, from_arrays
from dreal_tf.data.identities import identity_parts, identity_splits
from dreal_tf.data.identity_layouts import Listed
from dreal_tf.data.preprocessing import known_set, normalisation_of
from dreal_tf.data.sections import Options, check_memory
from dreal_tf.errors import InputError, checked_path
from dreal_tf.retrieval import Protocol


def digits(**options):
    """The digits' splits. The test split, a fifth of each class, is the same for every seed.

    Args:
        options: fields of `dreal_tf.data.sections.Options`, such as `batch_size`, `seed` and `flip`.
    Returns:
        `Splits`.
    Example:
        >>> digits(batch_size=64).sizes
        {'train': 1293, 'validation': 144, 'test': 360}
    Source: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998.
    """
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).reshape(-1, 8, 8, 1).astype("float32")
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, random_state=0, stratify=labels
    )
    pairs = (train_images, train_labels), (test_images, test_labels)
    looks = {"class_names": list("0123456789"), **normalisation_of("digits", channels=1, top=1.0)}
    return from_arrays(*pairs, **looks, **options)


USUAL_FOLDER = "/usr/share/datasets/fashion-mnist"  # That of Debian's package.
CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat")
CLASS_NAMES += ("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def fashion_mnist(folder=None, **options):
    """Fashion-MNIST's splits; the test split is the data set's own.

    Args:
        folder: str, path or None. The folder of `train-images-idx3-ubyte.gz` and the three other files;
            None for the folder of Debian's package `dataset-fashion-mnist`.
        options: fields of `dreal_tf.data.sections.Options`, such as `batch_size`, `seed` and `flip`.
    Returns:
        `Splits`.
    Raises:
        InputError: if a file is missing or damaged.
    Example:
        >>> try:
        ...     fashion_mnist("no/such/folder")
        ... except InputError as error:
        ...     print(str(error)[:57])
        Expected Fashion-MNIST's file train-images-idx3-ubyte.gz.
    Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST", 2017, https://arxiv.org/abs/1708.07747.
    """
    folder = checked_path(folder or USUAL_FOLDER)
    pairs = []
    for split in ("train", "t10k"):
        images = read_idx(folder / f"{split}-images-idx3-ubyte.gz")
        pairs.append((images[..., None], read_idx(folder / f"{split}-labels-idx1-ubyte.gz")))
    looks = {"class_names": CLASS_NAMES, **normalisation_of("fashion_mnist", channels=1)}
    return from_arrays(*pairs, **looks, **options)


def read_idx(path):
    """The bytes of a compressed IDX file.

    Args:
        path: path.
    Returns:
        uint8 array of the shape that the file states.
    Raises:
        InputError: if the file is missing, or not an IDX file of bytes, or damaged.
    Source: LeCun, "The MNIST database", file formats: two zero bytes, the kind (8: bytes), the
        number of axes, the length of each (four bytes, highest first), the values.
    """
    if not path.is_file():
        raise InputError(
            f"Expected Fashion-MNIST's file {path.name}. Received: the folder {str(path.parent)!r}, "
            "which does not hold it. Install Debian's package dataset-fashion-mnist, or give the "
            "folder of the four files with --data-dir."
        )
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"which cannot be unpacked ({error})") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise _damaged(path, "which does not start like one")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise _damaged(path, "which ends in its header")
    shape = np.frombuffer(content[4:start], ">u4").astype(int)
    values = np.frombuffer(content, "uint8")[start:]
    if values.size != shape.prod():
        raise _damaged(path, f"which holds {values.size} values for the shape {shape.tolist()}")
    return values.reshape(shape)


def _damaged(path, problem):
    return InputError(
        f"Expected a compressed IDX file of bytes. Received: {str(path)!r}, {problem}. Download it again."
    )


NOISE = 32.0  # Its standard deviation, on the scale from 0 to 255.
CAMERAS = 3  # Each sees every identity, in turns.
VIEWS = 2  # Gallery images of each queried identity by each camera.
SCALE = {"mean": 127.5, "deviation": 63.75}


def generated(**options):
    """Noise over one coarse pattern for each class, so that there is something to learn.

    With `images_per_identity`, classes are identities, seen by three cameras; as many others make
    queries and a gallery.

    Args:
        options: fields of `dreal_tf.data.sections.Options`: `shape`, `classes` and `images` (training images
            before some are held out; a quarter as many are made to test on), `batch_size`, ...
    Returns:
        `Splits`.
    Example:
        >>> generated(shape=(8, 8, 3), classes=4, images=80, batch_size=16).sizes
        {'train': 72, 'validation': 8, 'test': 20}
    """
    settings = Options(**options)
    test_images = max(settings.images // 4, settings.classes)
    _check_size(settings.images + test_images, settings.shape)
    if settings.images_per_identity is not None:
        return _generated_identities(settings)
    if settings.images < 2 * settings.classes:
        raise InputError(
            "Expected at least two generated images of each class. Received: data.images="
            f"{settings.images}, data.classes={settings.classes}. Raise the first, or lower the second."
        )
    pairs = (
        _patterned(settings, np.arange(count) % settings.classes, seed)
        for seed, count in enumerate((settings.images, test_images), start=1)
    )
    return from_arrays(*pairs, class_names=_numbered(settings.classes), **SCALE, **options)


def _numbered(classes):
    return [f"class {label}" for label in range(classes)]


def _check_size(count, shape):
    check_memory(
        count * (math.prod(shape) + 8),  # With a label each.
        "a generated data set",
        f"{count} images of {'×'.join(map(str, shape))} values",
        "Lower data.images, data.classes or their size.",
    )


def _patterned(options, labels, seed):
    height, width, channels = options.shape
    patterns = np.random.default_rng(0).uniform(64, 192, (max(labels) + 1, 2, 2, channels))
    rows, columns = np.arange(height) * 2 // height, np.arange(width) * 2 // width

    images = np.empty((len(labels), height, width, channels), "uint8")
    random = np.random.default_rng(seed)
    for position, label in enumerate(labels):  # One by one: floats of all would fill the memory.
        pattern = patterns[label][rows][:, columns]
        images[position] = np.clip(random.normal(pattern, NOISE), 0, 255)
    return images, labels


def _generated_identities(options):
    def listed(labels, cameras, seed):
        # Identities start from 1: 0 and -1 have a meaning of their own.
        return Listed(_patterned(options, labels, seed)[0], labels + 1, cameras)

    count, positions = options.classes, np.arange(options.images)
    queried, cameras = count + np.arange(count).repeat(CAMERAS), np.tile(np.arange(CAMERAS), count)
    parts = {
        "train": listed(positions % count, positions // count % CAMERAS, seed=1),
        "query": listed(queried, cameras, seed=2),
        "gallery": listed(queried.repeat(VIEWS), cameras.repeat(VIEWS), seed=3),
    }

    def source(part, labels, sampler=None):
        return Arrays(part.images, labels, options.resized_crop, sampler)

    parts = identity_parts(parts, options, Protocol())
    return identity_splits(parts, source, options, {"image_shape": options.shape, **SCALE}, Protocol())


def generated_like(name, **options):
    """A few images of pure noise, with the shape and number of classes of a known data set.

    Args:
        name: str. A known data set; for any other, `options` give the shape.
        options: fields of `dreal_tf.data.sections.Options`: `images` in each split, however many classes
            there are; `image_size` replaces height and width.
    Returns:
        `Splits`.
    Example:
        >>> data = generated_like("imagenet2012", images=16, batch_size=8, image_size=64)
        >>> data.image_shape, len(data.class_names)
        ((64, 64, 3), 1000)
    """
    settings, known = Options(**options), known_set(name)
    shape = known.image_shape if known else settings.shape
    classes = known.classes if known else settings.classes
    if settings.image_size:
        shape = (settings.image_size, settings.image_width or settings.image_size, shape[-1])
    _check_size(settings.images, shape)
    images = np.random.default_rng(0).integers(0, 256, (settings.images, *shape), "uint8")
    pair = images, np.arange(settings.images) % classes
    return from_arrays(pair, pair, _numbered(classes), validation=pair, **SCALE, **options)
