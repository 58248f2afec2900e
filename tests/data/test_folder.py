"""A folder of images by class: its layouts, its splits, and damaged images among good ones."""

import os
import subprocess

import numpy as np
import pytest
from class_folder import CLASSES, encoded, fill, picture
from PIL import Image

from dreal_tf.data.files import LISTED_ANYWAY
from dreal_tf.data.folder import image_folder, list_classes
from dreal_tf.errors import InputError

OPTIONS = dict(batch_size=4, validation_fraction=0.25)
EVERY = {(label, 100 * label, 10 * number) for label in (0, 1) for number in range(10)}


def colours(dataset):
    """Label, red and green of each image, as stored."""
    rows = []
    for image, label in dataset.unbatch().as_numpy_iterator():
        pixels = 255 * (image[0, 0] * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406])
        rows.append((int(label), *np.rint(pixels[:2]).astype(int)))
    return rows


@pytest.mark.parametrize("image_size", [None, 8])
def test_classes_in_the_root(tmp_path, image_size):
    data = image_folder(fill(tmp_path), image_size=image_size, **OPTIONS)
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
    first, second = (image_folder(tmp_path, seed=seed, **OPTIONS) for seed in (0, 1))
    assert set(colours(first.test)) == set(colours(second.test))
    assert set(colours(first.validation)) != set(colours(second.validation))


@pytest.mark.parametrize(
    ("counts", "sizes"),
    [
        ({"train": 10, "val": 3, "test": 2}, {"train": 20, "validation": 6, "test": 4}),
        ({"train": 10, "val": 3}, {"train": 16, "validation": 4, "test": 6}),
    ],
)
def test_splits_in_subfolders(tmp_path, counts, sizes):
    for split, count in counts.items():
        fill(tmp_path / split, count=count)
    assert image_folder(tmp_path, batch_size=4, validation_fraction=0.2).sizes == sizes


@pytest.mark.parametrize("image_size", [None, 8])
def test_epochs_repeat_and_differ(tmp_path, image_size):
    options = dict(image_size=image_size, resized_crop=0.5, flip=True, **OPTIONS)
    data, resumed = (image_folder(fill(tmp_path), **options) for _ in range(2))

    def images(data, epoch):
        data.clock.epoch = epoch
        return [images for images, _ in data.train.as_numpy_iterator()]

    np.testing.assert_array_equal(images(data, 2), images(resumed, 2))
    assert not np.array_equal(images(data, 2), images(data, 3))


def test_images_of_many_sizes_need_a_size(tmp_path):
    fill(tmp_path)
    Image.new("RGB", (1, 1)).save(tmp_path / "cats" / "dot.png")
    with pytest.raises(InputError, match=r"\(1, 1\) of .*dot.png, \(8, 8\).* Set data.image_size"):
        image_folder(tmp_path, batch_size=4)
    data = image_folder(tmp_path, image_size=16, **OPTIONS)
    assert data.image_shape == next(iter(data.train))[0].shape[1:] == (16, 16, 3)


def test_images_that_fill_the_memory_need_a_size(tmp_path):
    with pytest.raises(InputError, match=r"memory_limit=0 MiB.* 20 images of 8×8 pixels"):
        image_folder(fill(tmp_path), batch_size=4, memory_limit=0)


CUT = encoded(Image.new("RGB", (8, 8)), "PNG")[:-20]
BAD = {"empty.jpg": b"", "notes.txt": b"remember the milk", "cut.png": CUT}
REASONS = {"empty.jpg": "an empty file", "notes.txt": "not a JPEG, PNG, GIF, BMP or WebP image"}
REASONS["cut.png"] = "damaged or cut short"


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_named(tmp_path, name):
    bad = fill(tmp_path) / "dogs" / name
    bad.write_bytes(BAD[name])
    with pytest.raises(InputError) as raised:
        image_folder(tmp_path, batch_size=4)
    assert f"Received: 1 that cannot: {bad} ({REASONS[name]})" in str(raised.value)
    assert "on_bad_image=skip" in str(raised.value)


