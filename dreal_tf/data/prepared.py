"""Prepared data sets of TensorFlow Datasets, read from their records."""

import difflib
import json
import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from dreal_tf.data.arrays import from_arrays
from dreal_tf.data.files import ImageTree, compared, digest, first_few, read_record, record_of
from dreal_tf.data.image_files import read_image
from dreal_tf.data.preprocessing import KNOWN_SETS, normalisation_of, preprocessing_of
from dreal_tf.data.sections import Options
from dreal_tf.data.splits import hold_out, make_splits
from dreal_tf.errors import InputError, checked_path

FILES_AT_A_TIME = 16  # From which records are read in turn.
BLOCK = 2048  # Records, still encoded, that are shuffled together.


class Records:
    """A source of examples in TFRecord files; see `dreal_tf.data.splits.make_splits`.

    The files are read in a shuffled order, several in turn, and blocks of their records are
    shuffled: not quite the order of a full shuffle, but without holding all records. The reader of
    TensorFlow Datasets would not repeat the order of an epoch in a resumed run.

    Args:
        info: `tfds.core.DatasetInfo`.
        split: str. One of its splits.
        ranges: sequence of pairs of int: from which to before which of the split's examples.
        keys: pair of str: the names of image and label.
        size: int or None, see `dreal_tf.data.image_files.read_image`.
        least_area: float in (0, 1] for a random-resized crop in training, or None.
    """

    def __init__(self, info, split, ranges, keys, size=None, least_area=None):
        ranges = [(start, stop) for start, stop in ranges if stop > start]
        self.size = sum(stop - start for start, stop in ranges)
        self.features = info.features
        self.keys = keys
        self.image_size = size
        self.least_area = least_area
        slices = [info.splits[f"{split}[{start}:{stop}]"].file_instructions for start, stop in ranges]
        pieces = [piece for instructions in slices for piece in instructions]
        columns = zip(*((piece.filename, piece.skip, piece.take) for piece in pieces), strict=True)
        self.files = tuple(map(np.array, columns))

    def shuffled(self, epoch_seed, batch_size, shard=(0, 1)):
        """Full batches, in an order that follows from `epoch_seed`."""
        worker, workers = shard
        order = _shuffled(tf.range(len(self.files[0])), epoch_seed)
        records = self._records(tuple(tf.gather(column, order) for column in self.files), shard)
        if workers > 1:
            # Some workers get a few records more than others: all read equally many, and start again.
            records = records.repeat().take(self.size // batch_size * batch_size // workers)

        def shuffled_block(number, block):
            seed = tf.random.experimental.stateless_fold_in(epoch_seed, tf.cast(number, tf.int32))
            return tf.gather(block, _shuffled(tf.range(tf.size(block)), seed))

        def read(position, record):
            seed = tf.random.experimental.stateless_fold_in(epoch_seed, tf.cast(position, tf.int32))
            seed = tf.random.experimental.stateless_fold_in(seed, worker)
            return self._example(record, seed, self.least_area)

        records = records.batch(BLOCK).enumerate().map(shuffled_block).unbatch()
        examples = records.enumerate().map(read, tf.data.AUTOTUNE)
        # A worker's last batch may be smaller: see `dreal_tf.data.splits.make_splits`.
        return examples.batch(batch_size, drop_remainder=workers == 1)

    def ordered(self, batch_size, chosen=None):
        """All examples, or the chosen ones, in batches."""
        records = self._records(self.files)
        if chosen is not None:  # Before they are decoded.
            numbered = records.enumerate().filter(lambda number, _: chosen[number])
            records = numbered.map(lambda _, record: record)
        return records.map(self._example, tf.data.AUTOTUNE).batch(batch_size)

    def _records(self, files, shard=(0, 1)):
        worker, workers = shard
        pieces = tf.data.Dataset.from_tensor_slices(files)
        by_file = len(self.files[0]) >= workers
        if by_file:
            pieces = pieces.shard(workers, worker)
        records = pieces.interleave(
            lambda path, skip, take: tf.data.TFRecordDataset(path).skip(skip).take(take),
            cycle_length=FILES_AT_A_TIME,
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        return records if by_file else records.shard(workers, worker)

    def _example(self, record, seed=None, least_area=None):
        import tensorflow_datasets as tfds

        image_key, label_key = self.keys
        encoded = {image_key: tfds.decode.SkipDecoding()}
        example = self.features.deserialize_example(record, decoders=encoded)
        channels = 1 if self.features[image_key].shape[-1] == 1 else 3
        image = read_image(example[image_key], self.image_size, channels, seed, least_area)
        return image, tf.cast(example[label_key], tf.int32)


def _shuffled(positions, seed):
    return tf.random.experimental.stateless_shuffle(positions, seed=seed)


USUAL_FOLDER = "~/tensorflow_datasets"
TEST_FRACTION = 0.2  # Held out if the data set has no labelled test images.
IMAGES_AT_A_TIME = 1000  # Decoded into memory.
HASHED = 2**31  # Bytes of the largest set whose files are hashed; of others size and time are compared.


def prepared_data_set(name, folder=None, **options):
    """Splits of any image-classification set of TensorFlow Datasets, or of one in its format.

    A set whose images have one size and fit into `memory_limit` is decoded once and held in memory; the
    records of any other are read during training, in an order that follows from (seed, epoch).

    The test split is "test" if it has labels, else "validation", else a fifth of the training images.
    The validation split is "validation" if that is not the test split, else it is held out of the
    training images: the same fraction of each class in memory, else a block of records.

    Args:
        name: str, as TensorFlow Datasets spells it: "cifar10", "imagenette/320px-v2",
            "cifar10:3.0.2".
        folder: str or path: the `data_dir` that holds the set's folder, that folder, or the folder
            of a prepared version; each may be the address of one in a bucket. None for TFDS_DATA_DIR, else ~/tensorflow_datasets.
        options: fields of `dreal_tf.data.sections.Options`: `download`, `image_size`, `memory_limit`, ...
    Returns:
        `Splits`.
    Raises:
        InputError: if the set is not there, unknown, or not for image classification; or if its files
            are not those that a run has recorded.
    Example:
        >>> try:
        ...     prepared_data_set("cifar10", "no/such/folder")
        ... except InputError as error:
        ...     print(str(error)[:41])
        Expected the prepared data set 'cifar10'.
    Source: https://www.tensorflow.org/datasets
    """
    settings = Options(**options)
    info = _builder(name, folder, settings.download).info
    record = _record(name, Path(info.data_dir), settings.recorded)
    keys = _image_and_label(name, info)
    stored = _split_names(info, keys)
    height, width, channels = info.features[keys[0]].shape
    shape = height, width, 1 if channels == 1 else 3
    looks = {"class_names": info.features[keys[1]].names, **normalisation_of(name, shape[2])}
    images = sum(info.splits[split].num_examples for split in stored.values())
    if None not in shape and settings.fits_memory(images, shape):
        splits = from_arrays(**_arrays(info, stored, keys), **looks, **options)
        return splits._replace(files=record)
    if settings.label_noise:
        raise InputError(
            "Expected data.label_noise=0 for records that are read during training. Received: "
            f"data.label_noise={settings.label_noise}. Raise data.memory_limit so that {name!r} is held "
            "in memory."
        )
    size = settings.image_size or (height if height == width else None)
    if size is None:
        raise InputError(
            f"Expected data.image_size for the images of {name!r}, which differ in size. Received: "
            "none. Set it, such as data.image_size=224."
        )
    sources = {
        split: Records(info, *records, keys, size, settings.resized_crop)
        for split, records in _ranges(info, stored, settings).items()
    }
    preprocessing = preprocessing_of((size, size, shape[2]), window="central", **looks)
    return make_splits(sources, settings, preprocessing, files=record)


def find_prepared(name, folder):
    """The folder of a data set's prepared version.

    Args:
        name: str, see `prepared_data_set`.
        folder: str or path.
    Returns:
        Path of the newest version if the name states none; None if there is none.
    Raises:
        InputError: if there are several configurations, and the name states none.
    Example:
        >>> print(find_prepared("cifar10", "no/such/folder"))
        None
    """
    base, _, version = name.partition(":")
    root = _path(folder)
    for start in (root / base, root):
        patterns = ("dataset_info.json", "*/dataset_info.json", "*/*/dataset_info.json")
        files = next(filter(None, (list(start.glob(pattern)) for pattern in patterns)), [])
        folders = [file.parent for file in files if _stored_name(file) == base.split("/")[0]]
        folders = [path for path in folders if not version or path.name == version]
        if len({path.parent for path in folders}) > 1:
            configurations = sorted(path.parent.name for path in folders)
            raise InputError(
                f"Expected one configuration of {name!r}. Received: {', '.join(configurations)} in "
                f"{str(start)!r}. Choose one, such as {base}/{configurations[0]}."
            )
        if folders:
            return max(folders, key=lambda path: [int(n) for n in path.name.split(".") if n.isdigit()])
    return None


def _record(name, folder, recorded):
    """The files of a prepared set, which must be the recorded ones; None if they are in a bucket.

    A file holds many images: once it has changed, none of them can be identified.
    """
    if not folder.is_dir():
        return None
    tree, names = ImageTree(folder), sorted(path.name for path in folder.iterdir() if path.is_file())
    if recorded is None:
        small = sum(tree.stamp(file)[0] for file in names) <= HASHED
        sha256 = {file: digest(tree.content(file)) for file in names} if small else {}
        return record_of(tree, {"": (names, [""] * len(names))}, names, sha256)
    record = compared(read_record(recorded), tree, names)
    if record.missing or record.changed:
        raise InputError(
            f"Expected the prepared data set {name!r} that the run was trained on. Received: "
            f"{str(folder)!r} with other files: {record.difference()}. Prepare the same version again, "
            "or start again with --fresh."
        )
    return record


def _path(folder):
    """A folder of this machine, or one in a bucket such as gs://mine/tfds."""
    if "://" not in str(folder):
        return checked_path(os.path.expanduser(folder))
    from etils import epath  # Comes with TensorFlow Datasets, which reads buckets through it.

    return epath.Path(str(folder))


def _stored_name(info_file):
    return json.loads(info_file.read_text(encoding="utf-8")).get("name")


def _builder(name, folder, download):
    import tensorflow_datasets as tfds

    root = _path(folder or os.environ.get("TFDS_DATA_DIR", USUAL_FOLDER))
    prepared = find_prepared(name, root)
    if prepared:
        return tfds.builder_from_directory(prepared)
    if not download:
        raise _missing(name, root, tfds.list_builders(with_community_datasets=False))
    try:
        builder = tfds.builder(name, data_dir=root)
        builder.download_and_prepare()
    except (OSError, ImportError, AssertionError, ValueError, tfds.download.DownloadError) as error:
        raise InputError(
            f"Expected TensorFlow Datasets to download {name!r} into {str(root)!r}. Received: "
            f"{type(error).__name__}: {str(error)[:300]}. Download it by hand as its page on "
            "https://www.tensorflow.org/datasets says, or give the folder that holds it."
        ) from error
    return builder


def _missing(name, root, known):
    base = name.split(":")[0].split("/")[0]
    state = "does not exist"
    if root.is_dir():
        contents = sorted(path.name for path in root.iterdir())
        state = f"holds {first_few(contents, most=10) or 'nothing'}"
    if base in known:
        cure = ", or let TensorFlow Datasets download it with --set data.download=true."
    else:
        ours = [*KNOWN_SETS, "folder", "generated"]
        near = difflib.get_close_matches(base, [*ours, *known], n=1)
        cure = f"; if the name is mistyped: did you mean {near[0]!r}?" if near else "."
    return InputError(
        f"Expected the prepared data set {name!r}. Received: the folder {str(root)!r}, which {state}. "
        f"Give the folder that holds {base}/<version> with --data-dir DIR{cure}"
    )


def _image_and_label(name, info):
    """The names of image and label among the features."""
    import tensorflow_datasets as tfds

    keys = info.supervised_keys or ("image", "label")
    kinds = tfds.features.Image, tfds.features.ClassLabel
    features = info.features if isinstance(info.features, tfds.features.FeaturesDict) else {}
    fits = len(keys) == 2 and all(
        key in features and isinstance(features[key], kind)
        for key, kind in zip(keys, kinds, strict=True)
    )
    if not fits or features[keys[0]].np_dtype != np.uint8:
        raise InputError(
            "Expected a data set for image classification: an image of bytes and a class label. "
            f"Received: {name!r} with the features {', '.join(sorted(features))}, and {keys} for supervised "
            "learning. Choose another data set."
        )
    if info.file_format.value != "tfrecord" or "train" not in info.splits:
        raise InputError(
            "Expected a split 'train' in TFRecord files. Received: "
            f"{name!r} with {', '.join(info.splits)} in {info.file_format.value} files. Prepare the "
            "data set in the TFRecord format."
        )
    return keys


def _split_names(info, keys):
    """The stored split for each of ours."""
    names = {"train": "train"}
    if "test" in info.splits and _has_labels(info, keys):
        names["test"] = "test"
    if "validation" in info.splits:
        names["validation" if "test" in names else "test"] = "validation"
    return names


def _has_labels(info, keys):
    """Whether the test split has labels: secret ones are -1, as in ImageNet's test split."""
    (_, labels), *_ = Records(info, "test", [(0, 1)], keys).ordered(1)
    return int(labels[0]) >= 0


def _arrays(info, names, keys):
    arrays = {}
    for split, stored in names.items():
        source = Records(info, stored, [(0, info.splits[stored].num_examples)], keys)
        try:
            batches = list(source.ordered(IMAGES_AT_A_TIME).as_numpy_iterator())
        except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
            raise InputError(
                f"Expected images that can be read in split {stored!r} of {info.name!r}. Received: "
                f"{str(error)[:300]}. Prepare the data set again."
            ) from error
        images, labels = zip(*batches, strict=True)
        arrays[split] = np.concatenate(images), np.concatenate(labels)
    if "test" not in arrays:
        images, labels = arrays["train"]
        kept, held = hold_out(labels, TEST_FRACTION, 0, info.features[keys[1]].names, "test")
        arrays["train"] = images[kept], labels[kept]
        arrays["test"] = images[held], labels[held]
    return arrays


def _ranges(info, names, options):
    """The records of each of our splits: pairs of stored split and ranges.

    Held out is a block, as TensorFlow Datasets shuffles records when it prepares them; the seed selects
    the block.
    """
    sizes = {split: info.splits[stored].num_examples for split, stored in names.items()}
    parts = {split: (stored, [(0, sizes[split])]) for split, stored in names.items()}
    start, end = parts["train"][1][0]
    if "test" not in parts:
        count = round(TEST_FRACTION * end)
        parts["test"] = "train", [(0, count)]
        start = count
    training = [(start, end)]
    if "validation" not in parts:
        count = max(round(options.validation_fraction * (end - start)), 1)
        blocks = (end - start) // count
        first = start + options.seed % blocks * count
        parts["validation"] = "train", [(first, first + count)]
        training = [(start, first), (first + count, end)]
    parts["train"] = "train", _first(training, options.train_limit)
    return parts


def _first(ranges, limit):
    """The ranges, cut so that they hold no more than `limit` examples."""
    kept = []
    for start, stop in ranges:
        stop = stop if limit is None else min(stop, start + limit)
        limit = None if limit is None else limit - (stop - start)
        kept.append((start, stop))
    return kept
