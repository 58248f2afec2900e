"""The losses of embeddings as part of the task loss: with and without the method, replicas, kept."""

import keras
import numpy as np
import pytest
from support import compiled, logits_loss, values

from dreal_tf import DREAL, residual_network
from dreal_tf.errors import InputError
from dreal_tf.layers import SqueezeExcite
from dreal_tf.model import EmbeddingLosses
from dreal_tf.networks.backbones import embedding_network
from dreal_tf.retrieval.metric_losses import batch_hard_triplet_loss, centre_loss, weighted_triplet_loss

LABELS = np.repeat(np.int32([0, 1, 2, 3]), 2)
IMAGES = (
    np.random.default_rng(0).normal(size=(8, 8, 8, 1)).astype("float32") + LABELS[:, None, None, None]
)
CENTRES = dict(identities=4, margin=0.5, triplet_weight=2.0, centre_weight=0.1)


def network(**options):
    keras.utils.set_random_seed(0)
    arguments = dict(depth=8, width=0.25, attention=SqueezeExcite(2), bnneck=True)
    return residual_network((8, 8, 1), 4, **(arguments | options))


def model(critic=None, losses=None, **settings):
    losses = EmbeddingLosses(**CENTRES) if losses is None else losses
    return compiled(network(), critic=critic, embedding_losses=losses, eager=True, **settings)


def test_the_neck_stands_between_feature_and_logits():
    made = network()
    outputs = made(IMAGES)
    neck, logits = made.get_layer("neck"), made.get_layer("logits")
    assert neck.beta is None and not logits.use_bias
    np.testing.assert_allclose(neck(outputs["feature"]), outputs["embedding"], rtol=1e-6)
    expected = outputs["embedding"].numpy() @ logits.kernel.numpy()
    np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-5, atol=1e-6)
    unit = embedding_network(DREAL(made, critic=None).network)(IMAGES).numpy()
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)
    raw = embedding_network(made, unit=False)(IMAGES)
    np.testing.assert_allclose(raw, outputs["embedding"], rtol=1e-6)


def test_the_sum_is_that_of_its_parts():
    features = np.random.default_rng(1).normal(size=(8, 3)).astype("float32")
    for triplet, alone in (
        ("batch_hard", batch_hard_triplet_loss(features, LABELS, 0.5)),
        ("weighted", weighted_triplet_loss(features, LABELS)),
    ):
        losses = EmbeddingLosses(**(CENTRES | {"triplet": triplet}))
        total, parts = losses(features, LABELS, training=True)
        centres = centre_loss(features, LABELS, np.zeros((4, 3), "float32"))
        assert float(parts["triplet_loss"]) == pytest.approx(float(alone))
        assert float(total) == pytest.approx(2 * float(alone) + 0.1 * float(centres))
        assert losses.centres.centres.numpy().any()
        rows = 0.9 * np.eye(4, dtype="float32")[LABELS] + 0.025  # Smoothed labels say the same.
        again = EmbeddingLosses(**(CENTRES | {"triplet": triplet}))(features, rows)
        assert float(again[0]) == pytest.approx(float(total))


@pytest.mark.parametrize("critic", [None, "paper"])
def test_they_join_the_task_loss_in_training_alone(critic):
    made = model(critic)
    outputs = made.trajectory_network(IMAGES, training=True)
    plain = logits_loss()(LABELS, outputs["logits"])
    triplets = batch_hard_triplet_loss(outputs["feature"], LABELS, 0.5)
    logs = made.train_on_batch(IMAGES, LABELS, return_dict=True)
    expected = plain + 2 * triplets + 0.1 * logs["centre_loss"]
    assert logs["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert logs["triplet_loss"] == pytest.approx(float(triplets), rel=1e-5)
    tested = made.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    assert not {"triplet_loss", "centre_loss"} & set(tested)
    plain = logits_loss()(LABELS, made.network(IMAGES))
    assert tested["loss"] == pytest.approx(float(plain), rel=1e-5)


def test_at_weight_zero_the_method_is_the_baseline_to_the_bit():
    kept = []
    for critic, settings in ((None, {}), ("paper", {"actor_weight": 0.0, "trust": False})):
        made = model(critic, **settings)
        made.fit(IMAGES, LABELS, batch_size=8, epochs=3, shuffle=False, verbose=0)
        kept.append(values(made.network.variables + made.embedding_losses.variables))
    assert all(np.array_equal(one, other) for one, other in zip(*kept, strict=True))


@pytest.mark.parametrize("critic", [None, pytest.param("paper", marks=pytest.mark.slow)])
def test_two_replicas_train_as_one_that_mines_each_half(two_replicas, critic):
    """Triplets are looked for in each replica's share; the centres are one set."""
    settings = dict(actor_weight=0.5, estimator="exact", reward_fraction=1.0) if critic else {}

    def trained():
        keras.utils.set_random_seed(0)
        options = dict(synchronized=True)
        losses = EmbeddingLosses(4, "none", centre_weight=0.5)
        made = compiled(network(**options), critic=critic, embedding_losses=losses, **settings)
        made.fit(IMAGES, LABELS, batch_size=8, epochs=5, shuffle=False, verbose=0)
        return values(made.network.variables + made.embedding_losses.variables)

    one = trained()
    with two_replicas.scope():
        two = trained()
    for ours, theirs in zip(one, two, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=2e-3, atol=2e-4)


def test_a_model_is_kept_with_its_centres(tmp_path):
    made = model("paper")
    made.train_on_batch(IMAGES, LABELS)
    made.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.run_eagerly = True
    assert loaded.embedding_losses.get_config() == made.embedding_losses.get_config()
    pairs = zip(made.embedding_losses.variables, loaded.embedding_losses.variables, strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert loaded.train_on_batch(IMAGES, LABELS, return_dict=True)["triplet_loss"] > 0


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="a network with a bnneck.*backbone.bnneck"):
        compiled(network(bnneck=False), critic=None, embedding_losses=EmbeddingLosses(4))
    with pytest.raises(InputError, match="weighted"):
        EmbeddingLosses(4, "wieghted")
    with pytest.raises(InputError, match="weights of at least 0"):
        EmbeddingLosses(4, triplet_weight=-1)
    with pytest.raises(InputError, match="layer 'logits'"):
        embedding_network(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="last")]))