@pytest.mark.parametrize("image_size", [None, 8])
def test_bad_images_are_skipped_and_counted(tmp_path, image_size):
    fill(tmp_path)
    (tmp_path / "cats" / ".DS_Store").write_bytes(b"x")  # Hidden, so not a bad image.
    bad = {str(tmp_path / folder / name) for folder in CLASSES for name in BAD}
    for path in bad:
        with open(path, "wb") as file:
            file.write(BAD[path.rpartition("/")[2]])
    with pytest.warns(UserWarning, match="6 images cannot be read .* and 1 more"):
        data = image_folder(tmp_path, on_bad_image="skip", image_size=image_size, **OPTIONS)
    assert sum(data.sizes.values()) == 20
    assert {text.partition(" (")[0] for text in data.skipped} == bad
    splits = [colours(split) for split in (data.train, data.validation, data.test)]
    assert set().union(*splits) == EVERY
    sizes = data.steps_per_epoch * 4, data.sizes["validation"], data.sizes["test"]
    assert tuple(map(len, splits)) == sizes


@pytest.mark.parametrize("image_size", [None, 8])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_without_a_readable_image_is_refused(tmp_path, split, image_size):
    fill(tmp_path / "train"), fill(tmp_path / "test")
    for file in (tmp_path / split / "dogs").iterdir():
        file.write_text("no image")
    with pytest.raises(InputError, match=f"each class in the {split} split.*of class 'dogs'"):
        image_folder(tmp_path, batch_size=4, image_size=image_size, on_bad_image="skip")


def test_without_verification_a_file_that_is_no_image_is_named_when_it_is_met(tmp_path):
    fill(tmp_path)
    options = OPTIONS | {"image_size": 8, "verify": False}
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"remember the milk")
    data = image_folder(tmp_path, **options)
    with pytest.raises(Exception, match=r"Received:.*\.png.*data.verify=true"):
        next(iter(data.test))
    with pytest.raises(InputError, match="data.verify=false, data.on_bad_image='skip'"):
        image_folder(tmp_path, **options, on_bad_image="skip")


def test_folders_that_will_not_do(tmp_path):
    with pytest.raises(InputError, match=r"Received: no --data-dir \(data.folder\). Give one with"):
        image_folder()
    for folder in (str(tmp_path / "nowhere"), "x" * 300):
        with pytest.raises(InputError, match="which is no folder that can be opened"):
            image_folder(folder)
    with pytest.raises(InputError, match=r"two classes, as .* with 0 of them\."):
        image_folder(tmp_path)
    fill(tmp_path, ["cats"])
    with pytest.raises(InputError, match=r"with 1 of them, 'cats'\."):
        image_folder(tmp_path)
    (tmp_path / "dogs").mkdir()
    with pytest.raises(InputError, match=r"images of each class.*dogs', which holds none"):
        image_folder(tmp_path)
    fill(tmp_path, ["dogs"], count=1)
    with pytest.raises(InputError, match=r"at least 3 images .* 1 that can be read of class 'dogs'"):
        image_folder(tmp_path)


@pytest.mark.parametrize("splits", [(), ("test",), ("validation", "test")])
def test_a_class_of_too_few_images_is_refused_until_it_has_the_number_that_is_named(tmp_path, splits):
    for split in ("train", *splits):
        fill(tmp_path / split, ("cats", "dogs"), count=30 if split == "train" else 2)
    for number in range(1, 30):
        (tmp_path / "train" / "cats" / f"{number:02}.png").unlink()
    needed = 3 - len(splits)
    for number in range(1, needed):
        with pytest.raises(
            InputError, match=f"least {needed} images .* {number} that can be read of class 'cats'"
        ):
            image_folder(tmp_path, batch_size=2)
        picture(tmp_path / "train" / "cats" / f"{number:02}.png", (9, 9, number))
    assert image_folder(tmp_path, batch_size=2).sizes["train"] >= 21


