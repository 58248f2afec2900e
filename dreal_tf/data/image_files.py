"""Images in files: decoding, inspection, and reading as a source of examples.

One decoder serves training, evaluation, prediction, indexing and figures. TensorFlow decodes JPEG and
PNG with 8 bits, because it is faster; Pillow decodes the rest. An image is turned upright as its EXIF
orientation says, transparency is dropped, an animation gives its first picture, and 16 bits a channel
become 8: the upper ones.
"""

import io
import os
import re
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import simplejpeg
import tensorflow as tf
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from dreal_tf.data.files import FORMATS, digest, first_few
from dreal_tf.data.splits import epoch_order
from dreal_tf.errors import InputError, received

# A profile or a comment may be longer than Pillow's 1 MiB; all text of an image stays within its 64 MiB.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
ZOOM = 0.875  # Fraction of the shorter side that evaluation keeps: 224 of 256 pixels.
READABLE = "JPEG, PNG, GIF, BMP or WebP"
MAX_PIXELS = 178_956_970  # Pillow's default against decompression bombs, whatever a program has set.
TOO_LARGE = f"larger than {MAX_PIXELS / 1e6:.0f} million pixels"
DAMAGED = "damaged or cut short"
ORIENTATION = 0x0112  # The EXIF tag.
UPRIGHT = 1
BY_PILLOW, PNG, JPEG = range(3)  # Decoders: Pillow, or TensorFlow's kernel of that format.
JPEG_SIGNATURE, PNG_SIGNATURE = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
ORIENTATION_MARKS = (b"Exif", b"eXIf", b"http://ns.adobe.com/xap", b"XML:com.adobe", b"Raw profile")
PNG_PIXELS_OF_TENSORFLOW, PNG_SIDE_OF_TENSORFLOW = 2**26, 1_000_000  # It refuses larger ones.
LUMINANCE = (19595, 38470, 7471)  # Weights of red, green and blue, in 65536ths: Pillow's.
STRAY_BYTES = 16  # Before the end of a JPEG; some cameras leave them.
EDGE = 32  # Columns beside a window of a JPEG whose colours a decoder may blend into it.
SUBMITTED = 1000  # Files in the queue of the threads; an entry takes a kilobyte and more.
BAD_NAMED = 5  # Bad images that a message names; it counts the others.
EXPECTED = f"Expected a {READABLE} image that can be read. Received:"
CURE = "Restore or remove it; with data.verify=true all such files are named before training."


class UnreadableImage(ValueError):
    """An image that cannot be decoded; its text is the reason."""


def decoded(data, channels=3):
    """The pixels of an image, upright.

    Args:
        data: str tensor (), the encoded image: JPEG, PNG, GIF, BMP or WebP, whatever its file's name.
        channels: int, 1 or 3. A grey image gets three equal channels; a coloured one becomes its
            luminance by ITU-R 601 if one channel is wanted.
    Returns:
        uint8 tensor (height, width, channels).
    Raises:
        tf.errors.OpError: if it cannot be decoded, see `unreadable`.
    Example:
        >>> decoded(tf.io.encode_png(np.zeros((2, 3, 1), "uint8"))).shape.as_list()
        [2, 3, 3]
    """
    return _decoded_by(_plan_of(data), data, channels)


_decoded_graph = tf.function(decoded, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)


def pixels_of(content):
    """The pixels of an image, as `decoded` gives them, but faster outside a graph.

    Args:
        content: bytes.
    Returns:
        uint8 array (height, width, 3).
    Raises:
        tf.errors.OpError: if it cannot be decoded, see `unreadable`.
    Example:
        >>> pixels_of(tf.io.encode_png(np.zeros((2, 3, 1), "uint8")).numpy()).shape
        (2, 3, 3)
    """
    return _decoded_graph(content).numpy()


