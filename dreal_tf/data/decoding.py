"""From an encoded image to pixels of the wanted size.

One decoder serves training, evaluation, prediction, indexing and figures. TensorFlow decodes JPEG and
PNG with 8 bits, which it does faster; Pillow decodes the rest. An image is turned upright as its EXIF
orientation says, transparency is dropped, an animation gives its first picture, and 16 bits a channel
become 8: the upper ones.
"""

import io
import re
import struct
import warnings
from typing import NamedTuple

import numpy as np
import simplejpeg
import tensorflow as tf
from PIL import Image, PngImagePlugin, UnidentifiedImageError

# A profile or a comment may be longer than Pillow's 1 MiB; all text of an image stays within its 64 MiB.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
ZOOM = 0.875  # Fraction of the shorter side that evaluation keeps: 224 of 256 pixels.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
READABLE = "JPEG, PNG, GIF, BMP or WebP"
MAX_PIXELS = 178_956_970  # Pillow's default against decompression bombs, whatever a program has set.
TOO_LARGE = f"larger than {MAX_PIXELS / 1e6:.0f} million pixels"
ORIENTATION = 0x0112  # The EXIF tag.
UPRIGHT = 1
BY_PILLOW, PNG, JPEG = range(3)  # Who decodes an image: Pillow, or TensorFlow's kernel of that format.
JPEG_BEGINS, PNG_BEGINS = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
ORIENTATION_MARKS = (b"Exif", b"eXIf", b"http://ns.adobe.com/xap", b"XML:com.adobe", b"Raw profile")
PNG_PIXELS_OF_TENSORFLOW, PNG_SIDE_OF_TENSORFLOW = 2**26, 1_000_000  # It refuses larger ones.
LUMINANCE = (19595, 38470, 7471)  # Of red, green and blue, in 65536ths: as Pillow has it.
STRAY_BYTES = 16  # Before the end of a JPEG, which some cameras leave.
EDGE = 32  # Columns beside a window of a JPEG whose colours a decoder may blend into it.


class UnreadableImage(ValueError):
    """An image that cannot be decoded; its text says why."""


class ImageFacts(NamedTuple):
    """What `inspect_image` finds.

    Attributes:
        size: tuple (height, width), upright (pixels).
    """

    size: tuple


def decoded(data, channels=3):
    """The pixels of an image, upright.

    Args:
        data: str tensor (), the encoded image: JPEG, PNG, GIF, BMP or WebP, whatever its file's name.
        channels: int, 1 or 3. A grey image gets three equal channels; of a coloured one, one channel
            is its luminance by ITU-R 601.
    Returns:
        uint8 tensor (height, width, channels).
    Raises:
        tf.errors.OpError: if it cannot be decoded, see `unreadable`.
    Example:
        >>> decoded(tf.io.encode_png(np.zeros((2, 3, 1), "uint8"))).shape.as_list()
        [2, 3, 3]
    """
    return _decoded_by(_plan_of(data), data, channels)


def inspect_image(content):
    """Decodes an image to see whether it can be read.

    A JPEG with a hole in it decodes, but the rest of its picture is wrong; such are found by the warnings
    of the decoder, which TensorFlow and Pillow ignore.

    Args:
        content: bytes.
    Returns:
        `ImageFacts`.
    Raises:
        UnreadableImage: saying why it cannot be read.
    Example:
        >>> inspect_image(tf.io.encode_png(np.zeros((2, 3, 1), "uint8")).numpy())
        ImageFacts(size=(2, 3))
    """
    try:
        with _opened(content) as image:
            width, height = image.size
            if _orientation(image) > 4:  # On its side.
                width, height = height, width
            if content[:3] == JPEG_BEGINS:
                _check_jpeg(content, image)
            else:
                image.load()
            if content[:8] == PNG_BEGINS and _fits_tensorflow(width, height):
                tf.io.decode_png(content, 3)  # It checks the sums that Pillow passes over.
            return ImageFacts((height, width))
    except UnreadableImage:
        raise
    except Exception as error:  # Damage shows in errors of many kinds.
        raise UnreadableImage("damaged or cut short") from error


