"""The jobs of workers: a frozen network, of which only theta and the critic move; callbacks and data."""

import keras
import numpy as np
import pytest
from support import ACTORS, logits_loss, moved, small_data, small_network, values

from dreal_tf import DREAL
from dreal_tf.experiments.jobs import (
    FrozenDREAL,
    NetworkEvaluator,
    Probe,
    StopAfter,
    recovered,
    reinitialise,
    train_on_validation,
)
from dreal_tf.layers import intervene
from dreal_tf.training.builder import build_data, build_network
from dreal_tf.training.recipe_files import load_recipe


def test_train_on_validation_are_those_of_validation_mixed_anew_each_time():
    data = build_data(load_recipe("digits_resnet8_se"))
    unseen = train_on_validation(data, batch_size=32, seed=0)
    assert unseen.steps_per_epoch == data.sizes["validation"] // 32
    known = {image.numpy().tobytes() for batch, _ in data.validation for image in batch}
    orders = []
    for _ in range(2):
        batches = [batch.numpy() for batch, _ in unseen.train]
        assert [len(batch) for batch in batches] == [32] * unseen.steps_per_epoch
        orders.append([image.tobytes() for batch in batches for image in batch])
        assert len(set(orders[-1])) == len(orders[-1]) and set(orders[-1]) <= known
    assert orders[0] != orders[1]


def test_recovered_by_hand():
    assert recovered(0.8, 0.6, 0.7) == pytest.approx(0.5)
    assert recovered(0.8, 0.6, 0.5) == pytest.approx(-0.5)
    assert recovered(0.8, 0.6, 0.8) == pytest.approx(1.0)
    assert recovered(0.6, 0.6, 0.7) is None and recovered(0.5, 0.6, 0.7) is None


def test_probes_and_the_stop_come_at_their_steps():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    probe = Probe(lambda: int(model.optimizer.iterations), {2: "two", 5: "five", 9: "never"})
    model.fit(
        np.ones((3, 1)), np.ones(3), batch_size=1, epochs=9, verbose=0, callbacks=[probe, StopAfter(5)]
    )
    assert probe.values == {"two": 2, "five": 5} and int(model.optimizer.iterations) == 5


RECIPE = load_recipe("digits_resnet8_se").replace({"backbone.width": 0.25, "dreal.stages": "conv3"})


def frozen(network, rate=0.5, **settings):
    model = FrozenDREAL(network, reward_fraction=1.0, trust=False, **settings)
    model.compile(keras.optimizers.SGD(rate, 0.9), "adam", loss=logits_loss(), metrics=["accuracy"])
    return model


def actor_paths(model):
    return {variable.path for variable in model.trajectory.variables}


@pytest.mark.parametrize("kind", ACTORS)
def test_only_theta_and_the_critic_move(kind):
    network = small_network(ACTORS[kind].__class__.from_config(ACTORS[kind].get_config()), dropout=0.5)
    model = frozen(network, critic="direct", actor_weight=1.0)
    critic = frozen(network, critic="comparative", actor_weight=1.0)
    for one in (model, critic):
        before, learnt = values(network.variables), values(one.critic.variables)
        one.fit(*small_data(), batch_size=8, epochs=3, verbose=0)
        changed = moved(before, network.variables)
        # The seed of dropout is asked for nothing, and no moving average moves.
        assert changed <= actor_paths(one)
        assert changed
        assert moved(learnt, one.critic.variables) or not one.critic.variables


def test_without_weight_the_critic_moves_alone_and_steps_are_counted():
    network = small_network()
    model = frozen(network, critic="comparative", actor_weight=0.0)
    before, learnt = values(network.variables), values(model.critic.variables)
    model.fit(*small_data(), batch_size=8, epochs=2, verbose=0)
    assert not moved(before, network.variables)
    assert moved(learnt, model.critic.variables)
    assert int(model.optimizer.iterations) == 4  # The draws of the estimator follow from it.


