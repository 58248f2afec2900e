"""A folder of images: its layouts, and damaged images among good ones."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from dreal_tf.data.files import ImageTree
from dreal_tf.data.folder import image_folder
from dreal_tf.data.image_files import ImageFiles, inspect_images
from dreal_tf.data.splits import epoch_order
from dreal_tf.errors import InputError

CLASSES = ("cats", "dogs")
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype="uint8")


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def fill(root, classes=CLASSES, count=10, shape=(8, 8), kind="png"):
    """Each image is of one colour: red tells the class, green the number."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = Image.new("RGB", shape[::-1], (100 * label, 10 * number, 0))
            image.save(root / name / f"{number}.{kind}")
    return root


def colours(dataset):
    """Of each image: label, red, green, as stored."""
    rows = []
    for images, labels in dataset.as_numpy_iterator():
        pixels = images[:, 0, 0] * 255 * [0.229, 0.224, 0.225] + 255 * np.array([0.485, 0.456, 0.406])
        rows += [(int(label), *np.rint(p[:2]).astype(int)) for p, label in zip(pixels, labels)]  # noqa: B905
    return rows


EVERY = {(label, 100 * label, 10 * number) for label in (0, 1) for number in range(10)}


@pytest.mark.parametrize("image_size", [None, 8])
def test_classes_in_the_root(tmp_path, image_size):
    data = image_folder(fill(tmp_path), batch_size=4, image_size=image_size, validation_fraction=0.25)
    assert data.class_names == CLASSES
    assert data.image_shape == (8, 8, 3)
    assert data.sizes == {"train": 12, "validation": 4, "test": 4}
    held = [set(colours(split)) for split in (data.validation, data.test)]
    trained = set(colours(data.train))
    assert trained | held[0] | held[1] == EVERY
    assert len(trained) + len(held[0]) + len(held[1]) == len(EVERY)
    assert [sorted(label for label, *_ in part) for part in held] == [[0, 0, 1, 1]] * 2


def test_the_test_split_is_the_same_for_every_seed(tmp_path):
    fill(tmp_path)
    first, second = (
        image_folder(tmp_path, batch_size=4, seed=seed, validation_fraction=0.25) for seed in (0, 1)
    )
    assert set(colours(first.test)) == set(colours(second.test))
    assert set(colours(first.validation)) != set(colours(second.validation))


def test_splits_in_subfolders(tmp_path):
    for split, count in (("train", 10), ("val", 3), ("test", 2)):
        fill(tmp_path / split, count=count)
    data = image_folder(tmp_path, batch_size=4)
    assert data.sizes == {"train": 20, "validation": 6, "test": 4}


def test_a_lone_val_is_the_test_split(tmp_path):
    fill(tmp_path / "train"), fill(tmp_path / "val", count=3)
    data = image_folder(tmp_path, batch_size=4, validation_fraction=0.2)
    assert data.sizes == {"train": 16, "validation": 4, "test": 6}


def test_a_class_may_be_called_train(tmp_path):
    assert image_folder(
        fill(tmp_path, ("bus", "train")), batch_size=4, validation_fraction=0.25
    ).class_names == ("bus", "train")


@pytest.mark.parametrize("image_size", [None, 8])
def test_epochs_repeat_and_differ(tmp_path, image_size):
    fill(tmp_path)

    def drawn(epoch):
        data = image_folder(
            tmp_path,
            batch_size=4,
            image_size=image_size,
            validation_fraction=0.25,
            resized_crop=0.5,
            flip=True,
        )
        data.clock.epoch = epoch
        return [images for images, _ in data.train.as_numpy_iterator()]

    np.testing.assert_array_equal(drawn(2), drawn(2))
    assert not np.array_equal(drawn(2), drawn(3))


def test_images_of_many_sizes_need_a_size(tmp_path):
    fill(tmp_path)
    Image.new("RGB", (1, 1)).save(tmp_path / "cats" / "dot.png")
    with pytest.raises(InputError, match=r"\(1, 1\) of .*dot.png, \(8, 8\).* Set data.image_size"):
        image_folder(tmp_path, batch_size=4)
    data = image_folder(tmp_path, batch_size=4, image_size=16, validation_fraction=0.25)
    assert data.image_shape == next(iter(data.train))[0].shape[1:] == (16, 16, 3)


def test_images_that_fill_the_memory_need_a_size(tmp_path):
    with pytest.raises(InputError, match=r"memory_limit=0 MiB.* 20 images of shape \(8, 8, 3\)"):
        image_folder(fill(tmp_path), batch_size=4, memory_limit=0)


