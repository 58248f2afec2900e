"""Whom images show, in every layout; what is held out; what is refused, and what is left out."""

import csv
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from market_layout import market, paint

from dreal_tf.data.identities import identity_set
from dreal_tf.data.identity_layouts import LAYOUTS, Listed, list_identities
from dreal_tf.data.identity_sampling import held_out_identities, held_out_images
from dreal_tf.errors import InputError
from dreal_tf.retrieval import Protocol, ranked_gallery, score_embeddings
from dreal_tf.training.builder import DATA_SETS

SMALL = dict(image_size=24, image_width=12, batch_size=8, images_per_identity=4, seed=0)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return market(tmp_path_factory.mktemp("data") / "market")


@pytest.fixture(scope="module")
def splits(root):
    return identity_set("market1501", root, **SMALL)


def batches(data):
    return np.concatenate([batch.numpy() for batch in data])


def test_identities_are_numbered_from_zero_and_keep_their_names(splits):
    assert len(splits.class_names) == 8 and set(splits.class_names) < set(map(str, range(2, 12)))
    assert splits.class_names == tuple(sorted(splits.class_names, key=int))
    labels = np.concatenate([labels for _, labels in splits.train.as_numpy_iterator()])
    assert set(labels) == set(range(8)) and splits.image_shape == (24, 12, 3)


def test_held_out_identities_are_asked_for_and_not_trained_on(splits):
    asked = splits.retrieval["validation"]
    held = set(map(str, asked.query_labels.identities))
    assert len(held) == 2 and not held & set(splits.class_names)
    # One query by each of the three cameras; all six images are in the gallery, and one of each of the
    # eight others, right for nobody.
    assert len(asked.query_names) == 6 and len(asked.gallery_names) == 12 + 8
    assert sum(str(identity) in held for identity in asked.gallery_labels.identities) == 12
    assert set(asked.query_names) < set(asked.gallery_names)
    pairs = set(zip(*map(np.ndarray.tolist, asked.query_labels), strict=True))
    assert len(pairs) == 6


def test_no_image_is_in_two_places(splits, root):
    trained = 8 * 6 - splits.sizes["validation"]
    assert splits.sizes["train"] == trained and splits.sizes["validation"] == 8
    assert splits.sizes["test"] == 8
    test = splits.retrieval["test"]
    assert len(test.query_names) == 18 and len(test.gallery_names) == 36
    assert batches(test.query).shape == (18, 24, 12, 3)
    name = Path(test.query_names[0]).name
    assert test.query_labels.identities[0] == int(name[:4])
    assert test.query_labels.cameras[0] == int(name[6])


def test_a_batch_holds_identities_times_images_and_the_epoch_says_which(root):
    first = identity_set("market1501", root, **SMALL)
    for epoch, other in ((0, identity_set("market1501", root, **SMALL)), (1, first)):
        drawn = [labels.tolist() for _, labels in first.train.as_numpy_iterator()]
        other.clock.epoch = epoch
        again = [labels.tolist() for _, labels in other.train.as_numpy_iterator()]
        assert (drawn == again) == (epoch == 0)
    for labels in drawn:
        assert len(labels) == 8 and labels[0] == labels[3] != labels[4] == labels[7]
    assert len(drawn) == first.steps_per_epoch


def test_workers_share_whole_identities(root):
    options = SMALL | {"replicas": 2}
    whole = next(iter(identity_set("market1501", root, **options).train))[1].numpy()
    parts = [
        next(iter(identity_set("market1501", root, shard=(n, 2), **options).train))[1].numpy()
        for n in range(2)
    ]
    assert np.array_equal(np.concatenate([part[:4] for part in parts]), whole)


def test_replicas_get_whole_identities(root, two_replicas):
    data = identity_set("market1501", root, replicas=2, **SMALL)
    _, labels = next(iter(two_replicas.experimental_distribute_dataset(data.train)))
    for share in two_replicas.experimental_local_results(labels):
        assert len(share) == 4 and len(set(share.numpy().tolist())) == 1


def test_images_read_from_files_are_those_in_memory(root, splits):
    files = identity_set("market1501", root, memory_limit=0, **SMALL)
    for split in ("train", "validation"):
        pairs = zip(getattr(files, split), getattr(splits, split), strict=True)
        for (images, labels), (same, of_same) in pairs:
            assert np.array_equal(labels, of_same) and np.allclose(images, same, atol=1e-5)
    same = splits.retrieval["test"].gallery
    assert np.allclose(batches(files.retrieval["test"].gallery), batches(same), atol=1e-5)


