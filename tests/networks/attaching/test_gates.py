"""Attention of other origin becomes an actor: its rewards are those of a network ablated by hand."""

import fnmatch

import keras
import numpy as np
import pytest
import tensorflow as tf
from foreign_networks import (
    FOREIGN,
    causal,
    encoded,
    excited,
    images_and_labels,
    spatial,
    squeeze_excite,
    with_random_weights,
)
from support import all_modules_of, log_softmax, targets_of

from dreal_tf import attach, find_gates
from dreal_tf.layers import intervene
from dreal_tf.networks.backbones import actors_of


@pytest.mark.parametrize("origin", FOREIGN)
def test_rewards_are_those_of_a_network_ablated_by_hand(origin):
    make, gates, module, kind = FOREIGN[origin]
    network, ablated = with_random_weights(make()), make(flat=True)
    ablated.set_weights(network.get_weights())
    images, labels = images_and_labels()
    before = np.array(network(images))
    model = attach(network, gates, critic="paper", instrument_fraction=0.0)
    assert model.network is network and model.trajectory.modules == [module]
    np.testing.assert_array_equal(model(images), before)
    (spec,) = model.trajectory.specs
    assert spec.kind == kind

    outputs = model.reward_estimator.factual(images)
    np.testing.assert_allclose(outputs["logits"], before, rtol=1e-5, atol=1e-5)
    targets = targets_of(labels)
    measured = model.reward_estimator.estimate_all(
        images, targets, outputs, all_modules_of(len(images))
    )
    rows = np.arange(len(images))
    log_p, log_ablated = (log_softmax(n(images))[rows, labels] for n in (network, ablated))
    right = before.argmax(axis=1) == labels
    expected = np.where(right, np.clip(1 - np.exp(log_ablated - log_p), -1, 1), -1)
    assert right.sum() > 0 and np.abs(expected[right]).max() > 1e-3
    np.testing.assert_allclose(measured.reward, expected, atol=1e-5)


@pytest.mark.parametrize("origin", FOREIGN)
def test_actions_can_be_imposed_and_proposed_again(origin):
    make, gates, module, _ = FOREIGN[origin]
    network = with_random_weights(make())
    images, _ = images_and_labels(4)
    model = attach(network, gates, critic="paper", instrument_fraction=0.0)
    outputs = model.trajectory_network(images)
    own = outputs["actions"][module]
    with intervene(lambda actor, index, state, action: own[::-1]):
        imposed = model.trajectory_network(images)
    np.testing.assert_array_equal(imposed["actions"][module], own[::-1])
    assert not np.allclose(imposed["logits"], outputs["logits"], rtol=1e-3)
    statistics = [v.numpy() for v in network.non_trainable_variables]
    with tf.GradientTape() as tape:
        (again,) = model.trajectory.propose_again(outputs, training=False)
    np.testing.assert_allclose(again, own, rtol=1e-5, atol=1e-6)
    gradients = tape.gradient(again, model.trajectory.variables)
    assert any(g is not None and np.abs(g).max() > 0 for g in gradients)
    for variable, value in zip(network.non_trainable_variables, statistics, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_gate_with_state_of_its_own_moves_it_once_a_step():
    """BatchNorm inside a gate, two ways to train: by plain Keras and by the method without a push."""
    images, labels = images_and_labels()
    results = []
    for critic in (None, "paper"):
        keras.utils.set_random_seed(0)
        model = attach(with_random_weights(spatial()), "gate_end", critic=critic, actor_weight=0.0)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), "sgd", loss)
        model.fit(images, labels, epochs=2, batch_size=6, shuffle=False, verbose=0)
        results.append(model.network.get_weights())
    for plain, taught in zip(*results, strict=True):
        np.testing.assert_allclose(plain, taught, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["sigmoid", "tanh", "ReLU6", "free"])
