"""Prepared data sets of TensorFlow Datasets, read from their records."""

import difflib
import json
import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from dreal_tf.data.arrays import from_arrays
from dreal_tf.data.catalogue import KNOWN_SETS, normalisation_of
from dreal_tf.data.decoding import read_image
from dreal_tf.data.file_record import compared, digest, read_record, record_of
from dreal_tf.data.listing import ImageTree
from dreal_tf.data.pipeline import splits_of
from dreal_tf.data.preprocessing import preprocessing_of
from dreal_tf.data.sections import Options
from dreal_tf.data.splits import hold_out
from dreal_tf.errors import InputError

FILES_AT_A_TIME = 16  # From which records are read in turn.
BLOCK = 2048  # Records, still encoded, that are shuffled together.


class Records:
    """A source of examples in TFRecord files; see `dreal_tf.data.pipeline.splits_of`.

    The files are read in a shuffled order, several in turn, and blocks of their records are
    shuffled: not quite the order that shuffling all would give, but without holding all.

    Args:
        info: `tfds.core.DatasetInfo`.
        split: str. Which of its splits.
        ranges: sequence of pairs of int: from which to before which of the split's examples.
        keys: pair of str: the names of image and label.
        size: int or None, see `dreal_tf.data.decoding.read_image`.
        least_area: float or None. Of a random-resized crop in training.
    """

    def __init__(self, info, split, ranges, keys, size=None, least_area=None):
        self.ranges = [(start, stop) for start, stop in ranges if stop > start]
        self.size = sum(stop - start for start, stop in self.ranges)
        self.features = info.features
        self.keys = keys
        self.image_size = size
        self.least_area = least_area
        pieces = [
            piece
            for start, stop in self.ranges
            for piece in info.splits[f"{split}[{start}:{stop}]"].file_instructions
        ]
        with tf.device("CPU"):
            self.files = (
                tf.constant([piece.filename for piece in pieces]),
                tf.constant([piece.skip for piece in pieces], tf.int64),
                tf.constant([piece.take for piece in pieces], tf.int64),
            )

    def shuffled(self, draw, batch_size, share=(0, 1)):
        """Full batches, in an order that follows from `draw`."""
        worker, workers = share
        count = len(self.files[0])
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=draw)
        files = tuple(tf.gather(column, order) for column in self.files)
        records = self._records(files, share)
        # Workers get a few records more or less than others: all draw equally many, and go around.
        own = self.size // batch_size * batch_size // workers
        records = records.repeat().take(own) if workers > 1 else records

        def block_shuffled(number, block):
            seed = tf.random.experimental.stateless_fold_in(draw, tf.cast(number, tf.int32))
            order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(block)), seed=seed)
            return tf.gather(block, order)

        def read(place, record):
            seed = tf.random.experimental.stateless_fold_in(draw, tf.cast(place, tf.int32))
            seed = tf.random.experimental.stateless_fold_in(seed, worker)
            return self._example(record, seed, self.least_area)

        records = records.batch(BLOCK).enumerate().map(block_shuffled).unbatch()
        examples = records.enumerate().map(read, tf.data.AUTOTUNE)
        # A worker's last batch may be smaller: see `dreal_tf.data.pipeline`.
        return examples.batch(batch_size, drop_remainder=workers == 1)

    def ordered(self, batch_size):
        """All examples, in batches."""
        return self._records(self.files).map(self._example, tf.data.AUTOTUNE).batch(batch_size)

    def _records(self, files, share=(0, 1)):
        worker, workers = share
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


USUAL_FOLDER = "~/tensorflow_datasets"
TEST_FRACTION = 0.2  # Held out where the data set brings no labelled test images.
IMAGES_AT_A_TIME = 1000  # Decoded into memory.
HASHED = 2**31  # Bytes of a set of which hashes are taken; of larger ones sizes and times are compared.