def test_a_zip_file_is_as_good_as_its_folder(root, splits, tmp_path):
    with zipfile.ZipFile(tmp_path / "market.zip", "w") as archive:
        for file in root.rglob("*.jpg"):
            archive.write(file, f"inner/{file.relative_to(root)}")
    for place in (tmp_path, tmp_path / "market.zip"):
        packed = identity_set("market1501", place, **SMALL)
        assert packed.retrieval["test"].query_names == splits.retrieval["test"].query_names
        images, same = (batches(one.retrieval["test"].query) for one in (packed, splits))
        assert np.array_equal(images, same)
    with pytest.raises(InputError, match="Unpack it"):
        identity_set("market1501", tmp_path, memory_limit=0, **SMALL)


def test_junk_and_distractors_of_market(tmp_path):
    root = market(tmp_path / "Market-1501-v15.09.15")
    paint(root / "bounding_box_test" / "-1_c1s1_000001_00.jpg", 0, 1)
    paint(root / "bounding_box_test" / "0000_c1s1_000002_00.jpg", 1, 2)
    paint(root / "bounding_box_train" / "0000_c1s1_000003_00.jpg", 1, 3)
    (root / "query" / "Thumbs.db").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 training images of nobody"):
        data = identity_set("market1501", tmp_path, **SMALL)
    test = data.retrieval["test"]
    assert sorted(test.gallery_labels.identities)[:2] == [-1, 0]
    assert test.protocol == Protocol() and "0" not in data.class_names


def test_names_of_duke_and_veri(tmp_path):
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        paint(tmp_path / "duke" / folder / "0001_c2_f0046182.jpg", 1, 1)
    for folder in ("image_train", "image_query", "image_test"):
        paint(tmp_path / "veri" / folder / "0003_c014_00016450_0.jpg", 1, 1)
    for name, place, said in (("dukemtmc", "duke", (1, 2)), ("veri776", "veri", (3, 14))):
        _, listed, _, _ = list_identities(name, tmp_path / place)
        for split in ("train", "query", "gallery"):
            part = listed[split]
            assert (part.identities.tolist(), part.cameras.tolist()) == ([said[0]], [said[1]])


def test_lists_of_msmt(tmp_path):
    lines = {
        "train": [f"{i:04d}/{i:04d}_{n:03d}_{c:02d}_0303morning_0015_{n}.jpg {i}"
                  for i in range(5) for n, c in enumerate((1, 1, 14, 14))],
        "val": ["0000/0000_009_03_0303morning_0015_9.jpg 0"],
        "query": ["0000/0000_000_02_0303morning_0015_0.jpg 0"],
        "gallery": ["0000/0000_001_03_0303morning_0015_1.jpg 0"],
    }  # fmt: skip
    for split, said in lines.items():
        (tmp_path / f"list_{split}.txt").write_text("\n".join(said) + "\n")
        folder = tmp_path / ("train" if split in ("train", "val") else "test")
        for line in said:
            paint(folder / line.split()[0], int(line.split()[1]), 0)
    with pytest.warns(UserWarning, match="1 queries by cameras that took no image"):
        data = identity_set("msmt17", tmp_path, **SMALL | {"seed": 1})
    test = data.retrieval["test"]
    # Identity 0 is one like any other, and nobody is junk.
    assert test.protocol == Protocol(junk=None, distractor=None)
    assert test.query_labels.identities.tolist() == [0] and test.query_labels.cameras.tolist() == [2]
    assert data.sizes["validation"] == 1 and data.sizes["train"] == 12  # It brings its own images.


def table(path, rows, columns=("path", "identity", "camera", "split")):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def test_a_table_of_any_identities_and_cameras(tmp_path):
    rows = []
    for split, names in (("train", "abcde"), ("query", "xy"), ("gallery", "xy")):
        for name in names:
            for number, camera in enumerate(("left", "right", "left", "right")):
                path = f"images/{split}_{name}{number}.png"
                paint(tmp_path / path, ord(name), number)
                rows.append((path, name, camera, split))
    table(tmp_path / "mine.csv", [*rows, ("images/train_a0.png", "-1", "left", "gallery")])
    data = identity_set("identity_csv", tmp_path, **SMALL)
    test = data.retrieval["test"]
    assert set(data.class_names) < set("abcde") and len(data.class_names) == 3
    assert set(test.query_labels.identities) == {5, 6} and set(test.query_labels.cameras) == {0, 1}
    assert test.gallery_labels.identities.tolist().count(-1) == 1
    assert test.protocol == Protocol(distractor=None)
    # Without cameras nothing is left out, and a query is no image of the gallery.
    table(tmp_path / "mine.csv", [(p, i, s) for p, i, _, s in rows], ("path", "identity", "split"))
    asked = identity_set("identity_csv", tmp_path / "mine.csv", **SMALL).retrieval["validation"]
    assert asked.query_labels.cameras is None
    assert not set(asked.query_names) & set(asked.gallery_names)


