"""The identities of images in every layout."""

import pytest
from market_layout import add_line, file_of, market, paint, small_set, table

from dreal_tf.data.identity_layouts import LAYOUTS, list_identities
from dreal_tf.errors import InputError


def test_names_of_duke_and_veri(tmp_path):
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        paint(tmp_path / "duke" / folder / "0001_c2_f0046182.jpg", 1, 1)
    for folder in ("image_train", "image_query", "image_test"):
        paint(tmp_path / "veri" / folder / "0003_c014_00016450_0.jpg", 1, 1)
    for name, folder, labels in (("dukemtmc", "duke", ([1], [2])), ("veri776", "veri", ([3], [14]))):
        _, listed, _, _ = list_identities(name, tmp_path / folder)
        for split in ("train", "query", "gallery"):
            part = listed[split]
            assert (part.identities.tolist(), part.cameras.tolist()) == labels


def test_an_incomplete_table_is_refused(tmp_path):
    table(tmp_path / "mine.csv", [("a.png", "a", "1", "training")])
    with pytest.raises(InputError, match="Received: 1 that do not: a.png .*split 'training'"):
        list_identities("identity_csv", tmp_path)
    table(tmp_path / "mine.csv", [("a.png", "a")], ("path", "who"))
    with pytest.raises(InputError, match="columns path, identity, split"):
        list_identities("identity_csv", tmp_path)


@pytest.mark.parametrize("name", ["9" * 30 + "_c1s1_0.jpg", "0007_c" + "9" * 30 + "s1_0.jpg"])
def test_a_number_that_no_identity_or_camera_has_is_named(tmp_path, name):
    root = market(tmp_path)
    paint(root / "query" / name, 1, 1)
    with pytest.raises(InputError, match="Received: 1 that do not: query/.*999.*on_bad_image=skip"):
        list_identities("market1501", root)
    assert list_identities("market1501", root, "skip")[3] == {
        f"query/{name}": "does not state whom it shows"
    }


@pytest.mark.parametrize("identity", ["9" * 30, "\u00b2", "x"])
def test_a_line_of_a_list_without_a_number_is_named(tmp_path, identity):
    (tmp_path / "list_train.txt").write_bytes(b"caf\xe9/0000_000_01_0.jpg " + identity.encode() + b"\n")
    with pytest.raises(InputError, match="Received: 1 that do not: caf"):
        list_identities("msmt17", tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"x" * 200_000, "cannot be read .field larger than"),
        (b"caf\xe9.jpg,a,1,training", "Received: 1 that do not: caf"),
        (b"\0", "Received: 1 that do not"),
    ],
)
def test_a_table_of_any_bytes_is_read_or_refused(tmp_path, row, message):
    (tmp_path / "mine.csv").write_bytes(b"path,identity,camera,split\n" + row + b"\n")
    with pytest.raises(InputError, match=message):
        list_identities("identity_csv", tmp_path)


def test_an_empty_split(tmp_path):
    root = market(tmp_path)
    for file in (root / "query").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="Expected images in query of Market-1501"):
        list_identities("market1501", root)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(
    "bad", ["Thumbs.db", ".hidden.jpg", ".thumbnails/", "thumbnails/", "@eaDir/", "__MACOSX/"]
)
def test_files_of_systems_are_skipped_in_every_layout(tmp_path, name, bad):
    root = small_set(tmp_path / "set", name)
    folder, _, image = file_of(name, 2, 1, "train", 9).rpartition("/")
    file = f"{folder}/{bad}{image if bad.endswith('/') else ''}"
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_bytes((root / file_of(name, 2, 1, "train", 0)).read_bytes())
    in_list = name != "msmt17" or bad.endswith("/")  # Its names say the camera.
    if in_list:
        add_line(root, name, file, 2, 1, "train")
    _, listed, _, skipped = list_identities(name, root)
    assert len(listed["train"].images) == 16 and file not in listed["train"].images
    assert len(skipped) == in_list and all(name.startswith(f"{folder}/{bad}") for name in skipped)
