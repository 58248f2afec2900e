"""One decoder for every format, mode, depth, orientation, transparency and animation."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image

from dreal_tf.data.image_files import (
    UnreadableImage,
    central_window,
    decoded,
    has_16_bits,
    inspect_image,
    read_image,
    scaled,
    unreadable,
)

PHOTO = Image.fromarray(load_sample_image("china.jpg")[:160, :200])
SMALL = PHOTO.resize((20, 16))
ORIENTATIONS = range(1, 9)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def pixels(content, channels=3):
    return decoded(tf.constant(content), channels).numpy()


def by_pillow(content):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))


GREY = np.arange(16 * 20, dtype=np.uint16).reshape(16, 20) * 200
# Lossless ones: exactly what Pillow makes of them, by name.
EXACT = {
    **{f"bmp {mode}": encoded(SMALL.convert(mode), "BMP") for mode in ("RGB", "L", "P", "1")},
    "bmp RGBA": encoded(SMALL.convert("RGBA"), "BMP"),
    **{
        f"png {mode}": encoded(SMALL.convert(mode), "PNG")
        for mode in ("RGB", "RGBA", "L", "LA", "P", "1")
    },
    "png animated": encoded(SMALL, "PNG", save_all=True, append_images=[SMALL.rotate(90)]),
    "png clear palette": encoded(SMALL.convert("P"), "PNG", transparency=3),
    "gif": encoded(SMALL, "GIF"),
    "gif animated": encoded(SMALL, "GIF", save_all=True, append_images=[SMALL.rotate(90)]),
    "gif clear": encoded(SMALL.convert("P"), "GIF", transparency=0),
    "webp": encoded(SMALL, "WEBP"),
    "webp lossless": encoded(SMALL, "WEBP", lossless=True),
    "webp clear": encoded(SMALL.convert("RGBA"), "WEBP", lossless=True),
    "webp animated": encoded(SMALL, "WEBP", save_all=True, append_images=[SMALL.rotate(90)]),
    **{f"png orientation {n}": encoded(SMALL, "PNG", exif=turned(n)) for n in ORIENTATIONS},
    **{f"webp orientation {n}": encoded(SMALL, "WEBP", exif=turned(n)) for n in ORIENTATIONS},
}


@pytest.mark.parametrize("name", EXACT)
def test_lossless_formats_give_their_pixels(name):
    np.testing.assert_array_equal(pixels(EXACT[name]), by_pillow(EXACT[name]))


JPEGS = {
    **{f"orientation {n}": encoded(PHOTO, "JPEG", exif=turned(n)) for n in ORIENTATIONS},
    "progressive": encoded(PHOTO, "JPEG", progressive=True),
    "grey": encoded(PHOTO.convert("L"), "JPEG"),
    "cmyk": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "full colour": encoded(PHOTO, "JPEG", subsampling=0),
    "two pictures": encoded(PHOTO, "MPO", save_all=True, append_images=[PHOTO.rotate(90)]),
}


@pytest.mark.parametrize("name", JPEGS)
def test_jpegs_give_their_pixels_but_for_the_rounding_of_two_decoders(name):
    ours, theirs = pixels(JPEGS[name]), by_pillow(JPEGS[name])
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).mean() < 1.5  # Any wrong turn is off by 40.


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_turned_photo_is_its_upright_twin(orientation):
    flat = pixels(encoded(PHOTO, "JPEG"))
    content = encoded(PHOTO, "JPEG", exif=turned(orientation))
    ways = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: a.transpose(1, 0, 2)[::-1],
    }
    np.testing.assert_array_equal(pixels(content), ways[orientation](flat))
    assert inspect_image(content) == ways[orientation](flat).shape[:2]


@pytest.mark.parametrize("name", ["16 bits grey", "16 bits colour"])
def test_of_16_bits_the_upper_8_are_kept_and_it_is_known(name):
    if name == "16 bits grey":
        content, expected = (
            encoded(Image.fromarray(GREY), "PNG"),
            np.repeat((GREY >> 8)[..., None], 3, 2),
        )
    else:
        deep = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)
        content = tf.io.encode_png(deep).numpy()
        expected = deep >> 8
    np.testing.assert_array_equal(pixels(content), expected)
    assert has_16_bits(content) and not has_16_bits(PNG)


@pytest.mark.parametrize("name", EXACT)
def test_a_grey_network_takes_every_format(name):
    colours = pixels(EXACT[name]).astype(int)
    expected = (colours @ [19595, 38470, 7471] + 0x8000) >> 16
    np.testing.assert_array_equal(pixels(EXACT[name], 1)[..., 0], expected)


def test_a_png_may_be_wider_than_tensorflow_takes():
    wide = np.zeros((2, 1_000_001, 3), np.uint8)
    wide[1, -1] = (1, 2, 3)
    content = encoded(Image.fromarray(wide), "PNG")
    assert inspect_image(content) == (2, 1_000_001)
    np.testing.assert_array_equal(pixels(content)[:, -2:], wide[:, -2:])


def test_the_limit_of_pixels_is_not_what_another_program_has_set(monkeypatch):
    content = BAD["too large"][0]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(UnreadableImage, match="larger than 179 million pixels"):
        inspect_image(content)


JPEG, PNG = encoded(PHOTO, "JPEG"), encoded(PHOTO, "PNG")
MIDDLE = len(JPEG) // 2
BAD = {
    "empty": (b"", "an empty file"),
    "text": (b"remember the milk", "not a JPEG, PNG, GIF, BMP or WebP image"),
    "tiff": (encoded(SMALL, "TIFF"), "not a JPEG, PNG, GIF, BMP or WebP image"),
    "half a JPEG": (JPEG[:MIDDLE], "damaged or cut short"),
    "half a PNG": (PNG[: len(PNG) // 2], "damaged or cut short"),
    "half a WebP": (EXACT["webp"][:100], "damaged or cut short"),
    "a hole in a JPEG": (JPEG[:MIDDLE] + bytes(500) + JPEG[MIDDLE + 500 :], "damaged or cut short"),
    "a piece missing": (JPEG[:MIDDLE] + JPEG[MIDDLE + 500 :], "damaged or cut short"),
    "too large": (encoded(Image.new("1", (14000, 14000)), "PNG"), "larger than 179 million pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_says_why(name):
    content, reason = BAD[name]
    with pytest.raises(UnreadableImage) as raised:
        inspect_image(content)
    assert unreadable(raised.value) == reason


@pytest.mark.parametrize(
    "name", ["empty", "text", "tiff", "half a JPEG", "half a PNG", "half a WebP", "too large"]
)
def test_it_says_so_too_when_it_is_decoded(name):
    content, reason = BAD[name]
    with pytest.raises(tf.errors.OpError) as raised:
        decoded(tf.constant(content))
    assert unreadable(raised.value) == reason


def test_a_very_large_png_is_read():
    assert inspect_image(encoded(Image.new("1", (12000, 9000)), "PNG")) == (9000, 12000)


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}])
def test_a_window_of_a_jpeg_is_that_window_of_the_whole(options):
    content = tf.constant(encoded(PHOTO, "JPEG", **options))
    whole = decoded(content)
    top, left, height, width = central_window(tf.shape(whole)[:2], 64).numpy()
    expected = scaled(whole[top : top + height, left : left + width], (64, 64))
    np.testing.assert_array_equal(read_image(content, 64), expected)


def test_bytes_that_end_in_zeros_arrive_whole():
    content = encoded(SMALL, "BMP") + bytes(7)
    np.testing.assert_array_equal(pixels(content), by_pillow(content))


def segment(mark, data):
    return bytes([255, mark]) + struct.pack(">H", len(data) + 2) + data


def exif_of(entry):
    return segment(0xE1, b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4))


ON_ITS_SIDE = exif_of(struct.pack("<HHIHH", 0x112, 3, 1, 6, 0))
BARE = encoded(SMALL, "JPEG")


def with_segments(*segments):
    return BARE[:2] + b"".join(segments) + BARE[2:]


def test_an_orientation_far_from_the_beginning_is_found():
    content = with_segments(*[segment(0xED, bytes(60000))] * 5, ON_ITS_SIDE)
    assert inspect_image(content) == pixels(content).shape[:2] == (20, 16)


ODD = {
    "orientation 9": exif_of(struct.pack("<HHIHH", 0x112, 3, 1, 9, 0)),
    "orientation as text": exif_of(struct.pack("<HHIHH", 0x112, 2, 2, 54, 0)),
    "garbage": segment(0xE1, b"Exif\0\0" + bytes(range(40))),
}


@pytest.mark.parametrize("name", ODD)
def test_invalid_metadata_turns_nothing_and_refuses_nothing(name):
    content = with_segments(ODD[name])
    assert inspect_image(content) == (16, 20)
    np.testing.assert_array_equal(pixels(content), pixels(BARE))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_garbage_metadata_in_other_formats(kind):
    content = encoded(SMALL, kind, exif=b"Exif\0\0" + bytes(range(40)))
    assert inspect_image(content) == pixels(content).shape[:2] == (16, 20)


def test_what_a_jpeg_only_says_about_itself_refuses_nothing():
    newer = BARE[:11] + b"\x02" + BARE[12:]  # JFIF version 2.
    stray = BARE[:-2] + bytes(12) + BARE[-2:]
    for content in (newer, stray):
        inspect_image(content)
        np.testing.assert_array_equal(pixels(content), pixels(BARE))


@pytest.mark.parametrize("cut", [1, 4, 12, 20])
def test_a_png_without_its_end_is_refused(cut):
    with pytest.raises(UnreadableImage, match="damaged or cut short"):
        inspect_image(PNG[:-cut])


def test_a_png_with_a_wrong_sum_is_refused():
    place = PNG.index(b"IDAT") + 30
    with pytest.raises(UnreadableImage, match="damaged or cut short"):
        inspect_image(PNG[:place] + bytes([PNG[place] ^ 1]) + PNG[place + 1 :])


def with_text(kilobytes, kind=b"zTXt"):
    """A PNG with so much text, compressed."""
    body = kind + b"Comment\0" + (b"" if kind == b"zTXt" else b"\1\0\0\0")
    body += (b"\0" if kind == b"zTXt" else b"") + zlib.compress(bytes(1000) * kilobytes)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return PNG[:33] + chunk + PNG[33:]


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
@pytest.mark.parametrize("kilobytes", [1, 2_000, 60_000])
def test_long_texts_in_a_png_are_passed_over(kilobytes, kind):
    content = with_text(kilobytes, kind)
    assert inspect_image(content) == (160, 200)
    np.testing.assert_array_equal(pixels(content), pixels(PNG))


def test_a_long_colour_profile_in_a_png_is_passed_over():
    content = encoded(PHOTO, "PNG", icc_profile=bytes(2 * 2**20))
    inspect_image(content)
    np.testing.assert_array_equal(pixels(content), pixels(PNG))


def test_a_text_that_would_fill_the_memory_is_refused():
    with pytest.raises(UnreadableImage, match="damaged or cut short"):
        inspect_image(with_text(70_000))