def test_a_table_that_says_too_little(tmp_path):
    table(tmp_path / "mine.csv", [("a.png", "a", "1", "training")])
    with pytest.raises(InputError, match="Received: 1 that do not: a.png .*split 'training'"):
        identity_set("identity_csv", tmp_path)
    table(tmp_path / "mine.csv", [("a.png", "a")], ("path", "who"))
    with pytest.raises(InputError, match="columns path, identity, split"):
        identity_set("identity_csv", tmp_path)


def test_a_name_that_says_nobody_stops_or_is_left_out_and_counted(tmp_path):
    root = market(tmp_path)
    paint(root / "query" / "holiday.jpg", 0, 0)
    with pytest.raises(InputError, match=r"0001_c1s1_000151_01.jpg. Received: 1 .*query/holiday.jpg"):
        identity_set("market1501", root, **SMALL)
    with pytest.warns(UserWarning, match="1 files or folders are skipped: query/holiday.jpg"):
        data = identity_set("market1501", root, on_bad_image="skip", **SMALL)
    assert len(data.retrieval["test"].query_names) == 18 and len(data.skipped) == 1


@pytest.mark.parametrize("memory_limit", [0, 1024])
def test_an_image_that_cannot_be_read_stops_or_is_left_out(tmp_path, memory_limit):
    root = market(tmp_path)
    (root / "query" / "0030_c1s1_999999_00.jpg").write_bytes(b"no image")
    options = SMALL | {"memory_limit": memory_limit}
    with pytest.raises(InputError, match="1 that cannot: query/0030_c1s1_999999_00.jpg"):
        identity_set("market1501", root, **options)
    with pytest.warns(UserWarning, match="1 files or folders are skipped"):
        data = identity_set("market1501", root, on_bad_image="skip", **options)
    assert len(data.retrieval["test"].query_names) == 18


def test_an_empty_split(tmp_path):
    root = market(tmp_path)
    for file in (root / "query").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="Expected images in query of Market-1501"):
        identity_set("market1501", root, **SMALL)


def test_no_data_set(tmp_path):
    with pytest.raises(InputError, match="which does not exist.*--data-dir DIR; it is not fetched"):
        identity_set("market1501", tmp_path / "nowhere")
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="bounding_box_train.*with photos. Point"):
        DATA_SETS["market1501"](folder=tmp_path)


def test_more_identities_in_a_batch_than_there_are(root):
    with pytest.raises(InputError, match="at least 16 identities and 64 images for one batch"):
        identity_set("market1501", root, **SMALL | {"batch_size": 64})
    with pytest.raises(InputError, match="batch of whole identities"):
        identity_set("market1501", root, **SMALL | {"batch_size": 10})


def test_identities_with_one_image_are_counted(tmp_path):
    root = market(tmp_path)
    paint(root / "bounding_box_train" / "0900_c1s1_000001_00.jpg", 900, 0)
    with pytest.warns(UserWarning, match="1 identities have fewer than 4 images.*1 of them have one"):
        data = identity_set("market1501", root, **SMALL)
    assert "900" in data.class_names


def test_too_few_identities_to_hold_out():
    alone = Listed(np.zeros(8), np.repeat([1, 2, 3, 4], 2), np.repeat([1, 2, 1, 2], 2))
    with pytest.raises(InputError, match="4 identities, 0 of them seen by two cameras"):
        held_out_identities(alone, 0.1, seed=0)
    with pytest.raises(InputError, match="with three images"):
        held_out_images(np.array([1, 1, 2, 2]), 0.5, seed=0)


def test_other_seeds_hold_out_others():
    identities, cameras = np.repeat(np.arange(20), 4), np.tile([1, 2], 40)
    held = [
        held_out_identities(Listed(identities, identities, cameras), 0.1, seed)[2] for seed in (0, 1, 0)
    ]
    assert np.array_equal(held[0], held[2]) and not np.array_equal(held[0], held[1])
    kept, out = held_out_images(np.repeat(np.arange(20), 10), 0.1, 0)
    assert sorted([*kept, *out]) == list(range(200)) and len(out) == 20


