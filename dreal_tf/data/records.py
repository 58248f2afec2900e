"""Records of TensorFlow Datasets, read from their files as training goes."""

import tensorflow as tf

from dreal_tf.data.decoding import read_image

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