# What is read although it looks odd, and how: (name, bytes, what the first pixel becomes).
JPEG, PNG = encoded(Image.fromarray(PIXELS), "JPEG"), encoded(Image.fromarray(PIXELS), "PNG")
DEEP = np.full((24, 32), 0x7F80, "uint16")
FINE = {
    "cmyk.jpg": (encoded(Image.new("CMYK", (32, 24), (0, 255, 255, 0)), "JPEG"), (255, 0, 0)),
    "deep.png": (encoded(Image.fromarray(DEEP), "PNG"), (0x7F,) * 3),
    "grey.jpg": (encoded(Image.new("L", (32, 24), 90), "JPEG"), (90, 90, 90)),
    "clear.png": (encoded(Image.new("RGBA", (32, 24), (9, 8, 7, 0)), "PNG"), (9, 8, 7)),
    "palette.gif": (encoded(Image.new("RGB", (32, 24), (9, 8, 7)), "GIF"), (9, 8, 7)),
    "png_inside.jpg": (PNG, tuple(PIXELS[0, 0])),
    "no_ending": (PNG, tuple(PIXELS[0, 0])),
    "dot.png": (encoded(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"), (9, 8, 7)),
}
# What cannot be read, and how it is named.
BAD = {
    "cut.jpg": (JPEG[: len(JPEG) // 2], "damaged or cut short"),
    "cut.png": (PNG[:-200], "damaged or cut short"),
    "scratched.png": (PNG[:300] + bytes(50) + PNG[350:], "damaged or cut short"),
    "empty.jpg": (b"", "an empty file"),
    "notes.txt": (b"remember the milk", "not a JPEG, PNG, GIF, BMP or WebP image"),
    "text.jpg": (b"remember the milk", "not a JPEG, PNG, GIF, BMP or WebP image"),
    "scan.tiff": (encoded(Image.fromarray(PIXELS), "TIFF"), "not a JPEG, PNG, GIF, BMP or WebP image"),
}


@pytest.mark.parametrize("name", FINE)
def test_odd_images_are_read(tmp_path, name):
    content, colour = FINE[name]
    for folder in CLASSES:
        (tmp_path / folder).mkdir()
        for number in range(10):
            (tmp_path / folder / f"{number}{name}").write_bytes(content)
    data = image_folder(tmp_path, batch_size=4, validation_fraction=0.25)
    assert data.sizes["test"] == 4
    _, red, green = colours(data.test)[0]
    assert abs(red - int(colour[0])) <= 2 and abs(green - int(colour[1])) <= 2


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_named(tmp_path, name):
    fill(tmp_path)
    bad = tmp_path / "dogs" / name
    bad.write_bytes(BAD[name][0])
    with pytest.raises(InputError) as raised:
        image_folder(tmp_path, batch_size=4)
    assert f"Received: 1 that cannot: {bad} ({BAD[name][1]})" in str(raised.value)
    assert "on_bad_image=skip" in str(raised.value)


@pytest.mark.parametrize("image_size", [None, 8])
def test_bad_images_are_skipped_and_counted(tmp_path, image_size):
    fill(tmp_path)
    for name, (content, _) in BAD.items():
        (tmp_path / "cats" / name).write_bytes(content)
    options = {"batch_size": 4, "image_size": image_size, "validation_fraction": 0.25}
    with pytest.warns(UserWarning, match=f"{len(BAD)} images cannot be read .* and 2 more"):
        data = image_folder(tmp_path, on_bad_image="skip", **options)
    assert sum(data.sizes.values()) == 20
    assert len(data.skipped) == len(BAD)
    assert set(colours(data.train)) | set(colours(data.validation)) | set(colours(data.test)) == EVERY


def test_hidden_files_are_no_images(tmp_path):
    (fill(tmp_path) / "cats" / ".DS_Store").write_bytes(b"x")
    assert image_folder(tmp_path, batch_size=4, validation_fraction=0.25).skipped == ()


def test_an_image_that_may_not_be_opened(tmp_path):
    (tmp_path / "gone.png").symlink_to("nowhere")
    problems = inspect_images(ImageTree(tmp_path), ["gone.png"]).problems
    assert list(problems) == ["gone.png"] and "a link to nothing" in problems["gone.png"]


def test_without_verification_what_is_no_image_is_named_when_met(tmp_path):
    fill(tmp_path)
    options = {"batch_size": 4, "image_size": 8, "verify": False, "validation_fraction": 0.25}
    for folder in CLASSES:
        for number in range(10):
            (tmp_path / folder / f"{number}.png").write_bytes(b"remember the milk")
    data = image_folder(tmp_path, **options)
    with pytest.raises(Exception, match=r"Received:.*\.png.*data.verify=true"):
        next(iter(data.test))
    with pytest.raises(InputError, match="data.verify=false, data.on_bad_image='skip'"):
        image_folder(tmp_path, **options, on_bad_image="skip")


@pytest.mark.parametrize("bad", [[0], [2, 3], [4, 5]])
@pytest.mark.parametrize("name", ["cut.jpg", "scratched.png", "gone"])
def test_a_file_that_cannot_be_read_is_named_when_it_is_met(tmp_path, name, bad):
    paths = [tmp_path / f"{number}.jpg" for number in range(6)]
    for number, path in enumerate(paths):
        if number not in bad:
            path.write_bytes(JPEG)
        elif name != "gone":
            path.write_bytes(BAD[name][0])
    files = ImageFiles(map(str, paths), np.arange(6), 8)
    draw = tf.constant([0, 0])
    first = min(bad, key=epoch_order(6, draw, 2).numpy().tolist().index)
    for batches, named in ((files.ordered(4), bad[0]), (files.shuffled(draw, 2), first)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"Received:.*/{named}.jpg"):
            list(batches)


def test_images_that_can_be_read_come_once_and_in_order(tmp_path):
    for number in range(7):
        Image.new("RGB", (8, 8), (9 * number, 0, 0)).save(tmp_path / f"{number}.png")
    files = ImageFiles([str(tmp_path / f"{number}.png") for number in range(7)], np.arange(7))
    assert int(files.ordered(3).cardinality()) == 3
    images, labels = (np.concatenate(part) for part in zip(*files.ordered(3).as_numpy_iterator()))  # noqa: B905
    assert labels.tolist() == list(range(7))
    assert (images[:, 0, 0, 0] == 9 * labels).all()


def test_folders_that_will_not_do(tmp_path):
    with pytest.raises(InputError, match=r"data.folder=None. Give one with --data-dir"):
        image_folder()
    with pytest.raises(InputError, match=r"nowhere', which is no folder"):
        image_folder(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"two classes, as .* with 0 of them\."):
        image_folder(tmp_path)
    fill(tmp_path, ["cats"])
    with pytest.raises(InputError, match=r"with 1 of them, 'cats'\."):
        image_folder(tmp_path)
    (tmp_path / "dogs").mkdir()
    with pytest.raises(InputError, match=r"images of each class.*dogs', which holds none"):
        image_folder(tmp_path)
    fill(tmp_path, ["dogs"], count=1)
    with pytest.raises(InputError, match=r"two training images .* 1 of class 'dogs'"):
        image_folder(tmp_path)


def test_classes_must_match_between_splits(tmp_path):
    fill(tmp_path / "train"), fill(tmp_path / "test", ("cats", "cows"))
    said = (
        r"2 classes of .*train' in the test split too.*missing \['dogs'\], not in training \['cows'\]"
    )
    with pytest.raises(InputError, match=said):
        image_folder(tmp_path)


def damaged(number):
    """The file name and bytes of a damaged or unusual image, and whether it is to be read."""
    jpeg, png = encoded(Image.fromarray(PIXELS), "jpeg"), encoded(Image.fromarray(PIXELS), "png")
    deep = Image.fromarray(np.uint16(PIXELS[:, :, 0]) * 257)
    kinds = [
        ("truncated.jpg", jpeg[: len(jpeg) // 2], False),
        ("truncated.png", png[: len(png) // 2], False),
        ("empty.jpg", b"", False),
        ("text.png", b"this is no image", False),
        ("notes.txt", b"nor is this", False),
        ("wrong_extension.png", jpeg, True),
        ("cmyk.jpg", encoded(Image.fromarray(PIXELS).convert("CMYK"), "jpeg"), True),
        ("deep.png", encoded(deep, "png"), True),
        ("one_pixel.png", encoded(Image.new("RGB", (1, 1)), "png"), True),
        ("tiff.jpg", encoded(Image.fromarray(PIXELS), "tiff"), False),
    ]
    name, content, readable = kinds[number % len(kinds)]
    return f"{number}_{name}", content, readable


def test_a_thousand_images_a_hundred_of_them_damaged(tmp_path):
    unreadable = set()
    for label, name in enumerate(CLASSES):
        (tmp_path / name).mkdir()
        good = encoded(Image.fromarray(PIXELS), "jpeg")
        for number in range(450):
            (tmp_path / name / f"{number}.jpg").write_bytes(good)
        for number in range(50):
            file, content, readable = damaged(number + 50 * label)
            (tmp_path / name / file).write_bytes(content)
            if not readable:
                unreadable.add(str(tmp_path / name / file))
    assert len(unreadable) == 60
    with pytest.raises(InputError, match="Expected.*Received.*60") as stopped:
        image_folder(tmp_path, batch_size=16, image_size=16)
    assert any(path in str(stopped.value) for path in unreadable)
    data = image_folder(tmp_path, batch_size=16, image_size=16, on_bad_image="skip")
    assert len(data.skipped) == 60 and sum(data.sizes.values()) == 940
    assert all(any(said.startswith(path) for path in unreadable) for said in data.skipped)
    seen = sum(len(labels) for split in (data.train, data.validation, data.test) for _, labels in split)
    assert seen == data.steps_per_epoch * 16 + data.sizes["validation"] + data.sizes["test"]