@pytest.mark.parametrize("memory_limit", [1024, 0])
def test_images_that_come_later_move_none(tmp_path, memory_limit):
    root, record = market(tmp_path / "market"), tmp_path / "splits.csv"
    train = root / "bounding_box_train"
    shutil.copy(next(train.glob("*.jpg")), train / "-1_c1s1_000001_01.jpg")  # Of nobody.
    options = SMALL | {"memory_limit": memory_limit}
    before = identity_set("market1501", root, **options)
    record.write_text(before.files.to_csv())
    assert identity_set("market1501", root, recorded=record, **options).files.difference() == ""
    source = next((root / "bounding_box_train").glob("*.jpg"))
    for identity in range(900, 912):  # Others, seen by two cameras: they could be held out.
        for camera in (1, 2, 3):
            shutil.copy(
                source, root / "bounding_box_train" / f"{identity:04}_c{camera}s1_000001_01.jpg"
            )
    with pytest.warns(UserWarning, match="36 new"):
        after = identity_set("market1501", root, recorded=record, **options)
    assert after.class_names == before.class_names and after.sizes == before.sizes
    for split in ("validation", "test"):
        assert after.retrieval[split].query_names == before.retrieval[split].query_names
        assert after.retrieval[split].gallery_names == before.retrieval[split].gallery_names
    for one, two in zip(before.train, after.train, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
    moved = identity_set("market1501", root, **options)  # Without the record they are drawn anew.
    assert moved.retrieval["validation"].query_names != before.retrieval["validation"].query_names


@pytest.mark.parametrize(
    "name",
    ["Thumbs.db", ".thumbnails/0002_c1s1_000151_01.jpg", "@eaDir/0002_c1s1_000151_01.jpg", "list.txt"],
)
def test_what_is_no_image_is_left_out_and_said(tmp_path, name):
    root = market(tmp_path / "market")
    file = root / "bounding_box_train" / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"x")
    with pytest.warns(UserWarning, match="1 files or folders are skipped"):
        data = identity_set("market1501", root, **SMALL)
    assert len(data.skipped) == 1


def file_of(name, number, camera, split, copy):
    """What a layout calls an image of an identity."""
    if name == "identity_csv":
        return f"{split}/{number}_{camera}_{copy}.jpg"
    if name == "msmt17":
        part = "train" if split == "train" else "test"
        return f"{part}/{number:04}/{number:04}_{copy:03}_{camera:02}_0.jpg"
    return f"{LAYOUTS[name].folders[split]}/{number:04}_c{camera}s1_{copy:06}_00.jpg"


def say_whom(root, name, file, number, camera, split):
    """The line of an image in a layout that has lists or a table."""
    if name == "identity_csv":
        with (root / "table.csv").open("a") as lines:
            lines.write(f"{file},{number},{camera},{split}\n")
    elif name == "msmt17":
        with (root / f"list_{split}.txt").open("a") as lines:
            lines.write(f"{file.partition('/')[2]} {number}\n")


def small_set(root, name, extra=()):
    """Four identities to train on and two others, seen by two cameras; and further images."""
    root.mkdir()
    if name == "identity_csv":
        (root / "table.csv").write_text("path,identity,camera,split\n")
    rows = [(n, c, "train", k) for n in (2, 3, 4, 5) for c in (1, 2) for k in (0, 1)]
    rows += [(n, c, s, 0) for n in (30, 31) for c in (1, 2) for s in ("query", "gallery")]
    for number, camera, split, copy in [*rows, *extra]:
        file = file_of(name, number, camera, split, copy)
        paint(root / file, number, copy)
        say_whom(root, name, file, number, camera, split)
    return root