def test_the_number_of_images_that_a_message_names_is_enough(tmp_path):
    fill(tmp_path, count=3)
    with pytest.raises(
        InputError, match="at least 25 images, so that test and validation.*Received: 6"
    ) as caught:
        image_folder(tmp_path, batch_size=2)
    assert "validation_fraction" not in str(caught.value)  # No change of it would help.
    for number in range(3, 22):
        picture(tmp_path / "cats" / f"{number}.png", (9, 9, number))
    assert sum(image_folder(tmp_path, batch_size=2).sizes.values()) == 25


def test_an_empty_class_stops_also_if_images_are_skipped_and_its_removal_helps(tmp_path):
    fill(tmp_path, count=20), (tmp_path / "birds").mkdir()
    with pytest.raises(InputError, match="remove the folder 'birds'.*skip skips images, not classes"):
        image_folder(tmp_path, on_bad_image="skip", batch_size=2)
    (tmp_path / "birds").rmdir()
    assert image_folder(tmp_path, on_bad_image="skip", batch_size=2).class_names == ("cats", "dogs")


def test_classes_must_match_between_splits(tmp_path):
    fill(tmp_path / "train"), fill(tmp_path / "test", ("cats", "cows"))
    message = (
        r"2 classes of .*train' in the test split too.*missing \['dogs'\], not in training \['cows'\]"
    )
    with pytest.raises(InputError, match=message):
        image_folder(tmp_path)


# Which files and folders count, as list_classes finds them.


def test_links_are_followed_and_those_to_nothing_are_named(tmp_path):
    fill(tmp_path / "store", ["cats"]), fill(tmp_path / "photos", ["dogs"])
    (tmp_path / "photos" / "cats").symlink_to(tmp_path / "store" / "cats", target_is_directory=True)
    (tmp_path / "photos" / "cows").symlink_to("nowhere")
    photos = list_classes(tmp_path / "photos")
    assert photos.class_names == CLASSES and len(photos.listed["train"][0]) == 20
    assert photos.skipped == {"cows": "a link to nothing"}
    (tmp_path / "photos" / "dogs" / "gone.png").symlink_to("nowhere")
    with pytest.raises(InputError, match="dogs/gone.png .*a link to nothing"):
        image_folder(tmp_path / "photos", batch_size=4)


@pytest.mark.parametrize("prefix", ["", "train/"])
@pytest.mark.parametrize("target", [".", "..", "cats", "../{prefix}cats"])
def test_a_link_makes_no_class_twice(tmp_path, prefix, target):
    for split in ("train", "test") if prefix else ("",):
        fill(tmp_path / "photos" / split)
    target = target.format(prefix=prefix or "photos/")
    (tmp_path / "photos" / prefix / "again").symlink_to(target, target_is_directory=True)
    photos = list_classes(tmp_path / "photos")
    assert photos.class_names == CLASSES and photos.skipped == {f"{prefix}again/": LISTED_ANYWAY}
    assert f"{LISTED_ANYWAY} 1 ({prefix}again/)" in photos.notes()[1]


def test_a_class_that_is_reached_by_two_links_counts_once(tmp_path):
    fill(tmp_path / "store", ["cats"]), fill(tmp_path / "photos", ["dogs"])
    for name in ("cats", "kitten"):
        (tmp_path / "photos" / name).symlink_to(tmp_path / "store" / "cats", target_is_directory=True)
    photos = list_classes(tmp_path / "photos")
    assert photos.class_names == CLASSES and photos.skipped == {"kitten/": LISTED_ANYWAY}


@pytest.mark.parametrize("target", [".", "..", "../dogs", "../../photos"])
def test_a_link_inside_a_class_brings_no_image_twice(tmp_path, target):
    (fill(tmp_path / "photos") / "cats" / "more").symlink_to(target, target_is_directory=True)
    photos = list_classes(tmp_path / "photos")
    names, labels = photos.listed["train"]
    assert [name.split("/")[0] for name in names] == [CLASSES[label] for label in labels]
    assert labels.tolist() == [0] * 10 + [1] * 10 and photos.skipped == {"cats/more/": LISTED_ANYWAY}