def inspect_image(content):
    """Decodes an image to find out whether it can be read.

    A JPEG with a hole decodes, but the rest of its picture is wrong; the decoder warns of it, and
    TensorFlow and Pillow ignore the warning.

    Args:
        content: bytes.
    Returns:
        Tuple (height, width), upright (pixels).
    Raises:
        UnreadableImage: with the reason.
    Example:
        >>> inspect_image(tf.io.encode_png(np.zeros((2, 3, 1), "uint8")).numpy())
        (2, 3)
    """
    try:
        with _opened(content) as image:
            width, height = image.size
            if _orientation(image) > 4:  # On its side.
                width, height = height, width
            if content[:3] == JPEG_SIGNATURE:
                _check_jpeg(content, image)
            else:
                image.load()
            if content[:8] == PNG_SIGNATURE and _fits_tensorflow(width, height):
                tf.io.decode_png(content, 3)  # It checks the sums that Pillow ignores.
            return height, width
    except UnreadableImage:
        raise
    except Exception as error:  # Damage shows in errors of many kinds.
        raise UnreadableImage(DAMAGED) from error


def _check_jpeg(content, image):
    """Decodes a JPEG and raises an error if its picture is damaged; libjpeg only warns of that."""
    space = {1: "GRAY", 3: "RGB"}.get(len(image.getbands()), "CMYK")
    try:
        simplejpeg.decode_jpeg(content, space, strict=True)
    except ValueError as error:
        stray = re.search(r"(\d+) extraneous bytes before marker 0xd9", str(error))
        if stray and int(stray[1]) <= STRAY_BYTES:
            return
        if "Corrupt JPEG data" in str(error) or "Premature end" in str(error):
            raise
        image.load()  # Something else that TurboJPEG does not support, such as a sampling.


def unreadable(error):
    """The reason why an image could not be read.

    Args:
        error: `UnreadableImage`; or `tf.errors.OpError`, raised by reading and decoding it; or `OSError`,
            raised by opening its file.
    Returns:
        Str.
    Example:
        >>> unreadable(tf.errors.InvalidArgumentError(None, None, "Input is empty."))
        'damaged or cut short'
        >>> unreadable(PermissionError(13, "Permission denied"))
        'cannot be opened: Permission denied'
    """
    if isinstance(error, UnreadableImage):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "cannot be opened: there is no such file, or it is a link to nothing"
    reason = re.search(f"{UnreadableImage.__name__}: (.*)", str(error))
    if reason:
        return reason[1]
    if isinstance(error, tf.errors.InvalidArgumentError):
        return DAMAGED
    return f"cannot be opened: {getattr(error, 'strerror', None) or type(error).__name__}"


def message_of(error):
    """The message about an image that could not be read during training or evaluation.

    Args:
        error: `tf.errors.OpError`.
    Returns:
        Str, which names the file; None if the error is about something else.
    """
    match = re.search(
        rf"\[({re.escape(EXPECTED)})\] \[(.*?)\] \[({re.escape(CURE)})\]", str(error), re.DOTALL
    )
    return f"{match[1]} {received(match[2])}. {match[3]}" if match else None


def _orientation(image):
    """The EXIF orientation of an opened image, from 1 to 8; upright if nothing valid says otherwise."""
    try:
        orientation = image.getexif().get(ORIENTATION, UPRIGHT)
    except Exception:  # Broken metadata raises errors of many kinds, and the picture may be whole.
        return UPRIGHT
    valid = isinstance(orientation, int) and orientation in range(1, 9)
    return orientation if valid else UPRIGHT


def _opened(content):
    """The image that Pillow opens; it has read the header alone."""
    if not content:
        raise UnreadableImage("an empty file")
    Image.init()  # Or Pillow knows only some of the formats.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=tuple(FORMATS))
    except Image.DecompressionBombError as error:
        raise UnreadableImage(TOO_LARGE) from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"not a {READABLE} image") from error
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise UnreadableImage(DAMAGED) from error
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(TOO_LARGE)
    return image


# Outside a graph `tf.numpy_function` would strip the zeros at the end of bytes.
@tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
def _plan_of(data):
    """How to decode an image, int32 tensor (2,): the decoder, and the EXIF orientation."""
    plan = tf.numpy_function(_plan, [data], tf.int32, stateful=False)
    return tf.ensure_shape(plan, (2,))


