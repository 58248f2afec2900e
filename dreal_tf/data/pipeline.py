"""The one tf.data pipeline, from the source of examples to batches for `fit`, and its speed."""

import time

import tensorflow as tf

from dreal_tf.data.augmentation import Augmentation
from dreal_tf.data.splits import EpochClock, Splits
from dreal_tf.errors import InputError


def splits_of(sources, options, preprocessing, skipped=(), steps=None, retrieval=None):
    """Splits from three sources of examples.

    A source has `size`, the number of its examples; `shuffled(draw, batch_size, share)`, which
    gives the full batches of an epoch in an order that follows from `draw` alone; and
    `ordered(batch_size)`, which gives all examples. Both give tf.data.Datasets of (images, int
    labels), images with values from 0 to the preprocessing's `top`.

    Args:
        sources: dict of sources: "train", "validation" and "test".
        options: `Options`.
        preprocessing: `Preprocessing`, of which the sources have done the resizing.
        skipped: sequence of str, see `Splits`.
        steps: int, the batches of an epoch; None: as many as are full.
        retrieval: dict, see `Splits`, or None.
    Returns:
        `Splits`.
    Raises:
        InputError: if there is not one batch to train on, or workers cannot share it equally.
    """
    train, clock = sources["train"], EpochClock()
    _check_batch(train.size, options)
    normalise, class_names = preprocessing.standardised, preprocessing.class_names
    augmentation = Augmentation(options, normalise, preprocessing.top, len(class_names))

    def epoch_of_batches(epoch):
        draw = tf.cast(tf.stack([options.seed, epoch]), tf.int32)
        own = tf.random.experimental.stateless_fold_in(draw, options.share[0])

        def varied(step, batch):
            seed = tf.random.experimental.stateless_fold_in(own, tf.cast(step, tf.int32))
            return augmentation(*batch, seed)

        batches = train.shuffled(draw, options.batch_size, options.share)
        return batches.enumerate().map(varied, tf.data.AUTOTUNE)

    def evaluation(source, one_hot):
        def prepared(images, labels):
            return normalise(images), tf.one_hot(labels, len(class_names)) if one_hot else labels

        batches = source.ordered(options.batch_size).map(prepared, tf.data.AUTOTUNE)
        steps = -(-source.size // options.batch_size)
        counted = batches.apply(tf.data.experimental.assert_cardinality(steps))
        # Workers share the images: sharing the files would cut up what the source counts on.
        return _sharded(counted.prefetch(tf.data.AUTOTUNE), "DATA")

    steps = steps or train.size // options.batch_size
    epochs = tf.data.Dataset.from_generator(clock.now, output_signature=tf.TensorSpec((), tf.int64))
    batches = epochs.flat_map(epoch_of_batches).prefetch(tf.data.AUTOTUNE)
    return Splits(
        train=_counted(batches, steps, options.share[1]),
        validation=evaluation(sources["validation"], options.one_hot),
        test=evaluation(sources["test"], one_hot=False),
        preprocessing=preprocessing,
        sizes={split: sources[split].size for split in ("train", "validation", "test")},
        steps_per_epoch=steps,
        clock=clock,
        soft_labels=options.one_hot,
        skipped=tuple(skipped),
        retrieval=retrieval,
    )


def order_of(size, draw, sampler=None):
    """The positions of an epoch's images in the order in which they come.

    Args:
        size: int. Images that there are.
        draw: int32 tensor (2,): seed and epoch.
        sampler: `IdentitySampler`, whose batches follow each other; None: all images, shuffled.
    Returns:
        int32 tensor.
    Example:
        >>> sorted(order_of(4, tf.constant([0, 7])).numpy().tolist())
        [0, 1, 2, 3]
    """
    if sampler is None:
        return tf.random.experimental.stateless_shuffle(tf.range(size), seed=draw)

    def order(seed_and_epoch):
        return sampler.order(*map(int, seed_and_epoch)).ravel().astype("int32")

    positions = tf.numpy_function(order, [draw], tf.int32, stateful=False)
    return tf.ensure_shape(positions, (sampler.steps_per_epoch * sampler.batch_size,))


def shared_order(order, batch_size, share):
    """The positions that a worker draws in an epoch: its rows of every full batch.

    Args:
        order: int tensor (n,): positions, shuffled.
        batch_size: int. Images per step, over all workers.
        share: pair of int: this worker's number, and how many there are.
    Returns:
        int tensor. Together, the workers draw each step what one alone would draw.
    Example:
        >>> shared_order(tf.range(9), 4, (1, 2)).numpy().tolist()
        [2, 3, 6, 7]
    """
    worker, workers = share
    steps = tf.size(order) // batch_size
    rows = tf.reshape(order[: steps * batch_size], (steps, workers, batch_size // workers))
    return tf.reshape(rows[:, worker], [-1])


def worker_share():
    """Which share of the data falls to this process under the current distribution strategy.

    Returns:
        Pair of int: this worker's number, and how many workers there are.
    Example:
        >>> worker_share()
        (0, 1)
    """
    strategy = tf.distribute.get_strategy()
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or resolver is None:
        return 0, 1
    tasks = resolver.cluster_spec().as_dict()
    chiefs = len(tasks.get("chief", []))
    number = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
    return number, chiefs + len(tasks.get("worker", []))


def _counted(batches, steps, workers):
    if workers == 1:
        return batches.apply(tf.data.experimental.assert_cardinality(steps))
    # The examples are shared out already, and tf.distribute cuts each batch into one piece for
    # each replica of all workers: a worker's batch lasts for `workers` steps. How many batches
    # there are is left unknown, or `fit` would take their number for that of the steps.
    return _sharded(batches, "OFF")


def _sharded(batches, policy):
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy[policy]
    return batches.with_options(options)


def _check_batch(images, options):
    if images == 0:
        raise InputError(
            f"Expected training images. Received: none, with data.train_limit={options.train_limit}. Look "
            "at the folder of the data and at the limit."
        )
    if images < options.batch_size:
        raise InputError(
            f"Expected at least one batch of training images. Received: {images} images with "
            f"batch_size={options.batch_size}. Lower the batch size."
        )
    if options.batch_size % options.share[1]:
        raise InputError(
            f"Expected a batch size that {options.share[1]} workers can share equally. Received: "
            f"batch_size={options.batch_size}. Choose a multiple of {options.share[1]}."
        )


def images_per_second(dataset, seconds=3.0):
    """Draws batches for a while, after a first one that pays for the start.

    Args:
        dataset: tf.data.Dataset of (images, labels), batched; begun anew where it ends.
        seconds: float > 0. How long to draw.
    Returns:
        Float: images per second.
    Example:
        >>> images_per_second(tf.data.Dataset.from_tensors((np.zeros((8, 2)), 0)), seconds=0.1) > 0
        True
    """
    count, batches = 0, iter(dataset.repeat())
    next(batches)
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        count += int(next(batches)[0].shape[0])
    return count / elapsed
