"""Images in files: which can be read, and reading them in batches."""

import os
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from dreal_tf.data.decoding import decoded, read_image, read_whole
from dreal_tf.data.pipeline import order_of, shared_order

READABLE = "JPEG, PNG, GIF, BMP or WebP"


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
            self.paths, self.labels = tf.constant(list(paths)), tf.constant(labels, tf.int32)
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


def inspect_images(paths):
    """Decodes images, in parallel, to see which can be read.

    Args:
        paths: sequence of str.
    Returns:
        Two dicts by path: the (height, width) of what can be read (pixels); and of what cannot, a
        str that says why.
    Example:
        >>> tf.io.write_file("notes.jpg", "no image")
        >>> inspect_images(["notes.jpg"])
        ({}, {'notes.jpg': 'not a JPEG, PNG, GIF, BMP or WebP image'})
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(map(str, paths), pool.map(_inspected, paths), strict=True))
    sizes = {path: size for path, size in found.items() if isinstance(size, tuple)}
    return sizes, {path: why for path, why in found.items() if path not in sizes}


def _inspected(path):
    try:
        return tuple(decoded(tf.io.read_file(path)).shape)[:2]
    except tf.errors.OpError as error:
        return unreadable(error)


def unreadable(error):
    """Why an image could not be read.

    Args:
        error: `tf.errors.OpError` that reading and decoding it raised.
    Returns:
        Str.
    Example:
        >>> unreadable(tf.errors.InvalidArgumentError(None, None, "Input is empty."))
        'an empty file'
    """
    if not isinstance(error, tf.errors.InvalidArgumentError):
        return f"cannot be opened: {type(error).__name__}"
    if "Input is empty" in str(error):
        return "an empty file"
    if "Unknown image file format" in str(error):
        return f"not a {READABLE} image"
    return "damaged or cut short"


def _content(path):
    """The bytes of a file; names a file that does not begin like an image."""
    content = tf.io.read_file(path)
    head = tf.strings.substr(content, 0, 4)
    begins = [tf.io.is_jpeg(content), tf.strings.substr(content, 0, 2) == b"BM"]
    begins += [head == signature for signature in (b"\x89PNG", b"GIF8", b"RIFF")]
    message = f"Expected a {READABLE} image. Remove it, or train with data.verify=true. Received:"
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_any(begins), [message, path])]):
        return tf.identity(content)
