"""Splits of a data set, the tf.data pipeline behind them, and samples of their examples."""

import math
import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from sklearn.model_selection import train_test_split

from dreal_tf.data.augmentation import Augmentation
from dreal_tf.errors import InputError


class Splits(NamedTuple):
    """Training, validation and test data, batched and ready for `fit` and `evaluate`.

    Attributes:
        train: tf.data.Dataset of (images, labels), one epoch per iteration; its order and
            augmentation follow `clock`. Drops an incomplete batch.
        validation: tf.data.Dataset of (images, labels), held out of the training data, or the data
            set's own.
        test: tf.data.Dataset of (images, labels), read once at the end; its labels are ints.
        preprocessing: `Preprocessing` of the validation and test images.
        sizes: dict of int: images in "train", "validation" and "test".
        steps_per_epoch: int.
        clock: `EpochClock` that holds the epoch of `train`.
        soft_labels: bool. True: the labels of `train` and `validation` are float rows (batch,
            classes) that sum to 1, as `keras.losses.CategoricalCrossentropy` takes them. False:
            ints (batch,), as `keras.losses.SparseCategoricalCrossentropy` takes them.
        skipped: tuple of str: path and reason of each unreadable image that was skipped.
        files: `dreal_tf.data.files.FileRecord` of data in files; else None.
        notes: tuple of str, lines on how the data was read.
        sources: dict of the sources behind the three, see `make_splits`; samples read them.
        retrieval: dict of `RetrievalSet` for data of identities, else None: "validation", identities
            held out of the training data, and "test". `validation` and `test` above are then held-out
            images of the training identities.
        boxes_of: callable from test images (n, height, width, channels), as the network takes them, to the
            boxes (n, 4) of the objects that give the labels, see `dreal_tf.visualization.grad_cam.Composed`;
            None where they are unknown.
    """

    train: object
    validation: object
    test: object
    preprocessing: object
    sizes: dict
    steps_per_epoch: int
    clock: object
    soft_labels: bool = False
    skipped: tuple = ()
    files: object = None
    notes: tuple = ()
    sources: dict = {}
    retrieval: dict | None = None
    boxes_of: object = None

    @property
    def class_names(self):
        """Tuple of str, by label."""
        return self.preprocessing.class_names

    @property
    def image_shape(self):
        """Tuple (height, width, channels)."""
        return self.preprocessing.image_shape


class EpochClock:
    """The epoch of the next iteration over the training data; a callback sets it.

    Order and augmentation depend on (seed, epoch) alone, so a resumed run reads the same batches as an
    uninterrupted one.

    Example:
        >>> clock = EpochClock()
        >>> clock.epoch = 3
        >>> next(clock.now())
        3
    """

    def __init__(self):
        self.epoch = 0

    def now(self):
        """Yields the epoch once."""
        yield self.epoch


def hold_out(labels, fraction, seed, class_names, split="validation"):
    """Holds examples out, the same fraction of each class.

    Args:
        labels: int array (n,).
        fraction: float in (0, 1). Fraction to hold out.
        seed: int.
        class_names: sequence of str, by label.
        split: str, "validation" or "test", for the message.
    Returns:
        Pair of int arrays: the positions kept, and those held out, each in random order.
    Raises:
        InputError: if a class has fewer than two images, or there are too few in all.
    Example:
        >>> kept, held = hold_out(np.arange(40) % 2, 0.1, 0, ["a", "b"])
        >>> len(kept), sorted((held % 2).tolist())
        (36, [0, 0, 1, 1])
    """
    classes = len(class_names)
    counts = np.bincount(labels, minlength=classes)
    if counts.min() < 2:
        rarest = int(counts.argmin())
        raise InputError(
            "Expected at least two training images of each class, one of them to hold out. "
            f"Received: {counts[rarest]} of class {class_names[rarest]!r}. Add images, or remove the class."
        )
    if min(len(labels) * fraction, len(labels) * (1 - fraction)) < classes:
        needed = math.ceil(round(classes / min(fraction, 1 - fraction), 6))
        field = f"or change data.validation_fraction={fraction}"
        raise InputError(
            f"Expected at least one image of each of the {classes} classes to train on and one for {split}, "
            f"{fraction} of all. Received: {len(labels)} images. Add some, at least {needed - len(labels)}, "
            f"{field if split == 'validation' else 'or give test images of their own'}."
        )
    positions = np.arange(len(labels))
    return train_test_split(positions, test_size=fraction, random_state=seed, stratify=labels)


