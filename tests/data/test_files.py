"""The files of a data set: one listing for all commands, and recorded splits that later files do not move."""

import csv
import os
import re
import shutil
import warnings

import numpy as np
import pytest
from class_folder import fill, picture

from dreal_tf.data.files import COLUMNS, UNUSED, bytes_of, list_files, read_record
from dreal_tf.data.folder import image_folder, list_classes
from dreal_tf.deployment.prediction import LooseImages
from dreal_tf.errors import InputError
from dreal_tf.training.builder import build_data
from dreal_tf.training.recipe import Recipe
from dreal_tf.training.run_directory import RunDirectory
from dreal_tf.training.trained_run import run_data

SYSTEM = (
    ".DS_Store",
    "._1.png",
    "Thumbs.db",
    "desktop.ini",
    ".thumbnails/1.png",
    "@eaDir/1.png/SYNOPHOTO_THUMB_S.png",
    "__MACOSX/._1.png",
    ".ipynb_checkpoints/1-checkpoint.png",
    "$RECYCLE.BIN/1.png",
)


@pytest.mark.parametrize("name", SYSTEM)
def test_files_of_systems_are_listed_nowhere_and_counted(tmp_path, name):
    picture(fill(tmp_path) / "cats" / name)
    photos = list_classes(tmp_path)
    assert len(photos.listed["train"][0]) == 20 and len(photos.skipped) == 1
    assert "1 skipped" in photos.notes()[1]
    for paths in ([tmp_path], str(tmp_path)):  # One path is one path.
        assert len(LooseImages(paths, lambda image: image, 3).files) == 20
    assert len(list_files(tmp_path).files) == 20


OPTIONS = dict(batch_size=4, validation_fraction=0.25)


def recorded(folder, path, newline=None, **options):
    data = image_folder(folder, **(OPTIONS | options))
    path.write_text(data.files.to_csv(), "utf-8", "surrogateescape", newline)
    return data


def names_of(data):
    return {
        split: [row.path for row in data.files.rows if row.split == split]
        for split in ("train", "validation", "test")
    }


def everything(dataset):
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


@pytest.mark.parametrize("image_size", [None, 8])
def test_images_that_come_later_move_none(tmp_path, image_size):
    folder, record = fill(tmp_path / "photos"), tmp_path / "splits.csv"
    before = recorded(folder, record, image_size=image_size)
    for number in range(10, 30):
        picture(folder / "cats" / f"a{number}.png", (200, number, 9))  # First in the order of names.
    picture(folder / "cows" / "0.png", (1, 2, 3))
    with pytest.warns(UserWarning, match="21 new .*New ones are not used"):
        after = image_folder(folder, recorded=record, image_size=image_size, **OPTIONS)
    assert after.class_names == before.class_names == ("cats", "dogs")
    assert after.sizes == before.sizes
    for split in ("validation", "test", "train"):
        for one, two in zip(
            everything(getattr(before, split)), everything(getattr(after, split)), strict=True
        ):
            np.testing.assert_array_equal(one, two)
    assert not set(after.files.new) & {row.path for row in before.files.rows}
    after.files.check_unchanged()  # New images are harmless.


def test_each_file_has_its_row(tmp_path):
    folder = fill(tmp_path / "photos")
    (folder / "dogs" / "bad.png").write_bytes(b"no image")
    (folder / "readme.txt").write_text("hello")
    with pytest.warns(UserWarning, match="skipped"):
        data = image_folder(folder, on_bad_image="skip", **OPTIONS)
    rows = {row.path: row for row in data.files.rows}
    assert len(rows) == 22 and rows["dogs/bad.png"].split == rows["readme.txt"].split == UNUSED
    parts = names_of(data)
    assert {len(set(part)) for part in parts.values()} == {4, 12}
    assert all(rows[path].label == path.split("/")[0] for part in parts.values() for path in part)
    status = os.stat(folder / "cats" / "00.png")
    assert (rows["cats/00.png"].size, rows["cats/00.png"].modified) == (
        status.st_size,
        status.st_mtime_ns,
    )
    assert next(csv.reader(data.files.to_csv().splitlines())) == list(COLUMNS)
    (tmp_path / "splits.csv").write_text(data.files.to_csv())
    (folder / "dogs" / "bad.png").unlink(), (folder / "readme.txt").unlink()
    again = image_folder(folder, recorded=tmp_path / "splits.csv", **OPTIONS)
    assert again.files.difference() == "" and names_of(again) == parts  # They were not used.


def test_a_copy_with_other_times_is_the_same(tmp_path):
    folder, record = fill(tmp_path / "photos"), tmp_path / "splits.csv"
    recorded(folder, record)
    for path in folder.rglob("*.png"):
        os.utime(path, (1, 1))
    assert image_folder(folder, recorded=record, **OPTIONS).files.difference() == ""


def test_changed_and_missing_files_are_named_and_no_training_goes_on_with_them(tmp_path):
    folder, record = fill(tmp_path / "photos"), tmp_path / "splits.csv"
    parts = names_of(recorded(folder, record))
    picture(folder / parts["train"][0], (1, 2, 3))
    (folder / parts["test"][0]).unlink()
    with pytest.warns(UserWarning, match=rf"1 missing \({parts['test'][0]}\), 1 changed"):
        data = image_folder(folder, recorded=record, **OPTIONS)
    assert data.sizes == {"train": 12, "validation": 4, "test": 3}
    with pytest.raises(
        InputError, match="the files that the run started with.*start again with --fresh"
    ):
        data.files.check_unchanged()


def test_another_size_is_a_change(tmp_path):
    folder, record = fill(tmp_path / "photos"), tmp_path / "splits.csv"
    recorded(folder, record)
    path = folder / "cats" / "00.png"
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.warns(UserWarning, match="1 changed"):
        image_folder(folder, recorded=record, **OPTIONS)