def _check_jpeg(content, image):
    """Decodes a JPEG and raises an error if its picture is damaged, which libjpeg only warns of."""
    space = {1: "GRAY", 3: "RGB"}.get(len(image.getbands()), "CMYK")
    try:
        simplejpeg.decode_jpeg(content, space, strict=True)
    except ValueError as error:
        stray = re.search(r"(\d+) extraneous bytes before marker 0xd9", str(error))
        if stray and int(stray[1]) <= STRAY_BYTES:
            return
        if "Corrupt JPEG data" in str(error) or "Premature end" in str(error):
            raise
        image.load()  # Something else that TurboJPEG does not like, such as a sampling.


def unreadable(error):
    """Why an image could not be read.

    Args:
        error: `UnreadableImage`; or `tf.errors.OpError`, raised by reading and decoding it.
    Returns:
        Str.
    Example:
        >>> unreadable(tf.errors.InvalidArgumentError(None, None, "Input is empty."))
        'damaged or cut short'
    """
    if isinstance(error, UnreadableImage):
        return str(error)
    found = re.search(f"{UnreadableImage.__name__}: (.*)", str(error))
    if found:
        return found[1]
    if isinstance(error, tf.errors.InvalidArgumentError):
        return "damaged or cut short"
    return f"cannot be opened: {type(error).__name__}"


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
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise UnreadableImage(TOO_LARGE) from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"not a {READABLE} image") from error
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise UnreadableImage("damaged or cut short") from error
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(TOO_LARGE)
    return image


# Outside a graph `tf.numpy_function` would give bytes without the zeros that they end in.
@tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
def _plan_of(data):
    """How an image is decoded, int32 tensor (2,): by whom, and its EXIF orientation."""
    plan = tf.numpy_function(_plan, [data], tf.int32, stateful=False)
    return tf.ensure_shape(plan, (2,))


def _plan(content):
    if not content:
        raise UnreadableImage("an empty file")
    decoder = _decoder(content)
    orientation = UPRIGHT
    # To look for the marks is faster than to open the image, as nearly all images have none.
    if decoder == BY_PILLOW or any(mark in content for mark in ORIENTATION_MARKS):
        with _opened(content) as image:
            orientation = _orientation(image)
    return np.int32([decoder, orientation])


def _decoder(content):
    if content[:3] == JPEG_BEGINS:
        return JPEG
    is_png = content[:8] == PNG_BEGINS and len(content) >= 33 and not has_16_bits(content)
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
    """Whether an encoded image has 16 bits a channel, of which the upper 8 are kept.

    Args:
        content: bytes.
    Example:
        >>> has_16_bits(tf.io.encode_png(np.zeros((2, 3, 1), "uint16")).numpy())
        True
    """
    return content[:8] == PNG_BEGINS and content[24:25] == b"\x10"


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
                raise UnreadableImage("damaged or cut short") from error

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
    that has the wanted size is left as it is. Of an upright JPEG, only the window is decoded.

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
        cut = window(tf.shape(image)[:2])
        return image[cut[0] : cut[0] + cut[2], cut[1] : cut[1] + cut[3]]

    image = tf.cond(tf.reduce_all(plan == [JPEG, UPRIGHT]), of_upright_jpeg, of_other)
    return tf.ensure_shape(scaled(image, (size, size)), (size, size, channels))


def _jpeg_window(data, cut, width):
    """A window of an upright JPEG, equal to that window of the whole image."""
    top, left, height, columns = tf.unstack(cut)
    begin = tf.maximum(left - EDGE, 0)
    end = tf.minimum(left + columns + EDGE, width)
    image = tf.image.decode_and_crop_jpeg(data, tf.stack([top, begin, height, end - begin]), 3)
    return image[:, left - begin : left - begin + columns]


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
        cut = random_window(tf.shape(image)[:2], seed, least_area)
        image = image[cut[0] : cut[0] + cut[2], cut[1] : cut[1] + cut[3]]
    image = tf.cast(tf.clip_by_value(tf.round(scaled(image, size)), 0, 255), tf.uint8)
    return tf.ensure_shape(image, (*size, channels))


def scaled(images, size):
    """Images scaled to a size, smoothed where they become smaller.

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
        size: int. Side that is wanted.
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
        int32 tensor (4,): top, left, height, width (pixels); the whole image where no window fits.
    Example:
        >>> random_window((1, 1), (0, 7), 0.08).numpy().tolist()
        [0, 0, 1, 1]
    """
    shape = tf.cast(shape, tf.int32)
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([shape, [3]], 0),
        bounding_boxes=tf.zeros((1, 0, 4)),
        seed=seed,
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(least_area, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([begin[:2], extent[:2]], 0)
