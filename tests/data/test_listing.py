"""One listing for training, prediction, indexing and retrieval; one line says what is what."""

import os
import subprocess

import pytest
from PIL import Image

from dreal_tf.data.files import LISTED_ANYWAY, list_files, summary_of
from dreal_tf.data.folder import image_folder, list_classes
from dreal_tf.deployment.prediction import LooseImages
from dreal_tf.errors import InputError

CLASSES = ("cats", "dogs")
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


def fill(root, classes=CLASSES, count=10):
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (100 * label, 10 * number, 0)).save(root / name / f"{number}.png")
    return root


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, "PNG")


@pytest.mark.parametrize("name", SYSTEM)
def test_what_systems_leave_is_listed_nowhere_and_counted(tmp_path, name):
    fill(tmp_path)
    touch(tmp_path / "cats" / name)
    found = list_classes(tmp_path)
    assert len(found.listed["train"][0]) == 20 and len(found.skipped) == 1
    assert "1 skipped" in found.notes()[1]
    assert len(LooseImages([tmp_path], lambda image: image, 3).files) == 20
    assert len(list_files(tmp_path).files) == 20


def test_links_are_followed_and_those_to_nothing_are_named(tmp_path):
    fill(tmp_path / "store", ["cats"]), fill(tmp_path / "photos", ["dogs"])
    (tmp_path / "photos" / "cats").symlink_to(tmp_path / "store" / "cats", target_is_directory=True)
    (tmp_path / "photos" / "cows").symlink_to("nowhere")
    found = list_classes(tmp_path / "photos")
    assert found.class_names == CLASSES and len(found.listed["train"][0]) == 20
    assert found.skipped == {"cows": "a link to nothing"}
    (tmp_path / "photos" / "dogs" / "gone.png").symlink_to("nowhere")
    with pytest.raises(InputError, match="dogs/gone.png .*a link to nothing"):
        image_folder(tmp_path / "photos", batch_size=4)


def test_a_link_in_a_circle_ends(tmp_path):
    fill(tmp_path)
    (tmp_path / "cats" / "again").symlink_to(tmp_path, target_is_directory=True)
    found = list_classes(tmp_path)
    assert found.skipped == {"cats/again/": LISTED_ANYWAY}


@pytest.mark.parametrize("place", ["", "train/"])
@pytest.mark.parametrize("target", [".", "..", "cats", "../{place}cats"])
def test_a_link_makes_no_class_twice(tmp_path, place, target):
    for split in ("train", "test") if place else ("",):
        fill(tmp_path / "photos" / split)
    target = target.format(place=place or "photos/")
    (tmp_path / "photos" / place / "again").symlink_to(target, target_is_directory=True)
    found = list_classes(tmp_path / "photos")
    assert found.class_names == CLASSES and found.skipped == {f"{place}again/": LISTED_ANYWAY}
    assert f"{LISTED_ANYWAY} 1 ({place}again/)" in found.notes()[1]


def test_a_class_that_is_reached_by_two_links_counts_once(tmp_path):
    fill(tmp_path / "store", ["cats"]), fill(tmp_path / "photos", ["dogs"])
    for name in ("cats", "kitten"):
        (tmp_path / "photos" / name).symlink_to(tmp_path / "store" / "cats", target_is_directory=True)
    found = list_classes(tmp_path / "photos")
    assert found.class_names == CLASSES and found.skipped == {"kitten/": LISTED_ANYWAY}


def test_a_link_to_another_class_brings_none_of_its_images(tmp_path):
    fill(tmp_path)
    (tmp_path / "cats" / "more").symlink_to("../dogs", target_is_directory=True)
    found = list_classes(tmp_path)
    assert len(found.listed["train"][0]) == 20 and found.skipped == {"cats/more/": LISTED_ANYWAY}


def test_folders_may_be_deeper_than_python_recurses(tmp_path, monkeypatch):
    image = (fill(tmp_path) / "cats" / "0.png").read_bytes()
    monkeypatch.chdir(tmp_path / "cats")
    for depth in range(3000):  # More than a path may have letters.
        os.mkdir("a")
        os.chdir("a")
        if depth == 1200:
            with open("deep.png", "wb") as file:
                file.write(image)
    monkeypatch.chdir(tmp_path)
    try:
        data = image_folder(tmp_path, batch_size=4, validation_fraction=0.25)
        assert sum(data.sizes.values()) == 21
        assert "1 skipped: cannot be opened: File name too long 1 (cats/a/a/" in data.notes[1]
        assert len(data.notes[1]) < 250
    finally:
        # Python's own removal of folders recurses.
        subprocess.run(["rm", "-rf", tmp_path / "cats"], check=True)


