"""Data of identities: splits and retrieval sets, held-out identities, refused and skipped images."""

import shutil
import stat
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from market_layout import file_of, market, paint, small_set, table

from dreal_tf.data.identities import identity_set
from dreal_tf.data.identity_layouts import LAYOUTS
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


def test_held_out_identities_are_queried_and_not_trained_on(splits):
    retrieval = splits.retrieval["validation"]
    held = set(map(str, retrieval.query_labels.identities))
    assert len(held) == 2 and not held & set(splits.class_names)
    # One query by each of the three cameras; all six images are in the gallery, and one of each of the
    # eight others, right for nobody.
    assert len(retrieval.query_names) == 6 and len(retrieval.gallery_names) == 12 + 8
    assert sum(str(identity) in held for identity in retrieval.gallery_labels.identities) == 12
    assert set(retrieval.query_names) < set(retrieval.gallery_names)
    pairs = set(zip(*map(np.ndarray.tolist, retrieval.query_labels), strict=True))
    assert len(pairs) == 6


def test_no_image_is_in_two_splits(splits, root):
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
    first, resumed = (identity_set("market1501", root, **SMALL) for _ in range(2))

    def epoch_labels(data, epoch):
        data.clock.epoch = epoch
        return [labels.tolist() for _, labels in data.train.as_numpy_iterator()]

    epochs = [epoch_labels(first, epoch) for epoch in (0, 1)]
    assert epochs[0] != epochs[1] == epoch_labels(resumed, 1)
    for labels in epochs[1]:
        assert len(labels) == 8 and labels[0] == labels[3] != labels[4] == labels[7]
    assert len(epochs[1]) == first.steps_per_epoch


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
    for part in two_replicas.experimental_local_results(labels):
        assert len(part) == 4 and len(set(part.numpy().tolist())) == 1


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
    for path in (tmp_path, tmp_path / "market.zip"):
        packed = identity_set("market1501", path, **SMALL)
        assert packed.retrieval["test"].query_names == splits.retrieval["test"].query_names
        images, same = (batches(one.retrieval["test"].query) for one in (packed, splits))
        assert np.array_equal(images, same)
    with pytest.raises(InputError, match="Unpack it"):
        identity_set("market1501", tmp_path, memory_limit=0, **SMALL)


