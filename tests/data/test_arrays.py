"""Splits of arrays: the images of an epoch, their order and labels, and wrong input."""

import numpy as np
import pytest
import tensorflow as tf
from fresh_process import ended

from dreal_tf.data.arrays import Arrays, from_arrays
from dreal_tf.errors import InputError

BATCH = 8


def numbered(count=44):
    """Images that each hold their own number, so that a batch tells which images are in it."""
    images = np.tile(np.arange(count, dtype="uint8")[:, None, None, None], (1, 4, 4, 1))
    return images, np.arange(count) % 2


def splits(**options):
    train, test = numbered(), numbered(10)
    return from_arrays(train, test, ["even", "odd"], **({"batch_size": BATCH} | options))


def read(splits, epoch):
    """The numbers of the images of an epoch, in order, and all of its batches' bytes."""
    splits.clock.epoch = epoch
    batches = list(splits.train.as_numpy_iterator())
    return np.concatenate([images[:, 0, 0, 0] for images, _ in batches]), batches


def test_an_epoch_holds_full_batches_of_different_images():
    data = splits()
    numbers, batches = read(data, 0)
    assert data.sizes == {"train": 39, "validation": 5, "test": 10}
    assert data.steps_per_epoch == len(batches) == int(data.train.cardinality()) == 4
    assert {len(images) for images, _ in batches} == {BATCH}
    assert len(set(numbers)) == 32
    for images, labels in batches:
        np.testing.assert_array_equal(images[:, 0, 0, 0] % 2, labels)


def test_training_and_validation_share_no_image():
    data = splits(seed=3)
    held = np.concatenate([images[:, 0, 0, 0] for images, _ in data.validation.as_numpy_iterator()])
    trained = np.concatenate([read(data, epoch)[0] for epoch in range(8)])
    assert len(held) == 5
    assert set(held) | set(trained) == set(range(44))
    assert not set(held) & set(trained)


def test_evaluation_drops_nothing_and_keeps_the_order():
    images = [batch for batch, _ in splits().test.as_numpy_iterator()]
    assert [len(batch) for batch in images] == [8, 2]
    np.testing.assert_array_equal(np.concatenate(images)[:, 0, 0, 0], np.arange(10))


@pytest.mark.parametrize(
    "varied", [{}, {"crop_padding": 1, "flip": True, "rand_augment": 1, "mix_up": 0.5}]
)
def test_batches_follow_from_seed_and_epoch_alone(varied):
    data = splits(seed=1, **varied)
    first, again, later = (read(data, epoch)[1] for epoch in (2, 2, 3))
    tf.random.set_seed(99)  # Must not matter, nor must the state of any other generator.
    resumed = read(splits(seed=1, **varied), 2)[1]
    other_seed = read(splits(seed=2, **varied), 2)[1]
    for position in (0, 1):
        expected = [batch[position] for batch in first]
        for epoch in (again, resumed):
            np.testing.assert_array_equal([batch[position] for batch in epoch], expected)
    assert not np.array_equal(first[0][0], later[0][0])
    assert not np.array_equal(first[0][0], other_seed[0][0])