@pytest.mark.parametrize("name", ["thumbnails", "Recycled", "recycler"])
@pytest.mark.parametrize("place", ["", "train"])
def test_a_class_may_be_called_like_a_folder_of_thumbnails(tmp_path, name, place):
    for split in ("train", "test") if place else ("",):
        fill(tmp_path / split, (*CLASSES, name))
        fill(tmp_path / split / "cats", [name])  # Beside images: their thumbnails.
    found = list_classes(tmp_path)
    assert set(found.class_names) == {*CLASSES, name} and len(found.listed["train"][0]) == 30
    assert f"{place}/cats/{name}/".lstrip("/") in found.skipped
    data = image_folder(tmp_path, batch_size=4, validation_fraction=0.25)
    record = tmp_path / "splits.csv"
    record.write_text(data.files.to_csv())
    again = image_folder(tmp_path, batch_size=4, recorded=record)
    assert again.sizes == data.sizes and again.files.missing == ()


SPLITS = {
    ("train", "val", "test"): ("train", "validation", "test"),
    ("Training", "Testing"): ("train", "test"),
    ("training_set", "test_set"): ("train", "test"),
    ("train", "eval"): ("train", "test"),
    ("train", "dev", "test"): ("train", "validation", "test"),
    ("TRAIN", "VALID"): ("train", "test"),
    ("train2017", "val2017"): ("train", "test"),
    ("train-images", "validation-images", "test-images"): ("train", "validation", "test"),
}


@pytest.mark.parametrize("folders", SPLITS)
def test_folders_of_splits_by_their_usual_names(tmp_path, folders):
    for folder in folders:
        fill(tmp_path / folder, count=4)
    found = list_classes(tmp_path)
    assert found.folders == dict(zip(SPLITS[folders], folders, strict=True))
    assert found.class_names == CLASSES
    for split, folder in found.folders.items():
        assert f"{split} from {folder}/" in found.notes()[0]


def test_two_folders_of_one_split_are_refused(tmp_path):
    for folder in ("train", "val", "valid"):
        fill(tmp_path / folder)
    with pytest.raises(InputError, match="one folder of validation images. Received: val, valid"):
        list_classes(tmp_path)


def test_splits_without_train_are_refused(tmp_path):
    fill(tmp_path), fill(tmp_path / "test")
    with pytest.raises(InputError, match="test, which hold folders themselves, and no train"):
        list_classes(tmp_path)


def test_splits_without_classes_are_refused(tmp_path):
    fill(tmp_path, ("train", "test"))
    with pytest.raises(InputError, match="test, train and no classes in them"):
        list_classes(tmp_path)


def test_what_lies_beside_is_left_out_and_said(tmp_path):
    fill(tmp_path / "train"), fill(tmp_path / "test"), fill(tmp_path / "unlabelled", ["all"])
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "train" / "labels.csv").write_text("a,b")
    left_out = list_classes(tmp_path).skipped
    assert left_out["unlabelled/"] == "beside the splits"
    assert left_out["train/labels.csv"] == "not in a folder of a class"
    assert "labels.csv" in summary_of(left_out)


@pytest.mark.parametrize(
    "classes", [("images", "masks"), ("Images", "Labels"), ("annotations", "images")]
)
@pytest.mark.parametrize("split", ["", "train"])
def test_folders_of_detection_and_segmentation_are_no_classes(tmp_path, classes, split):
    fill(tmp_path / split, classes)
    with pytest.raises(InputError, match=f"one subfolder per class.*Received: {', '.join(classes)} in"):
        list_classes(tmp_path)


def test_a_class_may_be_called_images_beside_others(tmp_path):
    assert list_classes(fill(tmp_path, ("images", "words"))).class_names == ("images", "words")


LIKE = {
    "case": (("Cats", "cats"), "'Cats', 'cats'"),
    "accents": (("caf\u00e9", "cafe\u0301"), r"'cafe\u0301', 'caf\xe9'"),
    "both": (("Caf\u00e9", "cafe\u0301"), "'Caf\u00e9', 'cafe\u0301'"),
}


