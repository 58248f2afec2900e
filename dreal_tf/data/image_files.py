"""Images in files: which can be read, and reading them in batches."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import tensorflow as tf

from dreal_tf.data.decoding import (
    READABLE,
    UnreadableImage,
    inspect_image,
    read_image,
    read_whole,
    unreadable,
)
from dreal_tf.data.file_record import digest
from dreal_tf.data.pipeline import order_of, shared_order


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
            image = self._read(_content(path), self.image_size, 3, seed, self.least_area)
            return image, label

        order = order_of(self.size, draw, self.sampler)
        mine = tf.data.Dataset.from_tensor_slices(shared_order(order, batch_size, share))
        images = mine.map(read, tf.data.AUTOTUNE)
        # A worker's last batch may be smaller: see `dreal_tf.data.pipeline`.
        return images.batch(batch_size, drop_remainder=share[1] == 1)

    def ordered(self, batch_size):
        """All examples, in batches."""

        def read(path, label):
            return self._read(_content(path), self.image_size), label

        pairs = tf.data.Dataset.from_tensor_slices((self.paths, self.labels))
        return pairs.map(read, tf.data.AUTOTUNE).batch(batch_size)

    @property
    def _read(self):
        return read_whole if isinstance(self.image_size, tuple) else read_image


class Inspected(NamedTuple):
    """What was found in image files, by name.

    Attributes:
        facts: dict of `dreal_tf.data.decoding.ImageFacts`, of those that can be read.
        problems: dict of str, why the others cannot.
        sha256: dict of str, of those that can be opened.
    """

    facts: dict
    problems: dict
    sha256: dict


def inspect_images(tree, names):
    """Decodes images, in parallel, to see which can be read.

    Args:
        tree: `dreal_tf.data.image_trees.ImageTree`.
        names: sequence of str.
    Returns:
        `Inspected`.
    Example:
        >>> from dreal_tf.data.image_trees import ImageTree
        >>> tf.io.write_file("notes.jpg", "no image")
        >>> inspect_images(ImageTree("."), ["notes.jpg"]).problems
        {'notes.jpg': 'not a JPEG, PNG, GIF, BMP or WebP image'}
    """
    return Inspected(*map_images(tree, names, inspect_image))


def map_images(tree, names, look):
    """Reads files in parallel, and looks at the content of each.

    Args:
        tree: `dreal_tf.data.image_trees.ImageTree`.
        names: sequence of str.
        look: callable from bytes to anything, which raises `UnreadableImage` or `tf.errors.OpError`.
    Returns:
        Three dicts by name: what `look` returned; str, why the other files cannot be read; and the
        SHA-256 of all, "" if one cannot be opened.
    """

    def one(name):
        try:
            content = tree.content(name)
        except OSError as error:
            return None, opening_problem(error), ""
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


def _content(path):
    """The bytes of a file; names a file that does not begin like an image."""
    content = tf.io.read_file(path)
    head = tf.strings.substr(content, 0, 4)
    begins = [tf.io.is_jpeg(content), tf.strings.substr(content, 0, 2) == b"BM"]
    begins += [head == signature for signature in (b"\x89PNG", b"GIF8", b"RIFF")]
    message = f"Expected a {READABLE} image. Remove it, or train with data.verify=true. Received:"
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_any(begins), [message, path])]):
        return tf.identity(content)
