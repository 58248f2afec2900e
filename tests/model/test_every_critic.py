"""Every kind of critic in training, with every setting and every form of actor."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest
from support import ACTORS, compiled, precision, small_data, small_network, values, with_float32_logits

from dreal_tf.method.critics import CRITICS
from dreal_tf.method.rewards import ESTIMATORS
from dreal_tf.model.settings import UPDATES

IMAGES, LABELS = small_data(16)


def all_forms():
    """A network with an actor of every form."""
    return small_network(list(ACTORS.values()), image_shape=(4, 4, 2), blocks=4)


@pytest.mark.parametrize("critic", CRITICS)
def test_it_trains_with_every_setting_on_every_form_of_actor(critic):
    model = compiled(all_forms(), actor_weight=0.5, critic=critic, eager=True)
    assert len({spec.module for spec in model.trajectory.specs}) == 5
    images, labels = IMAGES[:8, :4, :4], LABELS[:8]
    for estimator, update in itertools.product(ESTIMATORS, UPDATES):
        model.settings = dataclasses.replace(model.settings, estimator=estimator, update=update)
        logs = model.fit(images, labels, batch_size=8, verbose=0).history
        assert all(np.isfinite(curve).all() for curve in logs.values())
        named = {name.split("/")[0] for name in logs if "/" in name}
        assert named >= {"reward", "gain", "critique", "trust"}
        trust = [curve[0] for name, curve in logs.items() if name.startswith("trust/")]
        assert len(trust) == 5 and min(trust) >= 0 and max(trust) <= 1


def assert_same_weights(one, other):
    """Compares network, critic and trust; the random states of initializers differ."""
    pairs = [
        m.network.variables + m.critic.trainable_variables + m.trust.variables for m in (one, other)
    ]
    for a, b in zip(*map(values, pairs), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("critic", CRITICS)
def test_saved_and_loaded_it_predicts_and_learns_as_before(critic, tmp_path):
    network = small_network(ACTORS["two steps"])
    model = compiled(network, critic=critic, actor_weight=0.3, eager=True)
    model.fit(IMAGES, LABELS, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.critic) is type(model.critic)
    assert loaded.critic.get_config() == model.critic.get_config()
    assert_same_weights(model, loaded)
    assert model.trust.sums.numpy().any()
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
    one, other = (m.evaluate(IMAGES, LABELS, return_dict=True, verbose=0) for m in (model, loaded))
    assert one == pytest.approx(other, rel=1e-6)
    one, other = (m.train_on_batch(IMAGES, LABELS, return_dict=True) for m in (model, loaded))
    assert one == pytest.approx(other, rel=1e-6)
    assert_same_weights(model, loaded)


@pytest.mark.parametrize("trust", [True, False])
def test_a_step_in_half_precision(trust):
    with precision("mixed_bfloat16"):
        network = with_float32_logits(small_network(ACTORS["two steps"]))
        settings = dict(critic="comparative", actor_weight=0.5, trust=trust)
        model = compiled(network, eager=True, **settings)
    assert {v.dtype for v in model.critic.trainable_variables} <= {"float32"}
    before = values(model.network.trainable_variables)
    logs = model.train_on_batch(IMAGES, LABELS, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())
    after = values(model.network.trainable_variables)
    assert all(np.isfinite(value).all() for value in after)
    assert any(np.any(old != now) for old, now in zip(before, after, strict=True))