def prepared_data_set(name, folder=None, **options):
    """Splits of any image-classification set of TensorFlow Datasets, or of one in its format.

    Sets whose images have one size and fit into `memory_limit` are decoded once and held in memory;
    of others, the records are read as training goes, in an order that follows from (seed, epoch).

    The test split is "test" where it has labels, else "validation", else a fifth of the training
    images. The validation split is "validation" where that is not the test split, else held out of
    the training images: the same share of each class in memory, else a block of records.

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
    chosen = Options(**options)
    info = _builder(name, folder, chosen.download).info
    record = _record(name, Path(info.data_dir), chosen.recorded)
    keys = _image_and_label(name, info)
    names = _split_names(info, keys)
    shape = info.features[keys[0]].shape
    shape = (*shape[:2], 1 if shape[2] == 1 else 3)
    mean, deviation = ([255 * value for value in row] for row in normalisation_of(name, shape[2]))
    common = {"class_names": info.features[keys[1]].names, "mean": mean, "deviation": deviation}
    images = sum(info.splits[split].num_examples for split in names.values())
    if None not in shape and chosen.fits_memory(images, shape):
        splits = from_arrays(**_arrays(info, names, keys), **common, **options)
        return splits._replace(files=record)
    if chosen.label_noise:
        raise InputError(
            "Expected data.label_noise=0 where records are read as training goes. Received: "
            f"data.label_noise={chosen.label_noise}. Raise data.memory_limit so that {name!r} is held "
            "in memory."
        )
    size = chosen.image_size or (shape[0] if shape[0] == shape[1] else None)
    if size is None:
        raise InputError(
            f"Expected data.image_size for the images of {name!r}, which differ in size. Received: "
            "none. Set it, such as data.image_size=224."
        )
    sources = {
        split: Records(info, stored, ranges, keys, size, chosen.resized_crop)
        for split, (stored, ranges) in _ranges(info, names, chosen).items()
    }
    prepared = preprocessing_of((size, size, shape[2]), window="central", **common)
    return splits_of(sources, chosen, prepared)._replace(files=record)


def find_prepared(name, folder):
    """The folder of a data set's prepared version.

    Args:
        name: str, see `prepared_data_set`.
        folder: str or path.
    Returns:
        Path, of the newest version where the name states none; None if there is none.
    Raises:
        InputError: if several configurations lie there, and the name states none.
    Example:
        >>> print(find_prepared("cifar10", "no/such/folder"))
        None
    """
    base, _, version = name.partition(":")
    folder = _place(folder)
    for place in (folder / base, folder):
        found = [place / "dataset_info.json"] if (place / "dataset_info.json").is_file() else []
        found = found or list(place.glob("*/dataset_info.json"))
        found = found or list(place.glob("*/*/dataset_info.json"))
        found = [path.parent for path in found if _stored_name(path) == base.split("/")[0]]
        found = [path for path in found if not version or path.name == version]
        if len({path.parent for path in found}) > 1:
            configurations = sorted(path.parent.name for path in found)
            raise InputError(
                f"Expected one configuration of {name!r}. Received: {', '.join(configurations)} in "
                f"{str(place)!r}. Choose one, such as {base}/{configurations[0]}."
            )
        if found:
            return max(found, key=lambda path: [int(n) for n in path.name.split(".") if n.isdigit()])
    return None


def _record(name, folder, recorded):
    """The files of a prepared set, which a run's must be; None where they lie in a bucket.

    Images lie together in them, so that no image can be told from another once a file has changed.
    """
    if not folder.is_dir():
        return None
    tree, names = ImageTree(folder), sorted(path.name for path in folder.iterdir() if path.is_file())
    if recorded is None:
        small = sum(tree.stamp(file)[0] for file in names) <= HASHED
        sha256 = {file: digest(tree.content(file)) for file in names} if small else {}
        return record_of(tree, [("", file, "") for file in names], names, sha256)
    record = compared(read_record(recorded), tree, names)
    if record.missing or record.changed:
        raise InputError(
            f"Expected the prepared data set {name!r} that the run was trained on. Received: "
            f"{str(folder)!r} with other files: {record.difference()}. Prepare the same version again, "
            "or train anew with --fresh."
        )
    return record


def _place(folder):
    """A folder of this machine, or one in a bucket such as gs://mine/tfds."""
    if "://" not in str(folder):
        return Path(folder).expanduser()
    from etils import epath  # Comes with TensorFlow Datasets, which reads buckets by it.

    return epath.Path(str(folder))