def test_actors_wait_as_long_as_they_are_told():
    network = small_network()
    model = frozen(network, critic="direct", actor_weight=1.0, wait=4)
    before = values(network.variables)
    model.fit(*small_data(), batch_size=8, epochs=2, verbose=0)
    assert not moved(before, network.variables)
    model.fit(*small_data(), batch_size=8, epochs=1, verbose=0)
    assert moved(before, network.variables)


def test_only_actors_of_the_stages_move():
    network = small_network()
    model = frozen(network, critic="direct", actor_weight=1.0, stages={"conv3"})
    before = values(network.variables)
    model.fit(*small_data(), batch_size=8, verbose=0)
    changed = moved(before, network.variables)
    assert changed and all(path.startswith("conv3_1") for path in changed)


def test_the_first_step_is_the_gradient_of_the_mean_log_probability():
    """To first order, the true direction raises its own objective."""
    network = small_network()
    images, labels = small_data()
    evaluate = NetworkEvaluator(network, images, labels)
    before = evaluate().log_p
    model = frozen(network, rate=0.05, critic="direct", actor_weight=1.0)
    model.fit(images, labels, batch_size=16, epochs=1, verbose=0)
    assert evaluate().log_p > before


def test_the_evaluator_against_numpy_and_with_each_gate_flat_by_hand():
    network = small_network()
    images, labels = small_data(12)
    quality = NetworkEvaluator(network, images, labels)()

    def log_p(logits):
        logits = np.asarray(logits, float)
        normal = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
        return logits[np.arange(12), labels] - normal

    outputs = network(images, training=False)
    np.testing.assert_allclose(quality.log_p, log_p(outputs["logits"]).mean(), rtol=1e-5)
    assert quality.accuracy == np.mean(np.argmax(outputs["logits"], 1) == labels)
    with intervene(lambda actor, index, state, a: 0 * a + np.mean(a, axis=3, keepdims=True)):
        flat = network(images, training=False)["logits"]
    np.testing.assert_allclose(quality.log_p_ablated, log_p(flat).mean(), rtol=1e-5)


def test_attention_is_reinitialised_by_its_own_initialisers_and_by_the_seed():
    network = build_network(RECIPE, (8, 8, 1), 10)
    model = DREAL(network, stages=["conv3"])
    model.compile(loss=logits_loss())
    for variable in network.variables:
        variable.assign(np.full(variable.shape, 7.0, variable.dtype))
    before = values(network.variables)
    reinitialise(model, RECIPE, seed=3)
    theta = model.trajectory.variables
    assert moved(before, network.variables) == {v.path for v in theta}  # conv3's, nobody else's.
    first = values(theta)
    for variable, value in zip(theta, first, strict=True):
        assert np.all(value == 0) if "bias" in variable.path else np.ptp(value) > 0
    reinitialise(model, RECIPE, seed=3)
    assert not moved(first, theta)
    reinitialise(model, RECIPE, seed=4)
    assert moved(first, theta) == {v.path for v in theta if "bias" not in v.path}


@pytest.mark.parametrize(
    ("kind", "kept", "renewed"),
    [
        ("cbam", set(), {"squeeze/kernel", "convolve/kernel", "norm/gamma", "norm/moving_mean"}),
        ("non_local", {"g/kernel", "w_z/kernel", "norm/gamma", "norm/moving_mean"}, {"phi/kernel"}),
        ("emanet", {"restore/kernel", "shared_bases", "norm/beta"}, {"project/kernel"}),
    ],
)
def test_what_only_uses_an_action_stays_as_it_was_trained(kind, kept, renewed):
    recipe = RECIPE.replace({"attention.kind": kind, "attention.stages": "conv3", "backbone.width": 1})
    network = build_network(recipe, (8, 8, 1), 10)
    model = DREAL(network)
    model.compile(loss=logits_loss())
    for variable in network.variables:
        variable.assign(np.full(variable.shape, 7.0, variable.dtype))
    before = values(network.variables)
    reinitialise(model, recipe, seed=3)
    changed = {path.split("/", 1)[1] for path in moved(before, network.variables)}
    assert renewed <= changed and not kept & changed