def test_folders_may_be_deeper_than_python_recurses(tmp_path, monkeypatch):
    image = (fill(tmp_path) / "cats" / "00.png").read_bytes()
    monkeypatch.chdir(tmp_path / "cats")
    for depth in range(3000):  # More than a path may have letters.
        os.mkdir("a")
        os.chdir("a")
        if depth == 1200:
            with open("deep.png", "wb") as file:
                file.write(image)
    monkeypatch.chdir(tmp_path)
    try:
        data = image_folder(tmp_path, **OPTIONS)
        assert sum(data.sizes.values()) == 21
        assert "1 skipped: cannot be opened: File name too long 1 (cats/a/a/" in data.notes[1]
        assert len(data.notes[1]) < 250
    finally:
        # Python's own removal of folders recurses.
        subprocess.run(["rm", "-rf", tmp_path / "cats"], check=True)


@pytest.mark.parametrize("name", ["thumbnails", "Recycled", "recycler"])
@pytest.mark.parametrize("prefix", ["", "train/"])
def test_a_class_may_be_called_like_a_folder_of_thumbnails(tmp_path, name, prefix):
    for split in ("train", "test") if prefix else ("",):
        fill(tmp_path / split, (*CLASSES, name))
        fill(tmp_path / split / "cats", [name])  # Beside images: their thumbnails.
    photos = list_classes(tmp_path)
    assert set(photos.class_names) == {*CLASSES, name} and len(photos.listed["train"][0]) == 30
    assert f"{prefix}cats/{name}/" in photos.skipped


SPLITS = {
    ("train", "val", "test"): ("train", "validation", "test"),
    ("Training", "Testing"): ("train", "test"),
    ("training_set", "test_set"): ("train", "test"),
    ("train", "eval"): ("train", "test"),
    ("train", "dev", "test"): ("train", "validation", "test"),
    ("TRAIN", "VALID"): ("train", "test"),
    ("train2017", "val2017"): ("train", "test"),
    ("train-images", "validation-images", "test-images"): ("train", "validation", "test"),
    ("seg_train", "seg_test"): ("train", "test"),
    ("data_train", "data_val", "data_test"): ("train", "validation", "test"),
}


@pytest.mark.parametrize("folders", SPLITS)
def test_folders_of_splits_by_their_usual_names(tmp_path, folders):
    for folder in folders:
        fill(tmp_path / folder, count=4)
    photos = list_classes(tmp_path)
    assert photos.folders == dict(zip(SPLITS[folders], folders, strict=True))
    assert photos.class_names == CLASSES
    for split, folder in photos.folders.items():
        assert f"{split} from {folder}/" in photos.notes()[0]


@pytest.mark.parametrize(
    "folders",
    [
        ("strength training", "endurance test"),
        ("crash test", "dogs"),
        ("maths_eval", "cats"),
        ("images", "words"),
    ],
)
def test_classes_may_have_names_like_those_of_splits_and_of_detection(tmp_path, folders):
    for folder in folders:
        fill(tmp_path / folder, ("p1", "p2"))
    assert list_classes(tmp_path).class_names == tuple(sorted(folders))


def test_a_class_may_be_called_train(tmp_path):
    assert list_classes(fill(tmp_path, ("bus", "train"))).class_names == ("bus", "train")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (
            ["train/cats", "val/cats", "valid/cats"],
            "one folder of validation images. Received: val, valid",
        ),
        (["cats", "dogs", "test/cats"], "test, which hold folders themselves, and no train"),
        (["train", "test"], "test, train and no classes in them"),
        (["train", "test", "sample"], "test, train and no classes in them"),
    ],
)
def test_unclear_splits_are_refused(tmp_path, folders, message):
    fill(tmp_path, folders, count=1)
    with pytest.raises(InputError, match=message):
        list_classes(tmp_path)


