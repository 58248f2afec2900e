"""Built-in data sets: digits, Fashion-MNIST and generated images."""

import gzip
import zlib
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dreal_tf.data.arrays import Arrays, from_arrays
from dreal_tf.data.catalogue import known_set, normalisation_of
from dreal_tf.data.identities import identity_parts, identity_splits
from dreal_tf.data.identity_layouts import Listed
from dreal_tf.data.sections import Options
from dreal_tf.errors import InputError
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
    mean, deviation = normalisation_of("digits", channels=1)
    return from_arrays(
        (train_images, train_labels),
        (test_images, test_labels),
        class_names=[str(digit) for digit in range(10)],
        mean=mean,
        deviation=deviation,
        **options,
    )


USUAL_FOLDER = "/usr/share/datasets/fashion-mnist"  # Of Debian's package.
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def fashion_mnist(folder=None, **options):
    """Fashion-MNIST's splits; the test split is the data set's own.

    Args:
        folder: str, path or None. Where `train-images-idx3-ubyte.gz` and the three other files lie;
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
    folder = Path(folder or USUAL_FOLDER)
    pairs = []
    for split in ("train", "t10k"):
        images = read_idx(folder / f"{split}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{split}-labels-idx1-ubyte.gz")
        pairs.append((images[..., None], labels))
    mean, deviation = normalisation_of("fashion_mnist", channels=1)
    return from_arrays(
        *pairs,
        class_names=CLASS_NAMES,
        mean=[255 * value for value in mean],
        deviation=[255 * value for value in deviation],
        **options,
    )


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
        raise _damaged(path, "which does not begin like one")
    begin = 4 + 4 * content[3]
    if len(content) < begin:
        raise _damaged(path, "which ends in its header")
    shape = np.frombuffer(content[4:begin], ">u4").astype(int)
    values = np.frombuffer(content, "uint8")[begin:]
    if values.size != shape.prod():
        raise _damaged(path, f"which holds {values.size} values for the shape {shape.tolist()}")
    return values.reshape(shape)


def _damaged(path, how):
    return InputError(
        f"Expected a compressed IDX file of bytes. Received: {str(path)!r}, {how}. "
        "Fetch the file again."
    )


NOISE = 32.0  # Its deviation, on the scale from 0 to 255.
CAMERAS = 3  # That see each identity, in turns.
VIEWS = 2  # Of a camera, of each identity that is asked for.


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
    chosen = Options(**options)
    if chosen.images_per_identity is not None:
        return _generated_identities(chosen)
    test_images = max(chosen.images // 4, chosen.classes)
    return from_arrays(
        _drawn(chosen, np.arange(chosen.images) % chosen.classes, seed=1),
        _drawn(chosen, np.arange(test_images) % chosen.classes, seed=2),
        class_names=[f"class {label}" for label in range(chosen.classes)],
        mean=127.5,
        deviation=63.75,
        **options,
    )


def _drawn(options, labels, seed):
    height, width, channels = options.shape
    patterns = np.random.default_rng(0).uniform(64, 192, (max(labels) + 1, 2, 2, channels))
    rows, columns = np.arange(height) * 2 // height, np.arange(width) * 2 // width

    made = np.empty((len(labels), height, width, channels), "uint8")
    random = np.random.default_rng(seed)
    for place, label in enumerate(labels):  # One by one: floats of all would fill the memory.
        pattern = patterns[label][rows][:, columns]
        made[place] = np.clip(random.normal(pattern, NOISE), 0, 255)
    return made, labels


def _generated_identities(options):
    def listed(labels, cameras, seed):
        # 0 and -1 have a meaning of their own.
        return Listed(_drawn(options, labels, seed)[0], labels + 1, cameras)

    count, asked = options.classes, options.classes * CAMERAS
    place = np.arange(options.images)
    others = count + np.arange(asked) // CAMERAS
    cameras = np.arange(asked) % CAMERAS
    parts = {
        "train": listed(place % count, place // count % CAMERAS, seed=1),
        "query": listed(others, cameras, seed=2),
        "gallery": listed(np.repeat(others, VIEWS), np.repeat(cameras, VIEWS), seed=3),
    }

    def source(part, labels, sampler=None):
        return Arrays(part.images, labels, options.resized_crop, sampler)

    looks = {"image_shape": options.shape, "mean": 127.5, "deviation": 63.75}
    parts = identity_parts(parts, options, Protocol())
    return identity_splits(parts, source, options, looks, Protocol())


def generated_like(name, **options):
    """A few images of pure noise, of the shape and number of classes that a known data set has.

    Args:
        name: str. A data set of the catalogue; of any other, `options` say the shape.
        options: fields of `dreal_tf.data.sections.Options`: `images` in each split, however many classes
            there are; `image_size` replaces height and width.
    Returns:
        `Splits`.
    Example:
        >>> data = generated_like("imagenet2012", images=16, batch_size=8, image_size=64)
        >>> data.image_shape, len(data.class_names)
        ((64, 64, 3), 1000)
    """
    chosen = Options(**options)
    known = known_set(name)
    shape, classes = (known.image_shape, known.classes) if known else (chosen.shape, chosen.classes)
    if chosen.image_size:
        shape = (chosen.image_size, chosen.image_width or chosen.image_size, shape[-1])
    random = np.random.default_rng(0)
    pair = random.integers(0, 256, (chosen.images, *shape), "uint8"), np.arange(chosen.images) % classes
    return from_arrays(
        pair,
        pair,
        class_names=[f"class {label}" for label in range(classes)],
        mean=127.5,
        deviation=63.75,
        validation=pair,
        **options,
    )
