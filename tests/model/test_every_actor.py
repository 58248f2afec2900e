"""Every attention kind in a network that the method trains."""

import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import all_modules_of, moved, precision, small_data, targets_of, values

from dreal_tf import residual_network
from dreal_tf.layers import ACTORS
from dreal_tf.method.rewards import RewardEstimator
from dreal_tf.model import DREAL
from dreal_tf.networks.backbones import Trajectory

SMALL = {"se": {"reduction": 2}, "cbam": {"reduction": 2}, "emanet": {"bases": 5}}
SHAPE, CLASSES = (9, 9, 3), 3
# The weights that make the actions of each kind: L_q may move these alone. A key's bias only shifts
# whole rows of a softmax; values, scales and BatchNorm act on the result alone.
MAKERS = {
    "se": {"squeeze/kernel", "squeeze/bias", "excite/kernel", "excite/bias"},
    "cbam": {"squeeze/kernel", "squeeze/bias", "excite/kernel", "excite/bias", "convolve/kernel"}
    | {"norm/gamma", "norm/beta"},
    "srm": {"style", "norm/gamma", "norm/beta"},
    "eca": {"convolve/kernel"},
    "non_local": {"theta/kernel", "theta/bias", "phi/kernel"},
    "a2": {"gather/kernel", "distribute/kernel", "distribute/bias"},
    "aa": {"query/kernel", "key/kernel", "row_table", "column_table"},
    "sasa": {"query/kernel", "key/kernel", "row_table", "column_table"},
    "danet": {"query/kernel", "query/bias", "key/kernel"},
    "ccnet": {"query/kernel", "query/bias", "key/kernel"},
    "emanet": {"project/kernel", "project/bias"},
}


@functools.cache
def network_of(kind, stages=("conv3", "conv4"), **options):
    """ResNet-8 with attention in its last stages, and nothing in it that starts doing nothing."""
    arguments = dict(SMALL.get(kind, {}))
    if options.get("synchronized") and "synchronized" in inspect.signature(ACTORS[kind]).parameters:
        arguments["synchronized"] = True
    attention = ACTORS[kind](**arguments)
    network = residual_network(
        SHAPE, CLASSES, depth=8, attention=attention, attention_stages=stages, **options
    )
    random = np.random.default_rng(0)
    for variable in network.trainable_variables:
        if not np.any(variable):
            variable.assign(0.3 * random.normal(size=variable.shape))
    return network


def names(variables):
    return {variable.path.split("/", 1)[1] for variable in variables}


@pytest.mark.parametrize("kind", ACTORS)
def test_the_actor_loss_reaches_what_makes_the_action_and_nothing_else(kind):
    network = network_of(kind)
    images, _ = small_data(6, SHAPE, CLASSES)
    trajectory, random = Trajectory(network), np.random.default_rng(1)
    before = values(network.variables)
    with tf.GradientTape() as tape:
        outputs = network(images, training=False)
        actions = trajectory.propose_again(outputs)
        along = [tf.constant(random.normal(size=action.shape), tf.float32) for action in actions]
        total = sum(tf.reduce_sum(a * d) for a, d in zip(actions, along, strict=True))
    variables = network.trainable_variables
    gradients = tape.gradient(total, variables)
    sizes = [0.0 if g is None else float(tf.reduce_max(tf.abs(g))) for g in gradients]
    reached = [v for v, size in zip(variables, sizes, strict=True) if size > 1e-6 * max(sizes)]
    assert names(reached) == MAKERS[kind]
    assert {id(v) for v in reached} <= {id(v) for v in trajectory.variables}
    assert not moved(before, network.variables)  # Averages and bases included.


@pytest.mark.parametrize("kind", ACTORS)
def test_steps_proposed_again_are_those_that_were_taken(kind):
    """In training too, where BatchNorm inside reads the batch."""
    network = network_of(kind)
    images, _ = small_data(6, SHAPE, CLASSES)
    trajectory = Trajectory(network)
    with keras.StatelessScope():
        outputs = network(images, training=True)
    for emitted, again in zip(
        trajectory.emitted(outputs), trajectory.propose_again(outputs), strict=True
    ):
        np.testing.assert_allclose(again, emitted.action, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ACTORS)
def test_a_constant_action_has_reward_0(kind):
    """Every actor proposes its own reference action, so that ablating any of them changes no action."""
    network = network_of.__wrapped__(kind)  # It changes the actors.
    trajectory = Trajectory(network)
    for actor in set(trajectory.actors):

        def flat(state, index=0, training=None, actor=actor, own=actor.propose):
            return actor.reference_action(own(state, index, training), "mean", index)

        actor.propose = flat
        if kind == "emanet":  # Its walk has the action at hand.

            def fitted(state, actor=actor, own=actor._fitted):
                action, bases = own(state)
                return actor.reference_action(action, "mean", 0), bases

            actor._fitted = fitted
    images, _ = small_data(6, SHAPE, CLASSES)
    reward_estimator = RewardEstimator(network, trajectory)
    outputs = reward_estimator.factual(images)
    labels = np.argmax(outputs["logits"], axis=1).astype("int32")
    outputs["logits"] *= 1 + 1e-6  # As if the two passes rounded differently.
    measured = reward_estimator.estimate_all(images, targets_of(labels), outputs, all_modules_of(6))
    assert len(measured.reward) == 6 * len(trajectory.specs)
    np.testing.assert_array_equal(measured.reward, np.zeros(len(measured.reward)))
    np.testing.assert_array_equal(measured.gain, np.zeros(len(measured.gain)))


def trained(kind, critic="comparative", policy="float32", **settings):
    keras.utils.set_random_seed(0)
    with precision(policy):
        network = network_of.__wrapped__(kind, stages=("conv4",), synchronized=True)
        model = DREAL(network, critic=critic, actor_weight=0.5, **settings)
    model.compile(
        keras.optimizers.SGD(0.02, momentum=0.9),
        keras.optimizers.SGD(0.02),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    images, labels = small_data(4 * 8, SHAPE, CLASSES)
    validation = images[:8], labels[:8]
    history = model.fit(
        images, labels, batch_size=8, shuffle=False, validation_data=validation, verbose=0
    ).history
    return model, history


@pytest.mark.parametrize("kind", ["cbam", pytest.param("emanet", marks=pytest.mark.slow)])
def test_it_trains_under_mixed_precision(kind):
    _, history = trained(kind, policy="mixed_bfloat16")
    assert all(np.isfinite(curve).all() for curve in history.values())


@pytest.mark.parametrize(
    "kind",
    [k if k == "cbam" else pytest.param(k, marks=pytest.mark.slow) for k in ACTORS],
)
def test_one_replica_and_two_draw_the_same_curve(kind, two_replicas):
    settings = dict(estimator="exact", reward_fraction=1.0, validation_fraction=1.0)
    one, history = trained(kind, critic="paper", instrument_fraction=0.0, **settings)
    with two_replicas.scope():
        two, other = trained(kind, critic="paper", instrument_fraction=0.0, **settings)
    for name, curve in history.items():
        assert other[name][0] == pytest.approx(curve[0], rel=2e-3, abs=2e-4), name
    for ours, theirs in zip(values(one.network.variables), values(two.network.variables), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=2e-3, atol=2e-4)