def _plan(content):
    if not content:
        raise UnreadableImage("an empty file")
    decoder, orientation = _decoder(content), UPRIGHT
    # Searching for the marks is faster than opening the image, and nearly all images have none.
    if decoder == BY_PILLOW or any(mark in content for mark in ORIENTATION_MARKS):
        with _opened(content) as image:
            orientation = _orientation(image)
    return np.int32([decoder, orientation])


def _decoder(content):
    if content[:3] == JPEG_SIGNATURE:
        return JPEG
    is_png = content[:8] == PNG_SIGNATURE and len(content) >= 33 and not has_16_bits(content)
    if is_png and _fits_tensorflow(*struct.unpack(">II", content[16:24])):
        return PNG
    return BY_PILLOW


def _fits_tensorflow(width, height):
    return width * height <= PNG_PIXELS_OF_TENSORFLOW and max(width, height) <= PNG_SIDE_OF_TENSORFLOW


def _decoded_by(plan, data, channels):
    decoder, orientation = tf.unstack(plan)
    decoders = [lambda: _by_pillow(data), lambda: tf.io.decode_png(data, 3)]
    image = tf.switch_case(decoder, [*decoders, lambda: tf.io.decode_jpeg(data, 3)])
    return _with_channels(_upright(image, orientation), channels)


def has_16_bits(content):
    """Whether an encoded image has 16 bits a channel; decoding keeps the upper 8.

    Args:
        content: bytes.
    Example:
        >>> has_16_bits(tf.io.encode_png(np.zeros((2, 3, 1), "uint16")).numpy())
        True
    """
    return content[:8] == PNG_SIGNATURE and content[24:25] == b"\x10"


@tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
def _by_pillow(data):
    """Pixels (height, width, 3) as stored, decoded by Pillow."""

    def pixels(content):
        with _opened(content) as image:
            try:
                if image.mode[0] == "I":  # 16 bits, grey.
                    grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
                    return np.repeat(grey[:, :, None], 3, axis=2)
                return np.asarray(image.convert("RGB"))
            except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
                raise UnreadableImage(DAMAGED) from error

    return tf.ensure_shape(tf.numpy_function(pixels, [data], tf.uint8, stateful=False), (None, None, 3))


