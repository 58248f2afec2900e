"""Cued recognition: four small pictures in one, of which the framed one gives the label.

A map of attention can be right or wrong here: it should lie on the framed picture.
"""

import numpy as np

from dreal_tf.data.arrays import from_arrays
from dreal_tf.data.built_in import digits, fashion_mnist
from dreal_tf.data.prepared import prepared_data_set
from dreal_tf.data.sections import Options, check_memory

SIDE = 2  # Pictures along a side.
MARGIN = 2  # Around each picture: the frame, and a gap (pixels).
SEEDS = {"train": 1, "validation": 2, "test": 3}  # They choose the pictures beside the framed one.
# Options of the data set of the small pictures; all others are the composed pictures'.
OF_TILES = (
    "folder",
    "download",
    "image_size",
    "validation_fraction",
    "train_limit",
    "memory_limit",
    "seed",
)


def cued(**options):
    """The splits of cued recognition: every image is framed once at each of the four positions.

    The three beside it are drawn at random from the same split: no test image is seen in training.

    Args:
        options: fields of `dreal_tf.data.sections.Options`; `tiles` names the data set of the small
            pictures, `image_size` is their side, and `train_limit` their number.
    Returns:
        `Splits`; its `boxes_of` is `framed_boxes`.
    Raises:
        InputError: if that data set is missing, or the pictures do not fit into the memory.
    Example:
        >>> splits = cued(batch_size=64)
        >>> splits.sizes, splits.image_shape
        ({'train': 5172, 'validation': 576, 'test': 1440}, (24, 24, 1))
    """
    name = Options(**options).tiles
    of_tiles = {option: options[option] for option in OF_TILES if option in options}
    of_tiles["batch_size"] = 1  # Batches of tiles are not trained on.
    known = {"digits": digits, "fashion_mnist": fashion_mnist}
    tiles = known[name](**of_tiles) if name in known else prepared_data_set(name, **of_tiles)
    _check_size(tiles)
    pairs = {split: _framed(*_images_of(tiles, split), SEEDS[split]) for split in SEEDS}
    images = pairs["train"][0]
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    deviation = scale * float((images / np.float32(scale)).std())
    splits = from_arrays(
        **pairs,
        class_names=tiles.class_names,
        mean=float(images.mean()),
        deviation=deviation,
        **options | {"image_size": None, "train_limit": None},
    )
    return splits._replace(boxes_of=framed_boxes)


def _check_size(tiles):
    height, width, channels = tiles.image_shape
    values = SIDE**4 * (height + 2 * MARGIN) * (width + 2 * MARGIN) * channels
    check_memory(
        sum(tiles.sizes.values()) * values,
        "a data set",
        f"{SIDE**2 * sum(tiles.sizes.values())} pictures of {SIDE**2} images of {height}×{width} pixels",
        "Lower data.image_size or data.train_limit.",
    )


def _images_of(tiles, split):
    """The images of a split, bytes or floats from 0 to 1, and their labels."""
    batches = zip(*tiles.sources[split].ordered(256).as_numpy_iterator(), strict=True)
    images, labels = map(np.concatenate, batches)
    is_bytes = tiles.preprocessing.top == 255
    return (np.rint(images).astype("uint8") if is_bytes else images), labels


def _framed(images, labels, seed):
    """Composed pictures (SIDE² · n, ...), position by position, and their labels."""
    count, height, width, channels = images.shape
    top = 255 if images.dtype == np.uint8 else 1
    tiles = np.zeros((count, height + 2 * MARGIN, width + 2 * MARGIN, channels), images.dtype)
    tiles[:, MARGIN:-MARGIN, MARGIN:-MARGIN] = images
    framed = np.full_like(tiles, top)
    framed[:, 1:-1, 1:-1] = tiles[:, 1:-1, 1:-1]
    random, pictures = np.random.default_rng(seed), []
    for position in range(SIDE**2):
        cells = [tiles[random.integers(count, size=count)] for _ in range(SIDE**2)]
        cells[position] = framed
        rows = [
            np.concatenate(cells[start : start + SIDE], axis=2) for start in range(0, SIDE**2, SIDE)
        ]
        pictures.append(np.concatenate(rows, axis=1))  # (n, SIDE · rows, SIDE · columns, channels)
    return np.concatenate(pictures), np.tile(labels, SIDE**2)


def framed_boxes(images):
    """The boxes of the framed pictures: those whose outermost pixels are brightest.

    Args:
        images: float array (n, height, width, channels) of pictures that were not shifted, on any scale.
    Returns:
        Float array (n, 4): top, left, bottom and right, as fractions of height and width.
    Example:
        >>> image = np.zeros((1, 8, 8, 1))
        >>> image[0, 4:, :4] = 1
        >>> framed_boxes(image).tolist()
        [[0.5, 0.0, 1.0, 0.5]]
    """
    images = np.asarray(images, np.float64).mean(axis=-1)
    rows = np.stack(np.split(images, SIDE, axis=1), axis=1)  # (n, SIDE, height / SIDE, width)
    cells = np.stack(
        np.split(rows, SIDE, axis=3), axis=2
    )  # (n, SIDE, SIDE, height / SIDE, width / SIDE)
    inside = cells[..., 1:-1, 1:-1].sum(axis=(-2, -1))
    frames = (cells.sum(axis=(-2, -1)) - inside).reshape(len(images), -1)
    top, left = np.divmod(frames.argmax(axis=1), SIDE)
    return np.stack([top, left, top + 1, left + 1], axis=1) / SIDE