def test_a_moved_gate_stays_in_its_own_range(form):
    images = keras.Input((4, 4, 6))
    if form == "ReLU6":  # As MobileNetV3 writes its hard sigmoid.
        gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(images)
        gate = keras.layers.ReLU(6.0)(keras.layers.Dense(6)(gate) + 3.0) * (1.0 / 6.0)
        gated = keras.layers.Multiply(name="gate")([images, gate])
    else:
        gated = excited(images, "gate", activation=None if form == "free" else form)
    logits = keras.layers.Dense(2)(keras.layers.Flatten()(gated))
    model = attach(with_random_weights(keras.Model(images, logits)), "gate*", critic=None)
    (actor,) = actors_of(model.trajectory_network)
    state = np.random.default_rng(0).normal(size=(2, 4, 4, 6)).astype("float32")
    _, action = actor(state, return_action=True)
    up, down = (actor.perturb_action(action, np.full(action.shape, c)).numpy() for c in (0.5, -0.5))
    assert (up > down).all()
    inside = {"sigmoid": (0, 1), "ReLU6": (0, 1), "tanh": (-1, 1), "free": (-np.inf, np.inf)}[form]
    assert actor.range == inside and (down >= inside[0]).all() and (up <= inside[1]).all()
    np.testing.assert_allclose(actor.perturb_action(action, np.zeros(action.shape)), action, atol=2e-5)
    flat = actor.reference_action(action).numpy()
    np.testing.assert_allclose(
        flat, np.broadcast_to(action.numpy().mean(3, keepdims=True), flat.shape), atol=1e-6
    )


def test_attention_inside_layers_of_other_origin():
    network, ablated = with_random_weights(encoded()), encoded(flat=True)
    ablated.set_weights(network.get_weights())
    assert [(gate.name, gate.kind) for gate in find_gates(network)] == [("encoder", "pairwise")] * 2
    model = attach(network, "enc*", critic="paper", instrument_fraction=0.0, validation_fraction=1.0)
    second = "layer_2_mha/attention"
    assert model.trajectory.modules == ["layer_1_mha/attention", second]
    own = {id(v) for v in network.variables}
    assert {id(v) for v in model.network.variables} == own
    # Before a later version Keras does not list a weight that only an operation reads.
    assert {id(v) for v in model.trajectory_network.variables} <= own
    images, labels = images_and_labels()
    outputs = model.reward_estimator.factual(images)
    before = network(images)
    np.testing.assert_allclose(outputs["logits"], before, rtol=1e-5, atol=1e-5)
    targets = targets_of(labels)
    measured = model.reward_estimator.estimate_all(images, targets, outputs, all_modules_of(12))
    lost = (log_softmax(before) - log_softmax(ablated(images)))[np.arange(12), labels]
    of_second = measured.difference.numpy()[measured.modules.numpy() == 1]
    np.testing.assert_allclose(of_second, lost, rtol=1e-4, atol=1e-5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", "adam", loss, run_eagerly=True)
    assert f"reward/{second}" in model.fit(images, labels, verbose=0).history


def test_gates_are_listed():
    gates = find_gates(squeeze_excite())
    assert [(g.name, g.kind, g.state_shape, g.action_shape) for g in gates] == [
        ("block1_se_excite", "channel", (8, 8, 6), (1, 1, 6))
    ]


@pytest.mark.parametrize("origin", FOREIGN)
def test_every_gate_that_attaches_is_listed(origin):
    make, gates, _, kind = FOREIGN[origin]
    network = make()
    listed = find_gates(network)
    assert [gate.kind for gate in listed] == [kind]
    (named,) = {gate.name for gate in listed}
    (spec,) = attach(network, named, critic=None).trajectory.specs
    assert spec.kind == kind and spec.state_shape[-1] == listed[0].state_shape[-1]
    if origin != "the gate's last layer":  # Which ends in the same product.
        assert named == gates or fnmatch.fnmatch(named, gates) or origin == "a spatial gate"


@pytest.mark.parametrize("origin", ["a resized gate", "separable attention", "causal attention"])
def test_the_comparative_critic_reads_them(origin):
    make, gates, *_ = FOREIGN[origin]
    model = attach(with_random_weights(make()), gates, validation_fraction=1.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss=loss, run_eagerly=True)
    images, labels = images_and_labels()
    assert np.isfinite(model.train_on_batch(images, labels)).all()
    assert np.isfinite(model.test_on_batch(images, labels)).all()


def test_causal_attention_stays_causal():
    (actor,) = actors_of(
        attach(with_random_weights(causal()), "causal", critic=None).trajectory_network
    )
    state = np.random.default_rng(0).normal(size=(2, 16, 8)).astype("float32")
    _, action = actor(state, return_action=True)
    later = np.triu(np.ones((16, 16), bool), k=1)
    mean = actor.reference_action(action).numpy()
    moved = actor.perturb_action(action, np.random.default_rng(1).normal(size=action.shape)).numpy()
    for scores in (action.numpy(), mean, moved):
        assert (scores[..., later] == 0).all()
        np.testing.assert_allclose(scores.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(mean[0, 0, 3, :4], 1 / 4, rtol=1e-6)
    assert np.abs(moved - action.numpy()).max() > 0.01