@pytest.mark.parametrize("damage", ["cut", "flipped", "bomb", "link", "upward"])
def test_a_damaged_or_hostile_zip_file_is_refused_by_name(root, tmp_path, damage):
    path = tmp_path / "market.zip"
    names = {
        "link": "query/link.jpg",
        "upward": "query/../../out.jpg",
        "bomb": "query/0001_c1s1_000001_00.jpg",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in root.rglob("*.jpg"):
            archive.write(file, file.relative_to(root))
        info = zipfile.ZipInfo(names.get(damage, "more.txt"))
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = (stat.S_IFLNK if damage == "link" else stat.S_IFREG) << 16
        archive.writestr(info, bytes(2**28 if damage == "bomb" else 9))
    content = bytearray(path.read_bytes())
    if damage == "flipped":  # In the list of the members, at the end of the file.
        content[-2000::7] = bytes(len(content[-2000::7]))
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    with pytest.raises(InputError, match=r"Received: .*market.zip'"):
        identity_set("market1501", path, **SMALL)
    assert list(tmp_path.iterdir()) == [path]


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


def test_lists_of_msmt(tmp_path):
    lines = {
        "train": [f"{i:04d}/{i:04d}_{n:03d}_{c:02d}_0303morning_0015_{n}.jpg {i}"
                  for i in range(5) for n, c in enumerate((1, 1, 14, 14))],
        "val": ["0000/0000_009_03_0303morning_0015_9.jpg 0"],
        "query": ["0000/0000_000_02_0303morning_0015_0.jpg 0"],
        "gallery": ["0000/0000_001_03_0303morning_0015_1.jpg 0"],
    }  # fmt: skip
    for split, images in lines.items():
        (tmp_path / f"list_{split}.txt").write_text("\n".join(images) + "\n")
        folder = tmp_path / ("train" if split in ("train", "val") else "test")
        for line in images:
            paint(folder / line.split()[0], int(line.split()[1]), 0)
    with pytest.warns(UserWarning, match="1 queries by cameras that took no image"):
        data = identity_set("msmt17", tmp_path, **SMALL | {"seed": 1})
    test = data.retrieval["test"]
    # Identity 0 is one like any other, and nobody is junk.
    assert test.protocol == Protocol(junk=None, distractor=None)
    assert test.query_labels.identities.tolist() == [0] and test.query_labels.cameras.tolist() == [2]
    assert (
        data.sizes["validation"] == 1 and data.sizes["train"] == 12
    )  # It has validation images of its own.


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
    # Without cameras no image is excluded, and a query is no image of the gallery.
    table(tmp_path / "mine.csv", [(p, i, s) for p, i, _, s in rows], ("path", "identity", "split"))
    retrieval = identity_set("identity_csv", tmp_path / "mine.csv", **SMALL).retrieval["validation"]
    assert retrieval.query_labels.cameras is None
    assert not set(retrieval.query_names) & set(retrieval.gallery_names)


def test_a_name_without_an_identity_stops_or_is_skipped_and_counted(tmp_path):
    root = market(tmp_path)
    paint(root / "query" / "holiday.jpg", 0, 0)
    with pytest.raises(InputError, match=r"0001_c1s1_000151_01.jpg. Received: 1 .*query/holiday.jpg"):
        identity_set("market1501", root, **SMALL)
    with pytest.warns(UserWarning, match="1 files or folders are skipped: query/holiday.jpg"):
        data = identity_set("market1501", root, on_bad_image="skip", **SMALL)
    assert len(data.retrieval["test"].query_names) == 18 and len(data.skipped) == 1


@pytest.mark.parametrize("memory_limit", [0, 1024])
def test_an_image_that_cannot_be_read_stops_or_is_skipped(tmp_path, memory_limit):
    root = market(tmp_path)
    (root / "query" / "0030_c1s1_999999_00.jpg").write_bytes(b"no image")
    options = SMALL | {"memory_limit": memory_limit}
    with pytest.raises(InputError, match="1 that cannot: .*query/0030_c1s1_999999_00.jpg"):
        identity_set("market1501", root, **options)
    with pytest.warns(UserWarning, match="1 files or folders are skipped"):
        data = identity_set("market1501", root, on_bad_image="skip", **options)
    assert len(data.retrieval["test"].query_names) == 18


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
    moved = identity_set("market1501", root, **options)  # Without the record they are sampled again.
    assert moved.retrieval["validation"].query_names != before.retrieval["validation"].query_names


def test_files_that_are_no_images_are_skipped_with_a_warning(tmp_path):
    root = market(tmp_path / "market")
    for name in (
        "Thumbs.db",
        ".thumbnails/0002_c1s1_000151_01.jpg",
        "@eaDir/0002_c1s1_1_01.jpg",
        "list.txt",
    ):
        file = root / "bounding_box_train" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")
    with pytest.warns(UserWarning, match="4 files or folders are skipped: .*; and 1 more"):
        data = identity_set("market1501", root, **SMALL)
    assert len(data.skipped) == 4


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
    warned = "4 training images of nobody" in " ".join(str(warning.message) for warning in caught)
    held = data.retrieval["validation"].query_labels.identities
    assert warned == nobody
    assert len(data.class_names) + len(set(held)) == (4 if nobody else 5)

    test = data.retrieval["test"]
    image = test.gallery_names.index(file_of(name, *extra[0]))
    its_query = file_of(name, *extra[1])
    assert (its_query in test.query_names) == (not nobody)  # Nothing in a gallery is right for nobody.
    equal = np.ones((len(test.query_names), 2)), np.ones((len(test.gallery_names), 2))
    labels = test.query_labels, test.gallery_labels
    ranked, right = ranked_gallery(*equal, *labels, len(test.gallery_names), protocol=test.protocol)
    junk = nobody and number == -1
    for query, row in enumerate(ranked):
        assert (image in row) == (not junk)
        assert right[query][row == image].any() == (test.query_names[query] == its_query)
    assert (right.sum(axis=1) > 0).sum() == (4 if nobody else 5)


def split_scores(data, split):
    """Scores of a split by embeddings that are the images' own colours."""
    retrieval = data.retrieval[split]
    rows = [batches(part).mean(axis=(1, 2)) for part in (retrieval.query, retrieval.gallery)]
    labels = retrieval.query_labels, retrieval.gallery_labels
    return score_embeddings(*rows, *labels, "euclidean", retrieval.protocol).summary()


def test_a_set_by_one_camera_trains_and_is_scored(tmp_path):
    root = market(tmp_path / "market", cameras=(1,), each=6)
    with pytest.warns(
        UserWarning, match="Training images are all by one camera and test images are all"
    ):
        data = identity_set("market1501", root, **SMALL)
    retrieval = data.retrieval["validation"]
    assert len(retrieval.query_names) == 2 and not set(retrieval.query_names) & set(
        retrieval.gallery_names
    )
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


def test_a_table_without_cameras_ranks_other_images_than_the_query(tmp_path):
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
    ranked, right = ranked_gallery(np.eye(8), np.eye(8), test.query_labels, test.gallery_labels, 8)
    assert all(query not in row for query, row in enumerate(ranked))
    assert (ranked >= 0).sum() == 8 * 7 and right.sum() == 8 * 3


def test_a_test_split_that_cannot_be_scored_is_refused_before_training(tmp_path):
    root = market(tmp_path / "market", others=())
    for camera, number in ((1, 30), (2, 31)):  # Each is seen by one camera.
        market(root, train=(), others=[number], cameras=[camera])
    with pytest.raises(
        InputError, match="by another camera.* Received: 2 queries and 4 gallery images"
    ):
        identity_set("market1501", root, **SMALL)
