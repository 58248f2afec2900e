"""Fashion-MNIST: 70,000 grey images of 28×28 pixels, from its four IDX files."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from dreal_tf.data.arrays import from_arrays
from dreal_tf.data.catalogue import normalisation_of
from dreal_tf.errors import InputError

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
        options: fields of `dreal_tf.data.Options`, such as `batch_size`, `seed` and `flip`.
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