def test_a_folder_without_the_recorded_images_is_refused(tmp_path):
    record = tmp_path / "splits.csv"
    recorded(fill(tmp_path / "photos"), record)
    other = fill(tmp_path / "other", classes=("cows", "sheep"))
    with pytest.raises(InputError, match="the train images that the run has recorded.*holds none"):
        image_folder(other, recorded=record, **OPTIONS)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", ",".join(COLUMNS) + "\nx,y\n"])
def test_a_file_that_is_no_record_is_refused(tmp_path, text):
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(InputError, match="Expected recorded splits with the columns path"):
        read_record(tmp_path / "splits.csv")


def test_label_noise_and_the_limit_fall_on_the_same_images(tmp_path):
    folder, record = fill(tmp_path / "photos", count=20), tmp_path / "splits.csv"
    options = dict(label_noise=0.5, train_limit=12, image_size=8)
    before = recorded(folder, record, **options)
    after = image_folder(folder, recorded=record, **options, **OPTIONS)
    for one, two in zip(everything(before.train), everything(after.train), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("image_size", [None, 8])
def test_the_wanted_fraction_of_labels_is_wrong(tmp_path, image_size):
    folder = fill(tmp_path / "photos", count=40)
    data = image_folder(
        folder, label_noise=0.25, image_size=image_size, **(OPTIONS | {"batch_size": 48})
    )
    images, labels = everything(data.train)
    red = images[:, 0, 0, 0] * 0.229 + 0.485
    assert len(labels) == 48 and np.sum((red > 0.2) != labels) == 12


def test_the_same_image_in_two_splits_or_two_classes_is_named(tmp_path):
    fill(tmp_path / "train"), fill(tmp_path / "test")
    for path in (tmp_path / "test").rglob("*.png"):
        picture(path, (int(path.stem), 7, 200 if "cats" in path.parts else 100))
    train, test = tmp_path / "train", tmp_path / "test"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image_folder(tmp_path, **OPTIONS)
    for number in (1, 2):
        shutil.copy(train / "cats" / f"0{number}.png", test / "cats" / f"other{number}.png")
    shutil.copy(test / "cats" / "00.png", test / "dogs" / "again.png")
    shutil.copy(test / "dogs" / "00.png", test / "dogs" / "harmless.png")
    with pytest.warns(UserWarning) as caught:
        # No image of the two is held out: the seed was chosen so.
        data = image_folder(tmp_path, **OPTIONS, seed=1)
    parts = names_of(data)
    both = {f"train/cats/0{number}.png" for number in (1, 2)}
    assert both <= set(parts["train"]) and len(caught) == 1
    message = str(caught[0].message)
    assert (
        "classes: 2 in both train and test, 1 in two classes (" in message and "harmless" not in message
    )
    assert "test/cats/00.png = test/dogs/again.png" in message
    assert all(f"{path} = test/cats/other{path[-5]}.png" in message for path in both)
    data = image_folder(tmp_path, verify=False, image_size=8, **OPTIONS)  # Nothing was read.
    assert data.files.copies() == ""


def test_up_to_three_copies_are_named(tmp_path):
    fill(tmp_path / "train"), fill(tmp_path / "test")
    with pytest.warns(UserWarning) as caught:
        image_folder(tmp_path, **OPTIONS)
    message = str(caught[0].message)
    # Each of the twenty test images is also one of train or of validation.
    assert "in both train and validation" not in message
    assert message.count(" = ") == 3 and ", and 17 more)" in message
    counts = [int(n) for n in re.findall(r"(\d+) in both", message)]
    assert sum(counts) == 20


@pytest.mark.parametrize("class_name", ["cats", "thumbnails", "=1+1", "-cats", "'@cats", "caf\udce9"])
def test_any_name_survives_the_record(tmp_path, class_name):
    folder, record = fill(tmp_path / "photos", classes=(class_name, "dogs")), tmp_path / "splits.csv"
    names = ["a\rb.png", "a\nb.png", "a,b.png", 'a"b.png', "a\tb.png", " a .png"]
    for number, name in enumerate(names):
        picture(folder / class_name / name, (9, 9, number))
    data = recorded(folder, record, newline="\n")
    assert read_record(record).rows == data.files.rows
    cells = [
        cell for row in csv.reader(record.open(newline="", errors="surrogateescape")) for cell in row
    ]
    assert not [cell for cell in cells if cell[0:1] in ("=", "+", "-", "@", "\t", "\r")]
    again = image_folder(folder, recorded=record, **OPTIONS)
    assert again.files.difference() == "" and again.sizes == data.sizes


@pytest.mark.parametrize("kind", ["pipe", "device", "gone", "too long", "NUL"])
def test_a_file_that_never_ends_or_cannot_be_opened_is_an_error_of_the_system(tmp_path, kind):
    os.mkfifo(tmp_path / "pipe")
    names = {"pipe": "pipe", "device": "/dev/zero", "gone": "gone", "too long": "x" * 300, "NUL": "a\0"}
    with pytest.raises(OSError):
        bytes_of(tmp_path / names[kind])


def test_a_run_without_its_record_warns(tmp_path):
    images = fill(tmp_path / "images", count=40)
    run = RunDirectory(tmp_path / "run")
    recipe = Recipe().replace({"data.name": "folder", "data.folder": str(images), "data.batch_size": 8})
    with pytest.warns(UserWarning, match="holds no splits.csv, so its splits are drawn again"):
        run_data(run, recipe)
    run.path.mkdir()
    run.splits.write_text(build_data(recipe).files.to_csv(), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*holds no splits.csv")
        run_data(run, recipe)