FEW = SMALL | {"batch_size": 4, "images_per_identity": 2}
NOBODY = {"msmt17": (), "identity_csv": (-1,)}  # All others: junk and distractors.


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("number", [0, -1])
def test_junk_and_distractors_of_every_layout(tmp_path, name, number):
    if name == "msmt17" and number == -1:
        pytest.skip("its lists have no negative numbers")
    nobody = number in NOBODY.get(name, (0, -1))
    extra = [(number, 2, "gallery", 8), (number, 1, "query", 8)]
    extra += [(number, c, "train", k) for c in (1, 2) for k in (6, 7)]
    root = small_set(tmp_path / "set", name, extra)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = identity_set(name, root, **FEW)
    said = "4 training images of nobody" in " ".join(str(warning.message) for warning in caught)
    held = data.retrieval["validation"].query_labels.identities
    assert said == nobody
    assert len(data.class_names) + len(set(held)) == (4 if nobody else 5)

    test = data.retrieval["test"]
    image = test.gallery_names.index(file_of(name, *extra[0]))
    its_query = file_of(name, *extra[1])
    assert (its_query in test.query_names) == (not nobody)  # Nothing in a gallery is right for nobody.
    alike = np.ones((len(test.query_names), 2)), np.ones((len(test.gallery_names), 2))
    labels = test.query_labels, test.gallery_labels
    places, right = ranked_gallery(*alike, *labels, len(test.gallery_names), protocol=test.protocol)
    junk = nobody and number == -1
    for query, row in enumerate(places):
        assert (image in row) == (not junk)
        assert right[query][row == image].any() == (test.query_names[query] == its_query)
    assert (right.sum(axis=1) > 0).sum() == (4 if nobody else 5)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(
    "bad", ["Thumbs.db", ".hidden.jpg", ".thumbnails/", "thumbnails/", "@eaDir/", "__MACOSX/"]
)
def test_what_systems_leave_is_left_out_in_every_layout(tmp_path, name, bad):
    root = small_set(tmp_path / "set", name)
    folder, _, image = file_of(name, 2, 1, "train", 9).rpartition("/")
    file = f"{folder}/{bad}{image if bad.endswith('/') else ''}"
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_bytes((root / file_of(name, 2, 1, "train", 0)).read_bytes())
    in_list = name != "msmt17" or bad.endswith("/")  # Its names say the camera.
    if in_list:
        say_whom(root, name, file, 2, 1, "train")
    _, listed, _, left_out = list_identities(name, root)
    assert len(listed["train"].images) == 16 and file not in listed["train"].images
    assert len(left_out) == in_list and all(out.startswith(f"{folder}/{bad}") for out in left_out)


def split_scores(data, split):
    """Scores of a split by embeddings that are the images' own colours."""
    asked = data.retrieval[split]
    rows = [batches(part).mean(axis=(1, 2)) for part in (asked.query, asked.gallery)]
    labels = asked.query_labels, asked.gallery_labels
    return score_embeddings(*rows, *labels, "euclidean", asked.protocol).summary()


def test_a_set_by_one_camera_trains_and_is_scored(tmp_path):
    root = market(tmp_path / "market", cameras=(1,), each=6)
    with pytest.warns(
        UserWarning, match="Training images are all by one camera and test images are all"
    ):
        data = identity_set("market1501", root, **SMALL)
    asked = data.retrieval["validation"]
    assert len(asked.query_names) == 2 and not set(asked.query_names) & set(asked.gallery_names)
    for split, queries in (("validation", 2), ("test", 6)):
        scores = split_scores(data, split)
        assert scores["queries"] == queries and scores["queries_without_match"] == 0
        assert scores["rank_1"] > 0.5  # The colours are the identities'.
    record = tmp_path / "splits.csv"
    record.write_text(data.files.to_csv())
    with pytest.warns(UserWarning, match="all by one camera"):
        again = identity_set("market1501", root, recorded=record, **SMALL)
    assert split_scores(again, "test") == split_scores(data, "test")


def test_training_by_many_cameras_and_a_test_by_one(tmp_path):
    root = market(tmp_path / "market", others=())
    market(root, train=(), others=range(30, 36), cameras=(1,), each=3)
    with pytest.warns(UserWarning, match="Test images are all by one camera"):
        data = identity_set("market1501", root, **SMALL)
    assert data.retrieval["validation"].query_labels.cameras is not None
    assert split_scores(data, "test")["queries"] == 6


def test_a_table_without_cameras_asks_for_other_images_than_the_query(tmp_path):
    rows = []
    for split, names in (("train", "abcde"), ("query", "xy"), ("gallery", "xy")):
        for name in names:
            for number in range(4):
                path = f"{'train' if split == 'train' else 'test'}_{name}{number}.png"
                paint(tmp_path / path, ord(name), number)
                rows.append((path, name, split))
    table(tmp_path / "mine.csv", rows, ("path", "identity", "split"))
    with pytest.warns(UserWarning, match="Training images have no camera and test images have no"):
        data = identity_set("identity_csv", tmp_path, **SMALL)
    test = data.retrieval["test"]
    assert test.query_names == test.gallery_names
    places, right = ranked_gallery(np.eye(8), np.eye(8), test.query_labels, test.gallery_labels, 8)
    assert all(query not in row for query, row in enumerate(places))
    assert (places >= 0).sum() == 8 * 7 and right.sum() == 8 * 3


def test_a_test_split_that_cannot_be_scored_is_refused_before_training(tmp_path):
    root = market(tmp_path / "market", others=())
    for camera, number in ((1, 30), (2, 31)):  # Each is seen by one camera.
        market(root, train=(), others=[number], cameras=[camera])
    with pytest.raises(
        InputError, match="by another camera.* Received: 2 queries and 4 gallery images"
    ):
        identity_set("market1501", root, **SMALL)
