"""Images made up on the spot: for smoke runs and benchmarks, with no data at hand."""

import numpy as np

from dreal_tf.data.arrays import Arrays, from_arrays
from dreal_tf.data.catalogue import known_set
from dreal_tf.data.identities import identity_parts, identity_splits
from dreal_tf.data.identity_layouts import Listed
from dreal_tf.data.options import Options
from dreal_tf.retrieval import Protocol

NOISE = 32.0  # Its deviation, on the scale from 0 to 255.
CAMERAS = 3  # That see each identity, in turns.
VIEWS = 2  # Of a camera, of each identity that is asked for.


def generated(**options):
    """Noise over one coarse pattern for each class, so that there is something to learn.

    With `images_per_identity`, classes are identities, seen by three cameras; as many others make
    queries and a gallery.

    Args:
        options: fields of `dreal_tf.data.Options`: `shape`, `classes` and `images` (training images
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
        options: fields of `dreal_tf.data.Options`: `images` in each split, however many classes
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
