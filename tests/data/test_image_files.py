"""Images in files: one decoder for every format, windows of the right size, and reading in batches."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from class_folder import encoded
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image

from dreal_tf.data.files import ImageTree
from dreal_tf.data.image_files import (
    CURE,
    EXPECTED,
    ImageFiles,
    UnreadableImage,
    central_window,
    decoded,
    has_16_bits,
    inspect_image,
    inspect_images,
    message_of,
    random_window,
    read_image,
    scaled,
    unreadable,
)
from dreal_tf.data.splits import epoch_order
from dreal_tf.errors import InputError

PHOTO = Image.fromarray(load_sample_image("china.jpg")[:160, :200])
SMALL = PHOTO.resize((20, 16))
ORIENTATIONS = range(1, 9)


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


@pytest.mark.parametrize("deep", [GREY[..., None], np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)])
def test_the_upper_8_of_16_bits_are_kept_and_the_depth_is_known(deep):
    content = tf.io.encode_png(deep).numpy()
    np.testing.assert_array_equal(pixels(content), np.broadcast_to(deep >> 8, (16, 20, 3)))
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
    "cut": (PNG[:-200], "damaged or cut short"),
    "scratched": (PNG[:300] + bytes(50) + PNG[350:], "damaged or cut short"),
    "too large": (encoded(Image.new("1", (14000, 14000)), "PNG"), "larger than 179 million pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_reason_why_an_image_is_bad(name):
    content, reason = BAD[name]
    with pytest.raises(UnreadableImage) as raised:
        inspect_image(content)
    assert unreadable(raised.value) == reason


@pytest.mark.parametrize(
    "name", ["empty", "text", "tiff", "half a JPEG", "half a PNG", "half a WebP", "too large"]
)
def test_decoding_a_bad_image_gives_the_same_reason(name):
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


def test_remarks_in_a_jpeg_refuse_nothing():
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
    position = PNG.index(b"IDAT") + 30
    with pytest.raises(UnreadableImage, match="damaged or cut short"):
        inspect_image(PNG[:position] + bytes([PNG[position] ^ 1]) + PNG[position + 1 :])


def with_text(kilobytes, kind=b"zTXt"):
    """A PNG with so much text, compressed."""
    body = kind + b"Comment\0" + (b"" if kind == b"zTXt" else b"\1\0\0\0")
    body += (b"\0" if kind == b"zTXt" else b"") + zlib.compress(bytes(1000) * kilobytes)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return PNG[:33] + chunk + PNG[33:]


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
@pytest.mark.parametrize("kilobytes", [1, 2_000, 60_000])
def test_long_texts_in_a_png_are_ignored(kilobytes, kind):
    content = with_text(kilobytes, kind)
    assert inspect_image(content) == (160, 200)
    np.testing.assert_array_equal(pixels(content), pixels(PNG))


def test_a_long_colour_profile_in_a_png_is_ignored():
    content = encoded(PHOTO, "PNG", icc_profile=bytes(2 * 2**20))
    inspect_image(content)
    np.testing.assert_array_equal(pixels(content), pixels(PNG))


def test_a_text_that_would_fill_the_memory_is_refused():
    with pytest.raises(UnreadableImage, match="damaged or cut short"):
        inspect_image(with_text(70_000))


def gradient(height, width):
    """A smooth image, which JPEG hardly changes: red tells the column, green the row."""
    columns, rows = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([columns, rows, np.full_like(rows, 128)], -1).astype("uint8")


@pytest.mark.parametrize(
    ("shape", "size", "window"),
    [
        ((256, 256), 224, (16, 16, 224, 224)),
        ((256, 512), 224, (16, 144, 224, 224)),
        ((400, 200), 224, (112, 12, 175, 175)),  # Seven eighths of 200.
        ((64, 64), 64, (0, 0, 64, 64)),
        ((1, 1), 32, (0, 0, 1, 1)),
        ((3000, 1), 32, (1499, 0, 1, 1)),
    ],
)
def test_the_central_window(shape, size, window):
    assert tuple(central_window(shape, size).numpy()) == window


@pytest.mark.parametrize("encode", [tf.io.encode_png, lambda i: tf.io.encode_jpeg(i, quality=100)])
def test_evaluation_sees_the_centre(encode):
    image = gradient(80, 160)  # Window: rows 5 to 75, columns 45 to 115.
    seen = read_image(encode(image), 35).numpy()
    assert seen.shape == (35, 35, 3)
    wanted = image[5:75, 45:115].reshape(35, 2, 35, 2, 3).mean((1, 3))  # Half the size.
    assert np.abs(seen - wanted)[1:-1, 1:-1].max() < 4


def test_an_image_of_the_wanted_size_is_left_as_it_is():
    image = gradient(32, 32)
    np.testing.assert_array_equal(read_image(tf.io.encode_png(image), 32), image)


@pytest.mark.parametrize("encode", [tf.io.encode_png, lambda i: tf.io.encode_jpeg(i, quality=100)])
def test_a_random_resized_crop_shows_its_window(encode):
    image = gradient(90, 120)
    for number in range(20):
        seed = (0, number)
        top, left, height, width = random_window((90, 120), seed, 0.1).numpy()
        seen = read_image(encode(image), 24, seed=seed, least_area=0.1).numpy()
        window = image[top : top + height, left : left + width].astype(float)
        np.testing.assert_allclose(seen.mean((0, 1)), window.mean((0, 1)), atol=4)


def test_random_windows_keep_to_their_bounds():
    windows = np.array([random_window((90, 120), (1, n), 0.25).numpy() for n in range(300)])
    top, left, height, width = windows.T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 90).all() and (left + width <= 120).all()
    area, ratio = height * width / (90 * 120), width / height
    assert area.min() > 0.23 and area.max() <= 1.0 and area.max() - area.min() > 0.5
    assert ratio.min() > 0.72 and ratio.max() < 1.4  # 3/4 to 4/3, but for whole pixels.


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images(channels):
    grey = gradient(20, 20)[..., :1]
    seen = read_image(tf.io.encode_png(grey), 20, channels)
    np.testing.assert_array_equal(seen, np.repeat(grey, channels, -1))


ODD_FILES = {
    "cmyk.jpg": (encoded(Image.new("CMYK", (32, 24), (0, 255, 255, 0)), "JPEG"), (255, 0, 0)),
    "deep.png": (encoded(Image.fromarray(np.full((24, 32), 0x7F80, "uint16")), "PNG"), (0x7F,) * 3),
    "grey.jpg": (encoded(Image.new("L", (32, 24), 90), "JPEG"), (90, 90, 90)),
    "clear.png": (encoded(Image.new("RGBA", (32, 24), (9, 8, 7, 0)), "PNG"), (9, 8, 7)),
    "palette.gif": (encoded(Image.new("RGB", (32, 24), (9, 8, 7)), "GIF"), (9, 8, 7)),
    "png_inside.jpg": (encoded(Image.new("RGB", (32, 24), (90, 8, 7)), "PNG"), (90, 8, 7)),
    "no_ending": (encoded(Image.new("RGB", (32, 24), (9, 80, 7)), "PNG"), (9, 80, 7)),
    "dot.png": (encoded(Image.new("RGB", (1, 1), (9, 8, 70)), "PNG"), (9, 8, 70)),
}


def test_odd_files_are_read(tmp_path):
    for name, (content, _) in ODD_FILES.items():
        (tmp_path / name).write_bytes(content)
    inspected = inspect_images(ImageTree(tmp_path), list(ODD_FILES))
    assert inspected.problems == {} and inspected.deep == ["deep.png"]
    with pytest.warns(UserWarning, match="1 images have 16 bits a channel, such as .*deep.png"):
        inspected.warn_of_depth(ImageTree(tmp_path))
    files = ImageFiles([str(tmp_path / name) for name in ODD_FILES], np.arange(8), 16)
    ((images, labels),) = files.ordered(8).as_numpy_iterator()
    assert labels.tolist() == list(range(8))
    colours = np.array([colour for _, colour in ODD_FILES.values()])
    np.testing.assert_allclose(images, np.broadcast_to(colours[:, None, None], images.shape), atol=2)


def test_bad_files_are_named_with_the_reasons(tmp_path):
    for name, (content, _) in BAD.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "gone").symlink_to("nowhere")
    inspected = inspect_images(ImageTree(tmp_path), [*BAD, "gone"])
    reasons = {name: reason for name, (_, reason) in BAD.items()}
    gone = "cannot be opened: there is no such file, or it is a link to nothing"
    assert inspected.problems == reasons | {"gone": gone} and inspected.results == {}
    with pytest.raises(
        InputError,
        match=r"12 that cannot: .*empty \(an empty file\); .*; and 7 more\. .*on_bad_image=skip",
    ):
        inspected.check(ImageTree(tmp_path), "stop")
    inspected.check(ImageTree(tmp_path), "skip")


@pytest.mark.parametrize(
    ("name", "bad"), [("half a JPEG", [0]), ("scratched", [2, 3]), ("gone", [4, 5]), ("gone", [0])]
)
def test_a_file_that_cannot_be_read_is_named_when_it_is_met(tmp_path, name, bad):
    paths = [tmp_path / f"{number}.jpg" for number in range(6)]
    for number, path in enumerate(paths):
        if number not in bad:
            path.write_bytes(JPEG)
        elif name != "gone":
            path.write_bytes(BAD[name][0])
    files = ImageFiles(map(str, paths), np.arange(6), 8)
    epoch_seed = tf.constant([0, 0])
    first = min(bad, key=epoch_order(6, epoch_seed, 2).numpy().tolist().index)
    for batches, named in ((files.ordered(4), bad[0]), (files.shuffled(epoch_seed, 2), first)):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=f"Received:.*/{named}.jpg.*data.verify=true"
        ) as caught:
            list(batches)
        message = message_of(caught.value)
        assert message == f"{EXPECTED} {str(paths[named])!r}. {CURE}"


def test_a_file_whose_name_is_not_utf_8_is_named_too(tmp_path):
    path = os.path.join(tmp_path, os.fsdecode(b"caf\xe9.png"))
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        list(ImageFiles([path], [0], 8).ordered(1))
    assert "caf\N{REPLACEMENT CHARACTER}.png" in message_of(caught.value)
    assert message_of(tf.errors.InvalidArgumentError(None, None, "another")) is None


def test_images_that_can_be_read_come_once_and_in_order(tmp_path):
    for number in range(7):
        Image.new("RGB", (8, 8), (9 * number, 0, 0)).save(tmp_path / f"{number}.png")
    files = ImageFiles([str(tmp_path / f"{number}.png") for number in range(7)], np.arange(7))
    assert int(files.ordered(3).cardinality()) == 3
    rows = files.ordered(3).unbatch().as_numpy_iterator()
    assert [(label, image[0, 0, 0]) for image, label in rows] == [(n, 9 * n) for n in range(7)]