def test_files_and_folders_beside_the_classes_are_skipped(tmp_path):
    fill(tmp_path / "train"), fill(tmp_path / "test"), fill(tmp_path / "unlabelled", ["all"])
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "train" / "labels.csv").write_text("a,b")
    photos = list_classes(tmp_path)
    beside = {"unlabelled/": "beside the splits", "train/labels.csv": "not in a folder of a class"}
    assert photos.skipped == beside and "train/labels.csv" in photos.notes()[1]


@pytest.mark.parametrize(
    "classes", [("images", "masks"), ("Images", "Labels"), ("annotations", "images")]
)
@pytest.mark.parametrize("split", ["", "train"])
def test_folders_of_detection_and_segmentation_are_no_classes(tmp_path, classes, split):
    fill(tmp_path / split, classes)
    with pytest.raises(InputError, match=f"one subfolder per class.*Received: {', '.join(classes)} in"):
        list_classes(tmp_path)


def test_classes_whose_names_differ_in_case_are_named(tmp_path):
    fill(tmp_path, ("Cats", "cats", "dogs"))
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system takes the names for one")
    with pytest.warns(UserWarning, match="differ in case alone: 'Cats', 'cats'. Join") as caught:
        list_classes(tmp_path)
    assert len(caught) == 1


def test_classes_of_one_name_with_accents_stored_in_two_ways_are_refused_until_joined(tmp_path):
    fill(tmp_path, ("caf\u00e9", "cafe\u0301", "dogs"))
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system takes the names for one")
    with pytest.raises(InputError, match=r"'cafe\\u0301', 'caf\\xe9', of which some.*Join"):
        list_classes(tmp_path)
    for number, file in enumerate((tmp_path / "cafe\u0301").iterdir()):
        file.rename(tmp_path / "caf\u00e9" / f"joined{number}.png")
    (tmp_path / "cafe\u0301").rmdir()
    assert list_classes(tmp_path).class_names == ("caf\u00e9", "dogs")


def test_splits_whose_classes_have_nearly_the_same_names(tmp_path):
    fill(tmp_path / "train", ("caf\u00e9", "dogs")), fill(tmp_path / "test", ("cafe\u0301", "dogs"))
    with pytest.raises(
        InputError, match="They differ in case, or in how accents are stored, alone. Give"
    ):
        list_classes(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_a_name_that_is_not_utf_8(tmp_path):
    fill(tmp_path)
    odd = os.fsencode(tmp_path / "cats") + b"/caf\xe9.png"
    with open(odd, "wb") as file:
        file.write((tmp_path / "cats" / "00.png").read_bytes())
    with pytest.warns(UserWarning, match="The same images"):  # It is a copy of another.
        data = image_folder(tmp_path, image_size=8, **OPTIONS)
    assert sum(data.sizes.values()) == 21
    list(data.train), list(data.validation), list(data.test)
    data.files.to_csv().encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("kind", ["circle", "pipe", "closed folder", "closed folder beside"])
def test_files_and_folders_that_cannot_be_opened_are_skipped(tmp_path, kind):
    fill(tmp_path / "train"), fill(tmp_path / "test")
    if kind == "circle":
        (tmp_path / "train" / "cats" / "a").symlink_to("a")
    elif kind == "pipe":
        os.mkfifo(tmp_path / "train" / "cats" / "pipe.png")
    else:
        (tmp_path / ("train/cats" if kind == "closed folder" else ".") / "closed").mkdir(mode=0)
    photos = list_classes(tmp_path)
    assert len(photos.listed["train"][0]) == 20
    if os.geteuid() or "closed" not in kind:  # To the administrator no folder is closed.
        assert len(photos.skipped) == 1


def test_an_unknown_policy_is_refused(tmp_path):
    with pytest.raises(
        InputError, match="Expected on_bad_image to be 'stop' or 'skip'. Received: on_bad_image='Stop'"
    ):
        image_folder(fill(tmp_path), on_bad_image="Stop")