def _stored_name(info_file):
    return json.loads(info_file.read_text(encoding="utf-8")).get("name")


def _builder(name, folder, download):
    import tensorflow_datasets as tfds

    root = _place(folder or os.environ.get("TFDS_DATA_DIR", USUAL_FOLDER))
    found = find_prepared(name, root)
    if found:
        return tfds.builder_from_directory(found)
    if not download:
        raise _not_found(name, root, tfds.list_builders(with_community_datasets=False))
    try:
        builder = tfds.builder(name, data_dir=root)
        builder.download_and_prepare()
    except (OSError, ImportError, AssertionError, ValueError, tfds.download.DownloadError) as error:
        raise InputError(
            f"Expected TensorFlow Datasets to fetch {name!r} into {str(root)!r}. Received: "
            f"{type(error).__name__}: {str(error)[:300]}. Fetch it by hand as its page on "
            "https://www.tensorflow.org/datasets says, or give the folder that holds it."
        ) from error
    return builder


def _not_found(name, root, known):
    base = name.split(":")[0].split("/")[0]
    place = "which does not exist"
    if root.is_dir():
        holds = sorted(path.name for path in root.iterdir())
        place = f"which holds {', '.join(holds[:10]) or 'nothing'}{', ...' if holds[10:] else ''}"
    if base in known:
        cure = ", or let TensorFlow Datasets fetch it with --set data.download=true."
    else:
        ours = [*KNOWN_SETS, "folder", "generated"]
        near = difflib.get_close_matches(base, [*ours, *known], n=1)
        cure = f"; if the name is mistyped: did you mean {near[0]!r}?" if near else "."
    return InputError(
        f"Expected the prepared data set {name!r}. Received: the folder {str(root)!r}, {place}. "
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
            f"Received: {name!r} with the features {', '.join(sorted(features))}, of which {keys} are for "
            "supervised learning. Choose another data set."
        )
    if info.file_format.value != "tfrecord" or "train" not in info.splits:
        raise InputError(
            "Expected a split 'train' in TFRecord files. Received: "
            f"{name!r} with {', '.join(info.splits)} in {info.file_format.value} files. Prepare the "
            "data set in the TFRecord format."
        )
    return keys


def _split_names(info, keys):
    """Which stored split serves as which of ours."""
    names = {"train": "train"}
    if "test" in info.splits and _has_labels(info, keys):
        names["test"] = "test"
    if "validation" in info.splits:
        names["validation" if "test" in names else "test"] = "validation"
    return names


def _has_labels(info, keys):
    """A split whose labels are kept secret has -1 in their place, as ImageNet's test split."""
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
        kept, held = hold_out(labels, TEST_FRACTION, 0, info.features[keys[1]].names)
        arrays["train"] = images[kept], labels[kept]
        arrays["test"] = images[held], labels[held]
    return arrays


def _ranges(info, names, options):
    """Which records of which stored split each of ours reads: pairs (split, ranges).

    What is held out is a block, as TensorFlow Datasets shuffles records when it prepares them; the
    seed says which block.
    """
    parts = {
        split: (stored, [(0, info.splits[stored].num_examples)]) for split, stored in names.items()
    }
    begin, end = parts["train"][1][0]
    if "test" not in parts:
        count = round(TEST_FRACTION * end)
        parts["test"] = "train", [(0, count)]
        begin = count
    training = [(begin, end)]
    if "validation" not in parts:
        count = max(round(options.validation_fraction * (end - begin)), 1)
        blocks = (end - begin) // count
        first = begin + options.seed % blocks * count
        parts["validation"] = "train", [(first, first + count)]
        training = [(begin, first), (first + count, end)]
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