def test_a_new_process_reads_the_same():
    program = (
        "import hashlib, numpy as np\n"
        "from dreal_tf.data.built_in import generated\n"
        "data = generated(shape=(8, 8, 3), classes=4, images=64, batch_size=16, seed=5,"
        " crop_padding=2, erasing=0.5, cut_mix=1.0)\n"
        "data.clock.epoch = 3\n"
        "parts = [part.tobytes() for batch in data.train.as_numpy_iterator() for part in batch]\n"
        "digest = hashlib.sha256(b''.join(parts)).hexdigest()\n"
    )
    variables = {}
    exec(program, variables)
    other = ended("-c", program + "print(digest)").stdout
    assert other.strip().splitlines()[-1] == variables["digest"]


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_each_batch(workers):
    source, epoch_seed = Arrays(*numbered()), (0, 7)
    numbers = np.stack([images[:, 0, 0, 0] for images, _ in source.shuffled(epoch_seed, BATCH)])
    parts = []
    for worker in range(workers):
        batches = source.shuffled(epoch_seed, BATCH, (worker, workers))
        row = np.concatenate([images[:, 0, 0, 0] for images, _ in batches])
        parts.append(row.reshape(len(numbers), BATCH // workers))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), numbers)


def test_a_limit_keeps_fewer_images():
    data = splits(train_limit=20)
    assert data.sizes == {"train": 20, "validation": 5, "test": 10}
    trained = np.concatenate([read(data, epoch)[0] for epoch in range(12)])
    assert len(set(trained)) == 20


@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_label_noise_makes_training_labels_wrong_and_no_others(fraction):
    labels = np.arange(400) % 4
    pair = np.zeros((400, 2, 2, 1), "uint8") + np.arange(400).reshape(-1, 1, 1, 1) % 251, labels
    clean, noisy, again = (
        from_arrays(pair, pair, list("abcd"), batch_size=8, label_noise=noise)
        for noise in (0.0, fraction, fraction)
    )

    def of(data, split):
        batches = list(getattr(data, split))
        return [np.concatenate([batch[part].numpy() for batch in batches]) for part in (0, 1)]

    for split in ("validation", "test"):
        np.testing.assert_array_equal(of(noisy, split)[1], of(clean, split)[1])
    (images, given), (same, true) = of(noisy, "train"), of(clean, "train")
    np.testing.assert_array_equal(images, same)
    assert np.sum(given != true) == fraction * 360 and set(given) == set(range(4))
    np.testing.assert_array_equal(of(again, "train")[1], given)


def test_images_are_normalised_by_channel():
    images = np.zeros((20, 2, 2, 3), "uint8") + np.uint8([10, 20, 30])
    pair = images, np.arange(20) % 2
    data = from_arrays(pair, pair, ["a", "b"], mean=[4, 5, 6], deviation=[2, 3, 8], batch_size=4)
    for split in (data.train, data.validation, data.test):
        batch = next(iter(split))[0].numpy()
        assert batch.dtype == np.float32
        np.testing.assert_allclose(batch, np.broadcast_to([3, 5, 3], batch.shape))


def test_images_are_scaled_whole():
    images = np.zeros((20, 4, 4, 1), "uint8")
    images[:, :2] = 200
    pair = images, np.arange(20) % 2
    data = from_arrays(pair, pair, ["a", "b"], batch_size=4, image_size=2)
    assert data.image_shape == (2, 2, 1)
    # Weights of a triangle two pixels wide: 3/4, 3/4, 1/4, 0, over their sum.
    seen = next(iter(data.test))[0][0, :, :, 0]
    np.testing.assert_array_equal(seen, [[round(200 * 6 / 7)] * 2, [round(200 * 1 / 7)] * 2])


PAIR = np.zeros((20, 4, 4, 1)), np.arange(20) % 2


@pytest.mark.parametrize(
    ("train", "test", "options", "message"),
    [
        ((PAIR[0], PAIR[1] + 1), PAIR, {}, "training labels from 0 to 1, .* 1 to 2. Number"),
        (PAIR, (PAIR[0], PAIR[1] - 1), {}, "test labels from 0 to 1, .* -1 to 0. Number"),
        (PAIR, (PAIR[0], PAIR[1] * 1.0), {}, "float64 labels"),
        (PAIR, (PAIR[0][..., 0], PAIR[1]), {}, r"Received: shapes \(20, 4, 4\)"),
        (PAIR, (PAIR[0][:, :2], PAIR[1]), {}, r"one shape. .*'test': \(2, 4, 1\)"),
        ((PAIR[0], PAIR[1] * 0), PAIR, {}, "Received: 0 of class 'b'"),
        (
            PAIR,
            PAIR,
            {"train_limit": 0},
            "Expected train_limit to be greater than 0. Received: train_limit=0",
        ),
        (
            PAIR,
            PAIR,
            {"validation_fraction": 0.01},
            "change data.validation_fraction=0.01",
        ),
        (PAIR, PAIR, {"batch_size": 19}, "batch_size=19. Lower"),
        (PAIR, PAIR, {"batch_size": 5, "shard": (0, 2)}, "2 workers can share .*batch_size=5"),
    ],
)
def test_input_that_does_not_fit_is_refused(train, test, options, message):
    with pytest.raises(InputError, match=message):
        from_arrays(train, test, ["a", "b"], **({"batch_size": 4} | options))


@pytest.mark.parametrize(
    "options", [dict(flip=True), dict(crop_padding=2), dict(erasing=0.5), dict(resized_crop=0.3)]
)
def test_augmentation_differs_between_epochs(options):
    """All images are the same, so that only augmentation can tell epochs apart."""
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), "uint8")
    images, labels = np.repeat(image, 44, axis=0), np.arange(44) % 2
    data = from_arrays((images, labels), (images, labels), ["a", "b"], batch_size=BATCH, **options)
    epochs = [np.concatenate([images for images, _ in read(data, epoch)[1]]) for epoch in (0, 1, 0)]
    assert not np.array_equal(epochs[0], epochs[1])
    np.testing.assert_array_equal(epochs[0], epochs[2])
