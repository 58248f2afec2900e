"""Images in files: which can be read, and reading them in batches."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import tensorflow as tf

from dreal_tf.data.decoding import (
    READABLE,
    UnreadableImage,
    has_16_bits,
    inspect_image,
    read_image,
    read_whole,
    unreadable,
)
from dreal_tf.data.file_record import digest
from dreal_tf.data.pipeline import order_of, shared_order

CURE = "Restore or remove it; with data.verify=true all such files are named before training."


class ImageFiles:
    """A source of examples that lie in files; see `dreal_tf.data.pipeline.splits_of`.

    Args:
        paths: sequence of str.
        labels: int array (n,).
        size: int or None, see `dreal_tf.data.decoding.read_image`; or a pair of int, see `read_whole`.
        least_area: float or None. Of a random-resized crop in training.
        sampler: `IdentitySampler` of these images, or None: they come in random order.
    Example:
        >>> tf.io.write_file("black.png", tf.io.encode_png(np.zeros((4, 4, 3), "uint8")))
        >>> [images.shape.as_list() for images, _ in ImageFiles(["black.png"], [0], 2).ordered(1)]
        [[1, 2, 2, 3]]
    """

    def __init__(self, paths, labels, size=None, least_area=None, sampler=None):
        with tf.device("CPU"):
            # As bytes: a name need not be UTF-8.
            self.paths = tf.constant([os.fsencode(path) for path in paths], tf.string)
            self.labels = tf.constant(labels, tf.int32)
        self.image_size = size
        self.least_area = least_area
        self.sampler = sampler
        self.size = len(labels)

    def shuffled(self, draw, batch_size, share=(0, 1)):
        """Full batches, in an order that follows from `draw`."""

        def read(position):
            path, label = self.paths[position], self.labels[position]
            seed = tf.random.experimental.stateless_fold_in(draw, position)
            image = self._read(tf.io.read_file(path), self.image_size, 3, seed, self.least_area)
            return image, label

        order = shared_order(order_of(self.size, draw, self.sampler), batch_size, share)
        images = _all_read(order, read, tf.gather(self.paths, order))
        # A worker's last batch may be smaller: see `dreal_tf.data.pipeline`.
        return images.batch(batch_size, drop_remainder=share[1] == 1)

    def ordered(self, batch_size):
        """All examples, in batches."""

        def read(position):
            content = tf.io.read_file(self.paths[position])
            return self._read(content, self.image_size), self.labels[position]

        return _all_read(tf.range(self.size), read, self.paths).batch(batch_size)

    @property
    def _read(self):
        return read_whole if isinstance(self.image_size, tuple) else read_image


class Inspected(NamedTuple):
    """What was found in image files, by name.

    Attributes:
        facts: dict of `dreal_tf.data.decoding.ImageFacts`, of those that can be read.
        problems: dict of str, why the others cannot.
        sha256: dict of str, of those that can be opened.
        deep: sequence of str, those with 16 bits a channel.
    """

    facts: dict
    problems: dict
    sha256: dict
    deep: tuple


def inspect_images(tree, names):
    """Decodes images, in parallel, to see which can be read.

    Args:
        tree: `dreal_tf.data.listing.ImageTree`.
        names: sequence of str.
    Returns:
        `Inspected`.
    Example:
        >>> from dreal_tf.data.listing import ImageTree
        >>> tf.io.write_file("notes.jpg", "no image")
        >>> inspect_images(ImageTree("."), ["notes.jpg"]).problems
        {'notes.jpg': 'not a JPEG, PNG, GIF, BMP or WebP image'}
    """
    return Inspected(*map_images(tree, names, inspect_image))


def map_images(tree, names, look):
    """Reads files in parallel, and looks at the content of each.

    Args:
        tree: `dreal_tf.data.listing.ImageTree`.
        names: sequence of str.
        look: callable from bytes to anything, which raises `UnreadableImage` or `tf.errors.OpError`.
    Returns:
        Three dicts by name: what `look` returned; str, why the other files cannot be read; and the
        SHA-256 of all, "" if one cannot be opened. And the names of those with 16 bits a channel.
    """

    deep = []

    def one(name):
        try:
            content = tree.content(name)
        except OSError as error:
            return None, opening_problem(error), ""
        if has_16_bits(content):
            deep.append(name)
        try:
            return look(content), None, digest(content)
        except (UnreadableImage, tf.errors.OpError) as error:
            return None, unreadable(error), digest(content)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(zip(names, pool.map(one, names), strict=True))
    return (
        {name: seen for name, (seen, problem, _) in found if problem is None},
        {name: problem for name, (_, problem, _) in found if problem is not None},
        {name: sha256 for name, (*_, sha256) in found},
        tuple(sorted(deep)),
    )


def warn_of_depth(deep):
    """Warns that images lose bits.

    Args:
        deep: sequence of str or path, the images with 16 bits a channel; there may be none.
    """
    if deep:
        warnings.warn(
            f"{len(deep)} images have 16 bits a channel, such as {deep[0]}: the upper 8 are kept.",
            stacklevel=4,
        )


def opening_problem(error):
    """Why a file cannot be opened.

    Args:
        error: `OSError`.
    Returns:
        Str.
    Example:
        >>> opening_problem(PermissionError(13, "Permission denied"))
        'cannot be opened: Permission denied'
    """
    if isinstance(error, FileNotFoundError):
        return "cannot be opened: there is no such file, or it is a link to nothing"
    return f"cannot be opened: {error.strerror or type(error).__name__}"


def _all_read(positions, read, paths):
    """The examples at some positions; an error names the first that cannot be read.

    An error of a kernel does not say which image it is about, so whoever fails is passed over, and the gap
    in the numbers of the others tells.

    Args:
        positions: int tensor (n,).
        read: function from a position to an image and its label.
        paths: str tensor (n,).
    Returns:
        tf.data.Dataset of (image, label).
    """
    count = tf.size(positions, tf.int64)
    numbered = tf.data.Dataset.from_tensor_slices(positions).enumerate()
    examples = numbered.map(lambda number, position: (number, *read(position)), tf.data.AUTOTUNE)
    _, image, label = examples.element_spec
    # One more example, or nothing would come after a gap at the end.
    last = count, tf.zeros([side or 0 for side in image.shape], image.dtype), tf.zeros((), label.dtype)
    examples = examples.ignore_errors().concatenate(tf.data.Dataset.from_tensors(last))

    def checked(expected, example):
        number, image, label = example
        missing = paths[tf.minimum(expected, count - 1)]  # Not looked at behind the last.
        message = [f"Expected a {READABLE} image that can be read. Received:", missing, CURE]
        with tf.control_dependencies([tf.debugging.Assert(number == expected, message)]):
            return expected + 1, (tf.identity(image), label)

    examples = examples.scan(tf.constant(0, tf.int64), checked).take(count)
    return examples.apply(tf.data.experimental.assert_cardinality(count))
