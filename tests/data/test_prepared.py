"""Sets of TensorFlow Datasets: small ones prepared here, and the ready-made ones where they are."""

import functools
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from fresh_process import PREPARED

from dreal_tf.data.prepared import find_prepared, prepared_data_set
from dreal_tf.data.splits import sample_batches
from dreal_tf.errors import InputError

tfds.disable_progress_bar()


def prepare(folder, name="shades", shape=(8, 8, 3), label=None, **sizes):
    """Each image is of one shade, its number; the label is odd or even."""
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=shape, encoding_format="png"),
            "label": label or tfds.features.ClassLabel(names=["even", "odd"]),
        }
    )

    def examples(count):
        side = [8 if length is None else length for length in shape]
        images = np.tile(np.arange(count, dtype="uint8")[:, None, None, None], (1, *side))
        return tf.data.Dataset.from_tensor_slices({"image": images, "label": np.arange(count) % 2})

    tfds.dataset_builders.store_as_tfds_dataset(
        name,
        "1.0.0",
        features=features,
        split_datasets={split: examples(count) for split, count in sizes.items()},
        data_dir=folder,
    )
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A function that prepares a set, once for all tests of the same sizes."""
    return functools.cache(lambda **sizes: prepare(tmp_path_factory.mktemp("tfds"), **sizes))


@pytest.fixture
def shades(prepared):
    return prepared(train=100, test=20)


def numbers(dataset):
    """The numbers of its images, in order; checks the labels on the way."""
    rows = []
    for images, labels in dataset.as_numpy_iterator():
        shades = np.rint(255 * (images[:, 0, 0, 0] * 0.229 + 0.485)).astype(int)
        np.testing.assert_array_equal(shades % 2, labels)
        rows += shades.tolist()
    return rows


# In memory, and as the records are read.
BOTH = pytest.mark.parametrize("memory_limit", [1024, 0])


@BOTH
def test_splits_part_the_images(shades, memory_limit):
    data = prepared_data_set("shades", shades, batch_size=16, memory_limit=memory_limit)
    assert data.class_names == ("even", "odd")
    assert data.image_shape == (8, 8, 3)
    assert data.sizes == {"train": 90, "validation": 10, "test": 20}
    assert sorted(numbers(data.test)) == list(range(20))
    assert [int(split.cardinality()) for split in (data.train, data.validation, data.test)] == [5, 1, 2]
    held = set(numbers(data.validation))
    trained = set()
    for data.clock.epoch in range(8):
        epoch = numbers(data.train)
        assert len(epoch) == len(set(epoch)) == 80 == 16 * data.steps_per_epoch
        trained |= set(epoch)
    assert len(held) == 10 and not held & trained and held | trained == set(range(100))


@BOTH
def test_a_sample_is_some_of_the_test_images_in_their_order(shades, memory_limit):
    data = prepared_data_set("shades", shades, batch_size=16, memory_limit=memory_limit)
    every, sampled = numbers(data.test), numbers(sample_batches(data, 7, batch_size=3, seed=5))
    assert sampled == [every[n] for n in sorted(np.random.default_rng(5).permutation(20)[:7])]


@BOTH
def test_order_follows_from_seed_and_epoch(shades, memory_limit):
    options = dict(batch_size=16, memory_limit=memory_limit, resized_crop=0.5)
    first, resumed, other = (prepared_data_set("shades", shades, seed=n, **options) for n in (0, 0, 1))

    def order(data, epoch):
        data.clock.epoch = epoch
        return numbers(data.train)

    third = order(first, 3)
    assert third == order(resumed, 3)
    assert third != order(first, 4) and third != order(other, 3)


@BOTH
def test_a_limit_keeps_fewer_images(shades, memory_limit):
    data = prepared_data_set("shades", shades, batch_size=16, memory_limit=memory_limit, train_limit=33)
    assert data.sizes == {"train": 33, "validation": 10, "test": 20}
    trained = set()
    for data.clock.epoch in range(10):
        trained |= set(numbers(data.train))
    assert len(trained) == 33 and not trained & set(numbers(data.validation))


def test_workers_share_the_records(shades):
    options = dict(batch_size=16, memory_limit=0)
    parts = [
        numbers(prepared_data_set("shades", shades, shard=(worker, 2), **options).train)
        for worker in (0, 1)
    ]
    assert [len(part) for part in parts] == [40, 40]
    assert not set(parts[0]) & set(parts[1])


def test_images_of_many_sizes_need_a_size(tmp_path):
    prepare(tmp_path, shape=(None, None, 3), train=60, test=20)
    with pytest.raises(InputError, match=r"differ in size.*Set it, such as data.image_size=224"):
        prepared_data_set("shades", tmp_path, batch_size=8)
    data = prepared_data_set("shades", tmp_path, batch_size=8, image_size=12)
    assert data.image_shape == next(iter(data.train))[0].shape[1:] == (12, 12, 3)
    assert sorted(numbers(data.test)) == list(range(20))


@BOTH
@pytest.mark.parametrize(
    ("stored", "sizes"),
    [
        ({"train": 60, "validation": 20}, {"train": 54, "validation": 6, "test": 20}),
        ({"train": 60, "validation": 30, "test": 20}, {"train": 60, "validation": 30, "test": 20}),
    ],
)
def test_a_validation_split_is_kept_or_is_the_test_split(prepared, memory_limit, stored, sizes):
    data = prepared_data_set("shades", prepared(**stored), batch_size=8, memory_limit=memory_limit)
    assert data.sizes == sizes


@BOTH
def test_without_a_test_split_a_fifth_is_held_out(prepared, memory_limit):
    data = prepared_data_set("shades", prepared(train=100), batch_size=8, memory_limit=memory_limit)
    assert data.sizes == {"train": 72, "validation": 8, "test": 20}
    parts = [set(numbers(split)) for split in (data.validation, data.test, data.train)]
    assert not parts[0] & parts[1] and not parts[2] & (parts[0] | parts[1])


@pytest.mark.parametrize("folder", [".", "shades", "shades/1.0.0"])
def test_the_folder_may_be_any_of_three(shades, folder):
    assert find_prepared("shades:1.0.0", shades / folder) == shades / "shades" / "1.0.0"


def test_a_wrong_folder_is_named_with_its_content(shades, tmp_path):
    with pytest.raises(
        InputError, match=rf"'cifar10'.*'{tmp_path}', which holds nothing.*download=true"
    ):
        prepared_data_set("cifar10", tmp_path)
    with pytest.raises(InputError, match=r"nowhere', which does not exist. Give .*cifar10/<version>"):
        prepared_data_set("cifar10", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"'shades:2.0.0'.*which holds .*shades"):
        prepared_data_set("shades:2.0.0", shades)
    with pytest.raises(InputError, match="did you mean 'digits'"):
        prepared_data_set("digitz", tmp_path)


def test_the_usual_folder_is_the_environments(shades, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(shades))
    assert prepared_data_set("shades").sizes["test"] == 20
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=rf"{tmp_path}/tensorflow_datasets'"):
        prepared_data_set("shades")


def test_a_set_that_is_not_for_classification_is_refused(tmp_path):
    prepare(tmp_path, label=tfds.features.Scalar(np.int64), train=20)
    with pytest.raises(
        InputError, match=r"image classification.*'shades' with the features image, label"
    ):
        prepared_data_set("shades", tmp_path)


@pytest.mark.parametrize(
    ("name", "test", "classes", "side"),
    [("cifar10", 10000, 10, 32), ("tiny_imagenet_50", 2500, 50, 64)],
)
def test_the_ready_made_ones(name, test, classes, side):
    if not PREPARED.is_dir():
        pytest.skip(f"{PREPARED} is not there")
    data = prepared_data_set(name, PREPARED, batch_size=100, memory_limit=0, train_limit=500)
    assert len(data.class_names) == classes
    assert data.image_shape == (side, side, 3)
    assert data.sizes["test"] == test
    batches = list(data.test.take(10).as_numpy_iterator())
    pixels = np.concatenate([images for images, _ in batches])
    assert np.abs(pixels.mean((0, 1, 2))).max() < 0.1 and np.abs(pixels.std((0, 1, 2)) - 1).max() < 0.1


def test_the_address_of_a_bucket_stays_an_address():
    """Reading from a real one is left to TensorFlow's file system and TensorFlow Datasets."""
    from etils import epath

    from dreal_tf import load_recipe
    from dreal_tf.data.prepared import _path

    path = _path("gs://mine/tfds") / "cifar10"
    assert isinstance(path, epath.Path) and str(path) == "gs://mine/tfds/cifar10"
    assert isinstance(_path("~/x"), Path) and _path("~/x").is_absolute()
    recipe = load_recipe("cifar10_resnet8_se").reading("gs://mine/tfds")
    assert recipe.data.folder == "gs://mine/tfds" and recipe.reading(None) == recipe


def test_label_noise_needs_labels_in_memory(shades):
    with pytest.raises(InputError, match="memory_limit"):
        prepared_data_set("shades", shades, batch_size=16, memory_limit=0, label_noise=0.1)


@BOTH
def test_a_set_with_other_content_is_not_that_of_the_run(prepared, shades, tmp_path, memory_limit):
    options = dict(batch_size=16, memory_limit=memory_limit)
    record = tmp_path / "splits.csv"
    record.write_text(prepared_data_set("shades", shades, **options).files.to_csv())
    shutil.copytree(shades, tmp_path / "copy")
    again = prepared_data_set("shades", tmp_path / "copy", recorded=record, **options)
    assert again.files.difference() == ""
    with pytest.raises(InputError, match="that the run was trained on.*changed"):
        prepared_data_set("shades", prepared(train=120, test=20), recorded=record, **options)