def add_label_noise(labels, fraction, classes, seed):
    """Labels, some of which are replaced by another class: symmetric noise.

    Args:
        labels: int array (n,).
        fraction: float in [0, 1). Fraction of the labels that become wrong.
        classes: int >= 2.
        seed: int. The same seed changes the same labels.
    Returns:
        int array (n,); each wrong label is any of the other classes with equal probability.
    Example:
        >>> noisy = add_label_noise(np.zeros(8, int), fraction=0.5, classes=3, seed=0)
        >>> int(np.sum(noisy > 0)), int(noisy.max()) < 3
        (4, True)
    """
    random = np.random.default_rng([seed, 1])  # Another stream than that of the held-out images.
    wrong = random.permutation(len(labels))[: round(fraction * len(labels))]
    noisy = np.array(labels)
    noisy[wrong] = (noisy[wrong] + random.integers(1, classes, len(wrong))) % classes
    return noisy


def make_splits(sources, options, preprocessing, steps_per_epoch=None, **fields):
    """Splits from three sources of examples.

    A source has `size`, the number of its examples; `shuffled(epoch_seed, batch_size, shard)`, the full
    batches of an epoch in an order that follows from `epoch_seed` alone; and `ordered(batch_size, chosen)`,
    the examples where `chosen`, a bool tensor (size,), is true, or all, in their order. Both give
    tf.data.Datasets of (images, int labels), images with values from 0 to the preprocessing's `top`.

    Args:
        sources: dict of sources: "train", "validation" and "test".
        options: `Options`.
        preprocessing: `Preprocessing`; the sources have resized the images already.
        steps_per_epoch: int; None: the number of full batches.
        **fields: further fields of `Splits`, such as `skipped` and `retrieval`.
    Returns:
        `Splits`.
    Raises:
        InputError: if there is not one batch to train on, or workers cannot share it equally.
    """
    train, clock = sources["train"], EpochClock()
    _check_batch(train.size, options)
    classes = len(preprocessing.class_names)
    augmentation = Augmentation(options, preprocessing.standardised, preprocessing.top, classes)

    def epoch_batches(epoch):
        epoch_seed = tf.cast(tf.stack([options.seed, epoch]), tf.int32)
        worker_seed = tf.random.experimental.stateless_fold_in(epoch_seed, options.shard[0])

        def augmented(step, batch):
            seed = tf.random.experimental.stateless_fold_in(worker_seed, tf.cast(step, tf.int32))
            return augmentation(*batch, seed)

        batches = train.shuffled(epoch_seed, options.batch_size, options.shard)
        return batches.enumerate().map(augmented, tf.data.AUTOTUNE)

    def evaluation(source, one_hot):
        batches = _ordered(source, preprocessing, options.batch_size, source.size, one_hot=one_hot)
        # Workers share the images, not the files, whose number the source relies on.
        return _with_sharding(batches, "DATA")

    steps = steps_per_epoch or train.size // options.batch_size
    epochs = tf.data.Dataset.from_generator(clock.now, output_signature=tf.TensorSpec((), tf.int64))
    batches = epochs.flat_map(epoch_batches).prefetch(tf.data.AUTOTUNE)
    if options.shard[1] == 1:
        batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
    else:
        # The examples are sharded already, and tf.distribute cuts each batch into one piece for each
        # replica of all workers: a worker's batch lasts for as many steps as there are workers. The
        # number of batches stays unknown, or `fit` would take it for the number of steps.
        batches = _with_sharding(batches, "OFF")
    return Splits(
        train=batches,
        validation=evaluation(sources["validation"], options.one_hot),
        test=evaluation(sources["test"], one_hot=False),
        preprocessing=preprocessing,
        sizes={split: sources[split].size for split in ("train", "validation", "test")},
        steps_per_epoch=steps,
        clock=clock,
        soft_labels=options.one_hot,
        sources=sources,
        **fields,
    )


def _ordered(source, preprocessing, batch_size, count, chosen=None, one_hot=False):
    """`count` examples of a source as the network takes them, in batches whose number is known."""
    classes = len(preprocessing.class_names)

    def prepared(images, labels):
        return preprocessing.standardised(images), tf.one_hot(labels, classes) if one_hot else labels

    batches = source.ordered(batch_size, chosen).map(prepared, tf.data.AUTOTUNE)
    batches = batches.apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))
    return batches.prefetch(tf.data.AUTOTUNE)


def _check_batch(images, options):
    if images < options.batch_size:
        raise InputError(
            f"Expected at least one batch of training images. Received: {images} images with "
            f"batch_size={options.batch_size}. Lower the batch size, or add images."
        )
    if options.batch_size % options.shard[1]:
        raise InputError(
            f"Expected a batch size that {options.shard[1]} workers can share equally. Received: "
            f"batch_size={options.batch_size}. Choose a multiple of {options.shard[1]}."
        )


def _with_sharding(batches, policy):
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy[policy]
    return batches.with_options(options)


