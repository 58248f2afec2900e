"""The layer that holds centres: it moves them in training, alike on all replicas, and is kept."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.retrieval.metric_losses import Centres, identity_sums

EMBEDDINGS = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
LABELS = np.array([0, 0, 1, 1, 2, 2, 1, 1])


def trained(steps=3):
    centres = Centres(identities=4, rate=0.4)
    for _ in range(steps):
        loss = centres(EMBEDDINGS, LABELS, training=True)
    return centres, float(loss)


def test_centres_move_in_training_alone():
    centres, _ = trained()
    before = centres.centres.numpy().copy()
    loss = centres(EMBEDDINGS, LABELS)
    np.testing.assert_array_equal(centres.centres.numpy(), before)
    expected = 0.5 * np.square(EMBEDDINGS - before[LABELS]).sum(axis=1).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert not centres.trainable_variables and not before[3].any()


def test_they_come_to_lie_at_the_means():
    centres, _ = trained(60)
    for identity in range(3):
        mean = EMBEDDINGS[identity == LABELS].mean(axis=0)
        np.testing.assert_allclose(centres.centres[identity], mean, atol=1e-3)


def test_two_replicas_hold_the_centres_that_one_would(two_replicas):
    alone, _ = trained()
    with two_replicas.scope():
        centres = Centres(identities=4, rate=0.4)
        centres.build((None, 3))
    parts = [(EMBEDDINGS[i : i + 4], LABELS[i : i + 4]) for i in (0, 4)]

    @tf.function
    def step(embeddings, labels):
        return two_replicas.run(lambda e, y: centres(e, y, training=True), (embeddings, labels))

    def replica_values(kind):
        return two_replicas.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group][kind])
        )

    for _ in range(3):
        losses = step(replica_values(0), replica_values(1))
    for held in two_replicas.experimental_local_results(centres.centres.value):
        np.testing.assert_allclose(held, alone.centres.numpy(), rtol=1e-6)
    _, whole = trained()
    losses = two_replicas.experimental_local_results(losses)
    np.testing.assert_allclose(np.mean(losses), whole, rtol=1e-6)


def test_half_precision_keeps_centres_in_float32():
    centres = Centres(identities=4, dtype="mixed_bfloat16")
    loss = centres(EMBEDDINGS, LABELS, training=True)
    assert loss.dtype == tf.float32 and centres.centres.dtype == "float32"


def test_it_is_rebuilt_from_its_config_and_kept_in_a_file(tmp_path):
    again = Centres.from_config(Centres(identities=4, rate=0.4, name="held").get_config())
    assert (again.identities, again.rate, again.name) == (4, 0.4, "held")
    inputs = keras.Input((3,)), keras.Input((), dtype="int32")
    model = keras.Model(inputs, Centres(identities=4)(*inputs))
    assert model.output_shape == ()
    model([EMBEDDINGS, LABELS], training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.weights[0], model.weights[0])


@pytest.mark.parametrize("changed", [{"identities": 0}, {"rate": 1.5}, {"rate": -0.1}])
def test_what_does_not_fit_is_refused(changed):
    with pytest.raises(ValueError, match=f"`{next(iter(changed))}` must be"):
        Centres(**({"identities": 4} | changed))


def test_sums_of_identities_pass_no_gradient():
    embeddings = tf.constant([[1.0, 2.0], [3.0, 5.0], [4.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        sums, counts = identity_sums(embeddings, tf.constant([2, 0, 2]), count=3)
        total = tf.reduce_sum(sums)
    np.testing.assert_array_equal(sums, [[3, 5], [0, 0], [5, 6]])
    assert counts.numpy().tolist() == [1, 0, 2] and tape.gradient(total, embeddings) is None
