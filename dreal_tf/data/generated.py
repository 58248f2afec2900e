"""Images made up on the spot: for smoke runs and benchmarks, with no data at hand."""

import numpy as np

from dreal_tf.data.arrays import from_arrays
from dreal_tf.data.catalogue import known_set
from dreal_tf.data.options import Options

NOISE = 32.0  # Its deviation, on the scale from 0 to 255.


def generated(**options):
    """Noise over one coarse pattern for each class, so that there is something to learn.

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
    height, width, channels = chosen.shape
    patterns = np.random.default_rng(0).uniform(64, 192, (chosen.classes, 2, 2, channels))
    rows, columns = np.arange(height) * 2 // height, np.arange(width) * 2 // width

    def split(images, seed):
        labels = np.arange(images) % chosen.classes
        made = np.empty((images, height, width, channels), "uint8")
        random = np.random.default_rng(seed)
        for place, label in enumerate(labels):  # One by one: floats of all would fill the memory.
            pattern = patterns[label][rows][:, columns]
            made[place] = np.clip(random.normal(pattern, NOISE), 0, 255)
        return made, labels

    test_images = max(chosen.images // 4, chosen.classes)
    return from_arrays(
        split(chosen.images, seed=1),
        split(test_images, seed=2),
        class_names=[f"class {label}" for label in range(chosen.classes)],
        mean=127.5,
        deviation=63.75,
        **options,
    )


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
        shape = (chosen.image_size, chosen.image_size, shape[-1])
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