def epoch_order(size, epoch_seed, batch_size, shard=(0, 1), sampler=None):
    """The positions of the images that a worker reads in an epoch: its rows of every full batch.

    Args:
        size: int. Number of images.
        epoch_seed: int32 tensor (2,): seed and epoch.
        batch_size: int. Images per step, over all workers.
        shard: pair of int: this worker's index, and the number of workers.
        sampler: `IdentitySampler`, whose batches follow each other; None: all images, shuffled.
    Returns:
        int32 tensor. Together, the workers read in each step the images that one alone would read.
    Example:
        >>> halves = [epoch_order(9, tf.constant([0, 7]), 4, (worker, 2)) for worker in (0, 1)]
        >>> [len(half) for half in halves], len(set(np.concatenate(halves).tolist()))
        ([4, 4], 8)
    """
    if sampler is None:
        order = tf.random.experimental.stateless_shuffle(tf.range(size), seed=epoch_seed)
    else:

        def sampled(seed_and_epoch):
            return sampler.order(*map(int, seed_and_epoch)).ravel().astype("int32")

        order = tf.numpy_function(sampled, [epoch_seed], tf.int32, stateful=False)
        order = tf.ensure_shape(order, (sampler.steps_per_epoch * sampler.batch_size,))
    worker, workers = shard
    steps = tf.size(order) // batch_size
    rows = tf.reshape(order[: steps * batch_size], (steps, workers, batch_size // workers))
    return tf.reshape(rows[:, worker], [-1])


def worker_shard():
    """The shard of the data that this process reads under the current distribution strategy.

    Returns:
        Pair of int: this worker's index, and the number of workers.
    Example:
        >>> worker_shard()
        (0, 1)
    """
    strategy = tf.distribute.get_strategy()
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or resolver is None:
        return 0, 1
    tasks = resolver.cluster_spec().as_dict()
    chiefs = len(tasks.get("chief", []))
    index = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
    return index, chiefs + len(tasks.get("worker", []))


def sample_examples(splits, count, seed=0):
    """A random sample of the test images, in random order and held in memory.

    Args:
        splits: `Splits`.
        count: int. Size of the sample; all test images if there are fewer.
        seed: int.
    Returns:
        Array (count, height, width, channels) of images as the network takes them, and int32 array (count,).
    Example:
        >>> from dreal_tf.data.arrays import from_arrays
        >>> arrays = np.arange(40.0).reshape(40, 1, 1, 1), np.arange(40) % 2
        >>> images, labels = sample_examples(from_arrays(arrays, arrays, ["a", "b"], batch_size=8), 5)
        >>> images.shape, bool((images.ravel() % 2 == labels).all())
        ((5, 1, 1, 1), True)
    """
    order, _ = _sample(splits.sizes["test"], count, seed)
    images, labels = zip(*sample_batches(splits, count, 100, seed).as_numpy_iterator(), strict=True)
    shuffled = np.argsort(np.argsort(order))  # From the order of the data to the random one.
    return np.concatenate(images)[shuffled], np.concatenate(labels)[shuffled].astype("int32")


def sample_batches(splits, count, batch_size, seed=0):
    """The same sample, but in the order of the data and read when needed; nothing else is decoded.

    Args:
        splits, count, seed: see `sample_examples`.
        batch_size: int.
    Returns:
        tf.data.Dataset of (images, labels), which knows its length.
    Example:
        >>> from dreal_tf.data.arrays import from_arrays
        >>> arrays = np.arange(40.0).reshape(40, 1, 1, 1), np.arange(40) % 2
        >>> batches = sample_batches(from_arrays(arrays, arrays, ["a", "b"], batch_size=8), 5, batch_size=3)
        >>> len(batches), [len(labels) for _, labels in batches]
        (2, [3, 2])
    """
    order, chosen = _sample(splits.sizes["test"], count, seed)
    source, chosen = splits.sources["test"], tf.constant(chosen)
    return _ordered(source, splits.preprocessing, batch_size, len(order), chosen)


def _sample(size, count, seed):
    """The positions of a random sample, in random order, and a mask (size,) of them."""
    order = np.random.default_rng(seed).permutation(size)[:count]
    return order, np.isin(np.arange(size), order)


def images_per_second(dataset, seconds=3.0):
    """The speed of a pipeline, without the first batch, which pays for the start.

    Args:
        dataset: tf.data.Dataset of (images, labels), batched; restarted at its end.
        seconds: float > 0. Duration of the measurement.
    Returns:
        Float: images per second.
    Example:
        >>> images_per_second(tf.data.Dataset.from_tensors((np.zeros((8, 2)), 0)), seconds=0.1) > 0
        True
    """
    count, batches = 0, iter(dataset.repeat())
    next(batches)
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        count += int(next(batches)[0].shape[0])
    return count / elapsed