def _upright(image, orientation):
    """An image (height, width, channels) turned as its EXIF orientation says."""

    def turned():
        turn = tf.cond(orientation > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        mirrored = tf.reduce_any(orientation == [2, 3, 6, 7])
        turn = tf.cond(mirrored, lambda: tf.reverse(turn, [1]), lambda: turn)
        upended = tf.reduce_any(orientation == [3, 4, 7, 8])
        return tf.cond(upended, lambda: tf.reverse(turn, [0]), lambda: turn)

    return tf.cond(orientation == UPRIGHT, lambda: image, turned)


def _with_channels(image, channels):
    if channels == 1:
        weights = tf.constant(LUMINANCE)
        grey = tf.reduce_sum(tf.cast(image, tf.int32) * weights, axis=2, keepdims=True)
        image = tf.cast(tf.bitwise.right_shift(grey + 0x8000, 16), tf.uint8)
    return tf.ensure_shape(image, (None, None, channels))


def read_image(data, size, channels=3, seed=None, least_area=None):
    """An image brought to a size.

    Evaluation, and training without a random-resized crop: the central square of 7/8 of the
    shorter side, which is what scaling that side to 256 pixels and cutting out 224 gives; an image
    that has the wanted size stays as it is. The window alone of an upright JPEG is decoded.

    Args:
        data: str tensor (), the encoded image.
        size: int, side of the result (pixels), or None for the image as stored.
        channels: int, 1 or 3.
        seed: int tensor (2,), for a random-resized crop.
        least_area: float in (0, 1], or None. Least fraction of the image that a random-resized crop
            keeps; its width is from 3/4 to 4/3 of its height.
    Returns:
        Tensor (size, size, channels), values from 0 to 255; uint8 as stored, else float.
    Example:
        >>> data = tf.io.encode_jpeg(np.zeros((40, 60, 3), "uint8"))
        >>> read_image(data, 32).shape.as_list()
        [32, 32, 3]
    Source: window as in Szegedy et al., "Going deeper with convolutions", 2015, section 6.
    """
    if size is None:
        return decoded(data, channels)

    def window(shape):
        if least_area is None:
            return central_window(shape, size)
        return random_window(shape, seed, least_area)

    def of_upright_jpeg():
        shape = tf.image.extract_jpeg_shape(data)[:2]
        return _with_channels(_jpeg_window(data, window(shape), shape[1]), channels)

    plan = _plan_of(data)

    def of_other():
        image = _decoded_by(plan, data, channels)
        return _cut(image, window(tf.shape(image)[:2]))

    image = tf.cond(tf.reduce_all(plan == [JPEG, UPRIGHT]), of_upright_jpeg, of_other)
    return tf.ensure_shape(scaled(image, (size, size)), (size, size, channels))


def _cut(image, window):
    top, left, height, width = tf.unstack(window)
    return image[top : top + height, left : left + width]


def _jpeg_window(data, window, image_width):
    """A window of an upright JPEG, equal to that window of the whole image."""
    top, left, height, width = tf.unstack(window)
    start = tf.maximum(left - EDGE, 0)
    end = tf.minimum(left + width + EDGE, image_width)
    image = tf.image.decode_and_crop_jpeg(data, tf.stack([top, start, height, end - start]), 3)
    return image[:, left - start : left - start + width]


def read_whole(data, size, channels=3, seed=None, least_area=None):
    """A whole image brought to a size, whatever becomes of its proportions.

    Args:
        data, channels, seed, least_area: see `read_image`; without a random-resized crop nothing is cut
            off.
        size: pair of int, height and width of the result (pixels).
    Returns:
        uint8 tensor (height, width, channels).
    Example:
        >>> data = tf.io.encode_jpeg(np.zeros((40, 60, 3), "uint8"))
        >>> read_whole(data, (64, 32)).shape.as_list()
        [64, 32, 3]
    """
    image = decoded(data, channels)
    if least_area is not None:
        image = _cut(image, random_window(tf.shape(image)[:2], seed, least_area))
    image = tf.cast(tf.clip_by_value(tf.round(scaled(image, size)), 0, 255), tf.uint8)
    return tf.ensure_shape(image, (*size, channels))


def scaled(images, size):
    """Images scaled to a size, smoothed if they become smaller.

    Args:
        images: tensor (..., height, width, channels), of rank 3 or 4.
        size: pair of int, height and width (pixels).
    Returns:
        Float32 tensor, values from 0 to 255.
    Example:
        >>> scaled(np.full((2, 2, 1), 7, "uint8"), (2, 3)).numpy().ravel().tolist()
        [7.0, 7.0, 7.0, 7.0, 7.0, 7.0]
    """
    # Enlarging is the same with smoothing and without, but faster without.
    return tf.cond(
        tf.reduce_any(tf.shape(images)[-3:-1] > size),
        lambda: tf.image.resize(images, size, antialias=True),
        lambda: tf.image.resize(images, size),
    )


def central_window(shape, size):
    """The window that evaluation keeps.

    Args:
        shape: int tensor (2,): height and width of the image (pixels).
        size: int. Wanted side.
    Returns:
        int32 tensor (4,): top, left, height, width (pixels).
    Example:
        >>> central_window((256, 512), 224).numpy().tolist()
        [16, 144, 224, 224]
    """
    shape = tf.cast(shape, tf.int32)
    side = tf.cast(tf.round(ZOOM * tf.cast(tf.reduce_min(shape), tf.float32)), tf.int32)
    side = tf.maximum(side, 1)
    corner = (shape - side) // 2
    central = tf.concat([corner, [side, side]], 0)
    whole = tf.concat([[0, 0], shape], 0)
    return tf.where(tf.reduce_all(shape == size), whole, central)


def random_window(shape, seed, least_area):
    """The window of a random-resized crop.

    Args:
        shape: int tensor (2,): height and width of the image (pixels).
        seed: int tensor (2,).
        least_area: float in (0, 1]. Least fraction of the image.
    Returns:
        int32 tensor (4,): top, left, height, width (pixels); the whole image if no window fits.
    Example:
        >>> random_window((1, 1), (0, 7), 0.08).numpy().tolist()
        [0, 0, 1, 1]
    """
    shape = tf.cast(shape, tf.int32)
    start, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([shape, [3]], 0),
        bounding_boxes=tf.zeros((1, 0, 4)),
        seed=seed,
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(least_area, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([start[:2], extent[:2]], 0)


class Inspected(NamedTuple):
    """The result of inspecting image files, by name; empty without arguments.

    Attributes:
        results: dict of the results of the inspection, for files that can be read and were not checked before.
        problems: dict of str, the reasons why the others cannot.
        sha256: dict of str, for all files; "" if a file cannot be opened.
        deep: list of str, the images with 16 bits a channel.
    """

    results: dict = {}
    problems: dict = {}
    sha256: dict = {}
    deep: list = []

    def bad(self, tree):
        """The paths in a tree of the images that cannot be read, with the reasons: list of str."""
        return [f"{tree.path(name)} ({reason})" for name, reason in self.problems.items()]

    def check(self, tree, on_bad_image):
        """Refuses images that cannot be read, unless they are to be skipped.

        Args:
            tree: `dreal_tf.data.files.ImageTree` of the files.
            on_bad_image: str, "stop" or "skip".
        Raises:
            InputError: naming some.
        """
        bad = self.bad(tree)
        if bad and on_bad_image == "stop":
            raise InputError(
                f"Expected {READABLE} images that can be read. Received: {len(bad)} that cannot: "
                f"{first_few(bad, BAD_NAMED, '; ')}. Remove or replace them, or skip them with "
                "data.on_bad_image=skip."
            )

    def warn_of_depth(self, tree):
        """Warns that images lose bits.

        Args:
            tree: `dreal_tf.data.files.ImageTree` of the files.
        """
        if self.deep:
            warnings.warn(
                f"{len(self.deep)} images have 16 bits a channel, such as {tree.path(min(self.deep))}: "
                "the upper 8 are kept.",
                stacklevel=4,
            )


def inspect_images(tree, names, inspect=inspect_image, checked=None):
    """Reads image files, in parallel, to find out which can be decoded.

    Args:
        tree: `dreal_tf.data.files.ImageTree`.
        names: sequence of str.
        inspect: callable from bytes to anything, which raises `UnreadableImage` or `tf.errors.OpError`.
        checked: dict of str by name, see `dreal_tf.data.files.checked_before`. These files are not read.
    Returns:
        `Inspected`.
    Example:
        >>> from dreal_tf.data.files import ImageTree
        >>> tf.io.write_file("notes.jpg", "no image")
        >>> inspect_images(ImageTree("."), ["notes.jpg"]).problems
        {'notes.jpg': 'not a JPEG, PNG, GIF, BMP or WebP image'}
    """

    def read(name):
        sha256, deep = "", False
        try:
            content = tree.content(name)
            sha256, deep = digest(content), has_16_bits(content)
            return inspect(content), None, sha256, deep
        except (OSError, UnreadableImage, tf.errors.OpError) as error:
            return None, unreadable(error), sha256, deep

    inspected = Inspected({}, {}, dict(checked or {}), [])
    names = [name for name in names if name not in inspected.sha256]
    rows = in_parallel(read, names, SUBMITTED)
    for name, (result, problem, sha256, deep) in zip(names, rows, strict=True):
        if problem is None:
            inspected.results[name] = result
        else:
            inspected.problems[name] = problem
        inspected.sha256[name] = sha256
        if deep:
            inspected.deep.append(name)
    return inspected


def in_parallel(read, files, ahead):
    """Yields the results of reading files, in their order, by all cores.

    Args:
        read: callable that takes a file.
        files: sequence.
        ahead: int >= 1. Files that are submitted at a time, and so results that wait in memory.
    Example:
        >>> list(in_parallel(len, ["a", "bcd", "ef"], ahead=2))
        [1, 3, 2]
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), ahead):
            yield from pool.map(read, files[start : start + ahead])


def one_size(sizes):
    """The size of images that must have one.

    Args:
        sizes: dict from an image's name to its size: (height, width) in pixels.
    Returns:
        Pair of int; (1, 1) if there are no images.
    Raises:
        InputError: naming two images of different sizes.
    Example:
        >>> one_size({"a.png": (2, 3), "b.png": (2, 3)})
        (2, 3)
    """
    if len(set(sizes.values())) > 1:
        least, most = min(sizes, key=sizes.get), max(sizes, key=sizes.get)
        raise InputError(
            "Expected images of one size if data.image_size is not set. Received: "
            f"{sizes[least]} of {least}, {sizes[most]} of {most} (height, width in pixels). Set "
            "data.image_size, such as 224."
        )
    return next(iter(sizes.values()), (1, 1))


class ImageFiles:
    """A source of examples in files; see `dreal_tf.data.splits.make_splits`.

    Args:
        paths: sequence of str.
        labels: int array (n,).
        size: int or None, see `read_image`; or a pair of int, see `read_whole`.
        least_area: float in (0, 1] for a random-resized crop in training, or None.
        sampler: `IdentitySampler` of these images, or None for a random order.
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

    def shuffled(self, epoch_seed, batch_size, shard=(0, 1)):
        """Full batches, in an order that follows from `epoch_seed`."""
        order = epoch_order(self.size, epoch_seed, batch_size, shard, self.sampler)
        # A worker's last batch may be smaller: see `dreal_tf.data.splits.make_splits`.
        return self._examples(order, epoch_seed).batch(batch_size, drop_remainder=shard[1] == 1)

    def ordered(self, batch_size, chosen=None):
        """All examples, or the chosen ones, in batches."""
        positions = tf.range(self.size)
        positions = positions if chosen is None else tf.boolean_mask(positions, chosen)
        return self._examples(positions).batch(batch_size)

    def _read(self, position, epoch_seed):
        data, arguments = tf.io.read_file(self.paths[position]), {}
        if epoch_seed is not None:
            seed = tf.random.experimental.stateless_fold_in(epoch_seed, position)
            arguments = {"seed": seed, "least_area": self.least_area}
        read = read_whole if isinstance(self.image_size, tuple) else read_image
        return read(data, self.image_size, **arguments), self.labels[position]

    def _examples(self, positions, epoch_seed=None):
        """The examples at some positions; an error names the first that cannot be read.

        An error of a kernel does not say which image it is about. So failing images are skipped, and a
        gap in the numbers of the others shows which one failed.
        """
        count = tf.size(positions, tf.int64)
        numbered = tf.data.Dataset.from_tensor_slices(positions).enumerate()
        examples = numbered.map(lambda n, row: (n, *self._read(row, epoch_seed)), tf.data.AUTOTUNE)
        _, image, label = examples.element_spec
        # One more example, or nothing would follow a gap at the end.
        last = (
            count,
            tf.zeros([side or 0 for side in image.shape], image.dtype),
            tf.zeros((), label.dtype),
        )
        examples = examples.ignore_errors().concatenate(tf.data.Dataset.from_tensors(last))

        def checked(expected, example):
            number, image, label = example
            missing = self.paths[positions[tf.minimum(expected, count - 1)]]  # Unused after the last.
            missing = tf.strings.unicode_transcode(missing, "UTF-8", "UTF-8")  # As a message must be.
            message = [EXPECTED, missing, CURE]
            with tf.control_dependencies([tf.debugging.Assert(number == expected, message)]):
                return expected + 1, (tf.identity(image), label)

        examples = examples.scan(tf.constant(0, tf.int64), checked).take(count)
        return examples.apply(tf.data.experimental.assert_cardinality(count))