@pytest.mark.parametrize("kind", LIKE)
def test_classes_of_nearly_one_name_are_named(tmp_path, kind):
    names, said = LIKE[kind]
    fill(tmp_path, (*names, "dogs"))
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system takes the names for one")
    with pytest.warns(UserWarning) as caught:
        list_classes(tmp_path)
    assert len(caught) == 1 and f"alone: {said}. Join" in str(caught[0].message)


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
        file.write((tmp_path / "cats" / "0.png").read_bytes())
    with pytest.warns(UserWarning, match="2 files|1 in|of them|same"):  # It is a copy of another.
        data = image_folder(tmp_path, batch_size=4, image_size=8, validation_fraction=0.25)
    assert sum(data.sizes.values()) == 21
    list(data.train), list(data.validation), list(data.test)
    data.files.to_csv().encode("utf-8", "surrogateescape")


def test_a_link_to_the_folder_above_brings_no_other_class(tmp_path):
    fill(tmp_path)
    (tmp_path / "cats" / "up").symlink_to("..", target_is_directory=True)
    found = list_classes(tmp_path)
    names, labels = found.listed["train"]
    assert sorted(labels.tolist()) == [0] * 10 + [1] * 10
    assert all(name.split("/")[0] == CLASSES[label] for name, label in zip(names, labels, strict=True))


@pytest.mark.parametrize("kind", ["circle", "pipe", "closed folder", "closed folder beside"])
def test_what_cannot_be_opened_is_left_out(tmp_path, kind):
    if kind == "circle":
        fill(tmp_path)
        (tmp_path / "cats" / "a").symlink_to("a")
    elif kind == "pipe":
        fill(tmp_path)
        os.mkfifo(tmp_path / "cats" / "pipe.png")
    else:
        fill(tmp_path / "train"), fill(tmp_path / "test")
        place = tmp_path / ("train/cats" if kind == "closed folder" else ".")
        (place / "closed").mkdir(mode=0)
    found = list_classes(tmp_path)
    assert len(found.listed["train"][0]) == 20
    if os.geteuid() or "closed" not in kind:  # To the administrator no folder is closed.
        assert len(found.skipped) == 1


@pytest.mark.parametrize(
    "folders", [("seg_train", "seg_test"), ("data_train", "data_val", "data_test")]
)
def test_split_names_with_something_before_them(tmp_path, folders):
    for folder in folders:
        fill(tmp_path / folder)
    assert list_classes(tmp_path).class_names == CLASSES


@pytest.mark.parametrize(
    "folders", [("strength training", "endurance test"), ("crash test", "dogs"), ("maths_eval", "cats")]
)
def test_classes_whose_names_end_like_a_split_are_classes(tmp_path, folders):
    for folder in folders:
        fill(tmp_path / folder, ("p1", "p2"), count=10)
    assert list_classes(tmp_path).class_names == tuple(sorted(folders))


def test_splits_without_classes_are_refused_whatever_lies_beside(tmp_path):
    fill(tmp_path, ("train", "test", "sample"))
    with pytest.raises(InputError, match="and no classes in them"):
        list_classes(tmp_path)


@pytest.mark.parametrize("image_size", [None, 8])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_without_a_readable_image_is_refused(tmp_path, split, image_size):
    fill(tmp_path / "train"), fill(tmp_path / "test")
    for file in (tmp_path / split / "dogs").iterdir():
        file.write_text("no image")
    with pytest.raises(InputError, match=f"each class in the {split} split.*of class 'dogs'"):
        image_folder(tmp_path, batch_size=4, image_size=image_size, on_bad_image="skip")


@pytest.mark.parametrize("folder", ["x" * 300, "/nowhere"])
def test_a_folder_that_cannot_be_is_refused(folder):
    with pytest.raises(InputError, match="no folder that can be opened"):
        list_classes(folder)


def test_one_path_is_one_path(tmp_path):
    fill(tmp_path)
    assert len(LooseImages(str(tmp_path), lambda image: image, 3).files) == 20


def test_an_unknown_policy_is_refused(tmp_path):
    with pytest.raises(
        InputError, match="Expected on_bad_image to be 'stop' or 'skip'. Received: on_bad_image='Stop'"
    ):
        image_folder(fill(tmp_path), on_bad_image="Stop")
