"""Rewards measured on a network against passes made one by one, also with random layers."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from naive_counterfactuals import NaiveCounterfactuals
from support import (
    ACTORS,
    SqueezeExcite,
    all_modules_of,
    log_softmax,
    small_data,
    small_network,
    targets_of,
    with_estimator,
)

from dreal_tf.layers import intervene
from dreal_tf.method import rewards
from dreal_tf.method.critics import PaperCritic
from dreal_tf.method.formulas import Targets
from dreal_tf.method.rewards import RewardEstimator, SamplingPlan
from dreal_tf.networks.backbones import Trajectory, Wiring


def ablated_alone(network, actor, index, images):
    """Log probabilities with one module ablated in every image, by a pass of its own."""

    def decide(which, position, state, action):
        ablated = which is actor and position == index
        return which.reference_action(action, "mean", position) if ablated else action

    with intervene(decide):
        return log_softmax(network(images)["logits"])


@pytest.mark.parametrize("form", ACTORS)
def test_exact_and_sampled_rewards_equal_separate_passes(form):
    images, labels = small_data(12)
    network, trajectory, reward_estimator = with_estimator(ACTORS[form])
    outputs = network(images)
    logits = np.float64(outputs["logits"])
    log_p = log_softmax(logits)
    right = logits.argmax(axis=1) == labels
    expected = {}
    for position, (actor, index) in enumerate(zip(trajectory.actors, trajectory._indices, strict=True)):
        log_ablated = ablated_alone(network, actor, index, images)
        gain = 1 - np.exp(log_ablated - log_p)[np.arange(12), labels]
        expected |= {(i, position): np.clip(gain[i], -1, 1) if right[i] else -1.0 for i in range(12)}

    targets, modules = targets_of(labels), len(trajectory.specs)
    exact = reward_estimator.estimate_all(images, targets, outputs, all_modules_of(12))
    plan = rewards.sample_plan(12, 9, modules, seed=(0, 0))
    sampled = reward_estimator.estimate(images, targets, outputs, plan)
    assert len(exact.reward) == 12 * modules and len(sampled.reward) == 9
    for measured in (exact, sampled):
        for image, module, reward in zip(
            measured.images.numpy(), measured.modules.numpy(), measured.reward.numpy(), strict=True
        ):
            assert reward == pytest.approx(expected[image, module], abs=1e-5)
    assert 0 < right.sum() < 12 and np.ptp([expected[i, 0] for i in range(12)]) > 1e-4


def test_the_sampled_loss_averages_to_the_exact_loss_over_all_assignments():
    """Every way to give three images one of three modules: 27 losses, one mean."""
    images, labels = small_data(3)
    network, trajectory, reward_estimator = with_estimator()
    outputs, targets = network(images), targets_of(labels)
    critic = PaperCritic(units=8)
    critic.build(trajectory.specs, classes=3)
    modules = trajectory.emitted(outputs)
    critic_output = critic(modules)
    exact = critic.loss(
        critic_output, reward_estimator.estimate_all(images, targets, outputs, all_modules_of(3))
    )
    swept = []
    for assigned in itertools.product(range(3), repeat=3):
        plan = SamplingPlan(tf.range(3), tf.constant(assigned))
        measured = reward_estimator.estimate(images, targets, outputs, plan)
        swept.append(float(critic.loss(critic_output, measured)))
    assert np.mean(swept) == pytest.approx(float(exact), abs=1e-6)
    assert np.std(swept) > 1e-4


def test_the_sampled_loss_is_unbiased_over_draws():
    images, labels = small_data(16)
    network, trajectory, reward_estimator = with_estimator()
    outputs, targets = network(images), targets_of(labels)
    critic = PaperCritic(units=8)
    critic.build(trajectory.specs, classes=3)
    modules = trajectory.emitted(outputs)
    critic_output = critic(modules)
    exact = float(
        critic.loss(
            critic_output,
            reward_estimator.estimate_all(images, targets, outputs, all_modules_of(16)),
        )
    )

    def draw(seed):
        plan = rewards.sample_plan(16, 8, 3, tf.stack([5, seed]))
        measured = reward_estimator.estimate(images, targets, outputs, plan)
        return critic.loss(critic_output, measured)

    many = tf.function(lambda: tf.map_fn(draw, tf.range(800), fn_output_signature=tf.float32))
    losses = many().numpy()
    z = (losses.mean() - exact) / (losses.std() / np.sqrt(len(losses)))
    assert abs(z) <= 4


@pytest.mark.parametrize("estimator", ["sampled", "exact"])
def test_an_action_that_equals_its_reference_has_reward_0(estimator):
    """Even if the two passes round differently: here the factual logits are off by their last bits."""
    images, labels = small_data(9)
    _, trajectory, reward_estimator = with_estimator()
    for actor in trajectory.actors:  # sigmoid(0) in every channel.
        actor.excite.kernel.assign(np.zeros_like(actor.excite.kernel))
    outputs = reward_estimator.factual(images)
    labels = np.argmax(outputs["logits"], axis=1).astype("int32")
    exact = reward_estimator.score(labels, outputs["logits"])
    outputs["logits"] *= 1 + 1e-6
    assert np.any(reward_estimator.score(labels, outputs["logits"]) != exact)
    targets = targets_of(labels)
    if estimator == "exact":
        measured = reward_estimator.estimate_all(images, targets, outputs, all_modules_of(9))
    else:
        plan = rewards.sample_plan(9, 9, 3, (0, 0))
        measured = reward_estimator.estimate(images, targets, outputs, plan)
    for name in ("reward", "gain", "difference"):
        np.testing.assert_array_equal(getattr(measured, name), np.zeros(len(measured.images)))


def test_in_training_the_second_pass_adds_no_reward_of_its_own():
    """Constant actions under the batch's own statistics, at the momentum that cancels worst."""
    images, labels = small_data(16)  # 64 entries: the last of 36 have another sigmoid, by a bit
    network, trajectory, reward_estimator = with_estimator()
    for actor in trajectory.actors:
        actor.excite.kernel.assign(np.zeros_like(actor.excite.kernel))
        actor.excite.bias.assign([0.1, 0.7, -0.3, 1.1])  # Not constant over channels ...
    reward_estimator.reference_action = "static"  # ... but over images.
    outputs = network(images, training=True)
    labels = np.argmax(outputs["logits"], axis=1).astype("int32")
    measured = reward_estimator.estimate_all(images, targets_of(labels), outputs, all_modules_of(16))
    np.testing.assert_array_equal(measured.gain, np.zeros(48))


def test_the_static_reference_is_the_mean_action_over_images():
    images, _ = small_data(5)
    network, trajectory, _ = with_estimator()
    actions = network(images)["actions"]
    static = NaiveCounterfactuals(trajectory.modules, tf.ones(5, tf.int32), "static", actions)
    with intervene(static):
        ablated = network(images)["actions"]
    for position, module in enumerate(trajectory.modules):
        own, got = np.array(actions[module]), np.array(ablated[module])
        if position == 0:
            np.testing.assert_array_equal(got, own)
        elif position == 1:
            np.testing.assert_allclose(got, np.broadcast_to(own.mean(0), own.shape), rtol=1e-6)


def differences_alone(network, actor, index, images, labels, counterfactual):
    """Differences of log probabilities with given actions in one module, by a pass of its own."""

    def decide(which, position, state, action):
        return counterfactual if which is actor and position == index else action

    rows = np.arange(len(labels))
    factual = log_softmax(network(images)["logits"])[rows, labels]
    with intervene(decide):
        return factual - log_softmax(network(images)["logits"])[rows, labels]


@pytest.mark.parametrize("form", ACTORS)
def test_the_kept_counterfactuals_are_those_that_were_applied(form):
    """Given to the network again, each makes the difference that was measured."""
    images, labels = small_data(12)
    exploration = ("reference", "permuted", "noise")
    network, trajectory, reward_estimator = with_estimator(ACTORS[form], exploration, noise=0.8)
    outputs, targets, modules = network(images), targets_of(labels), len(trajectory.specs)
    plan = rewards.sample_plan(12, 9, modules, seed=(0, 3), kinds=3)
    exact = reward_estimator.estimate_all(images, targets, outputs, plan)
    sampled = reward_estimator.estimate(images, targets, outputs, plan)
    for measured in (exact, sampled):
        seen = 0
        pairs = zip(trajectory.actors, trajectory._indices, measured.counterfactuals, strict=True)
        for module, (actor, index, (entries, action)) in enumerate(pairs):
            here = measured.modules.numpy()[entries] == module
            positions, applied = entries[here], action.numpy()[here]
            chosen = measured.images.numpy()[positions]
            again = differences_alone(network, actor, index, images[chosen], labels[chosen], applied)
            np.testing.assert_allclose(measured.difference.numpy()[positions], again, atol=2e-5)
            seen += len(positions)
        assert seen == len(measured.images) and np.ptp(measured.difference) > 1e-3


@pytest.mark.parametrize("form", ACTORS)
def test_sampled_and_exact_differences_agree_entry_by_entry(form):
    images, labels = small_data(12)
    network, trajectory, reward_estimator = with_estimator(ACTORS[form], ("reference", "permuted"))
    outputs, targets, modules = network(images), targets_of(labels), len(trajectory.specs)
    plan = rewards.sample_plan(12, 7, modules, seed=(0, 5), kinds=2)
    every = rewards.full_plan(plan, modules, kinds=2)
    exact = reward_estimator.estimate_all(images, targets, outputs, plan)
    sampled = reward_estimator.estimate(images, targets, outputs, every)
    for part in ("images", "modules", "ablated", "correct", "mask"):
        np.testing.assert_array_equal(getattr(exact, part), getattr(sampled, part))
    np.testing.assert_allclose(sampled.difference, exact.difference, atol=1e-5)
    np.testing.assert_array_equal(exact.ablated, every.kinds.numpy() == 0)
    kinds = every.kinds.numpy()
    assert min(np.abs(exact.difference.numpy()[kinds == form]).max() for form in (0, 1)) > 1e-3


@pytest.mark.parametrize("form", ACTORS)
def test_rows_in_any_order_and_rows_that_join_late_measure_the_same(form):
    """What is known before of where rows lie saves work and changes nothing."""
    images, labels = small_data(12)
    network, trajectory, reward_estimator = with_estimator(ACTORS[form], ("reference", "permuted"))
    targets, modules = targets_of(labels), len(trajectory.specs)
    plan = rewards.sample_plan(12, 7, modules, seed=(0, 5), kinds=2)
    early = reward_estimator.estimate(images, targets, network(images), plan._replace(ordered=False))
    late = reward_estimator.estimate(images, targets, reward_estimator.factual(images), plan)
    for part in ("images", "modules", "ablated", "correct", "mask"):
        np.testing.assert_array_equal(getattr(early, part), getattr(late, part))
    np.testing.assert_allclose(late.difference, early.difference, atol=1e-5)
    assert np.ptp(early.difference) > 1e-3


def test_a_difference_is_the_gain_on_a_logarithmic_scale():
    images, labels = small_data(12)
    network, _, reward_estimator = with_estimator()
    outputs = network(images)
    measured = reward_estimator.estimate_all(images, targets_of(labels), outputs, all_modules_of(12))
    expected = 1 - np.exp(-np.float64(measured.difference))
    np.testing.assert_allclose(measured.gain, expected, rtol=1e-5, atol=1e-7)


def test_privileged_inputs_hold_the_errors_of_the_prediction():
    """Whether the network ends in logits or in probabilities."""
    images, labels = small_data(5)
    network, _, reward_estimator = with_estimator()
    logits = np.float64(network(images)["logits"])
    expected = np.eye(3)[labels] - np.exp(log_softmax(logits))
    of_logits = reward_estimator.privileged_inputs(tf.constant(logits, tf.float32), tf.constant(labels))
    np.testing.assert_allclose(of_logits.errors, expected, atol=1e-6)
    np.testing.assert_array_equal(of_logits.labels, labels)
    assert of_logits.true_action_gradients is None
    reward_estimator.from_logits = False
    probabilities = tf.constant(np.exp(log_softmax(logits)), tf.float32)
    of_probabilities = reward_estimator.privileged_inputs(probabilities, tf.constant(labels))
    np.testing.assert_allclose(of_probabilities.errors, expected, atol=1e-6)


def test_only_the_assigned_image_changes():
    images, _ = small_data(4)
    network, trajectory, _ = with_estimator()
    before = np.array(network(images)["logits"])
    with intervene(NaiveCounterfactuals(trajectory.modules, np.int32([-1, 0, -1, 2]))):
        after = np.array(network(images)["logits"])
    changed = np.abs(after - before).max(axis=1)
    assert (changed[[0, 2]] < 1e-6).all() and (changed[[1, 3]] > 1e-5).all()


def test_with_dropout_both_arms_are_measured_without_it():
    images, labels = small_data(12)
    network, _, reward_estimator = with_estimator(dropout=0.5)
    assert reward_estimator.stochastic
    training = network(images, training=True)
    exact = reward_estimator.estimate_all(images, targets_of(labels), training, all_modules_of(12))
    # With every BatchNorm at its averages the arms of `exact` are inference passes of one network.
    plan = SamplingPlan(tf.range(12), tf.zeros(12, tf.int32))
    sampled = reward_estimator.estimate(images, targets_of(labels), training, plan)
    np.testing.assert_allclose(sampled.reward, exact.reward[:12], atol=1e-5)


def test_images_that_do_not_count_are_marked():
    images, labels = small_data(4)
    network, _, reward_estimator = with_estimator()
    outputs = network(images)
    targets = Targets(tf.constant(labels), tf.constant([1.0, 0, 1, 0]), tf.ones(4))
    measured = reward_estimator.estimate_all(
        images, targets, outputs, SamplingPlan(tf.constant([1, 2]), None)
    )
    assert measured.mask.numpy().tolist() == [0, 1, 0, 1, 0, 1]


def test_stages_restrict_what_is_measured():
    network = small_network(blocks=3)
    assert Trajectory(network, stages={"conv3"}).modules == ["conv3_1/se"]
    assert len(Trajectory(network, stages={"conv3"}).variables) == 4


class StochasticDepth(keras.layers.Layer):
    """As users write it: it keeps no seed, and drops half of the images' maps in training."""

    def call(self, maps, training=None):
        if not training:
            return maps
        kept = tf.random.uniform([tf.shape(maps)[0], 1, 1, 1]) < 0.5
        return 2 * maps * tf.cast(kept, maps.dtype)


class Doubled(keras.layers.Layer):
    """Does the same in training and at inference."""

    def call(self, maps):
        return 2 * maps


class Block(keras.layers.Layer):
    """A layer that holds another."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, maps, training=None):
        return self.inner(maps, training=training)


def estimator_of(layer):
    """The estimator of a network with the layer between two attention modules."""
    images, wiring = keras.Input((6, 6, 2)), Wiring(SqueezeExcite(2))
    maps = wiring.attend(keras.layers.Conv2D(4, 3, padding="same")(images), "conv2_1")
    maps = wiring.attend(layer(keras.layers.ReLU()(maps)), "conv3_1")
    logits = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(maps))
    network = wiring.network(images, logits)
    return RewardEstimator(network, Trajectory(network))


@pytest.mark.parametrize(
    ("layer", "random"),
    [
        (StochasticDepth, True),
        (lambda: Block(StochasticDepth()), True),
        (lambda: keras.Sequential([StochasticDepth()]), True),
        (lambda: keras.layers.Dropout(0.5), True),
        (lambda: keras.layers.GaussianNoise(0.5), True),
        (keras.layers.BatchNormalization, False),
        (Doubled, False),
    ],
    ids=["own", "own inside a layer", "own inside a model", "Dropout", "noise", "BatchNorm", "Doubled"],
)
def test_the_meter_recognises_random_layers_of_keras_and_of_users(layer, random):
    estimator, (images, _) = estimator_of(layer()), small_data(4)
    assert estimator.stochastic == random
    assert ("cached_activations" in estimator.factual(images, training=True)) == (not random)


@pytest.mark.parametrize("layer", [StochasticDepth, lambda: Block(StochasticDepth())])
def test_rewards_do_not_contain_the_noise_of_a_users_own_layer(layer):
    """Both arms run at inference, whatever the factual pass drew."""
    estimator, (images, labels) = estimator_of(layer()), small_data(12)
    targets, plan = targets_of(labels), all_modules_of(12)
    training, inference = (estimator.factual(images, training=t) for t in (True, False))
    assert np.abs(training["logits"] - inference["logits"]).max() > 1e-3
    expected = estimator.estimate_all(images, targets, inference, plan)
    measured = estimator.estimate_all(images, targets, training, plan)
    np.testing.assert_allclose(measured.difference, expected.difference, atol=1e-5)
    assert np.ptp(expected.difference) > 1e-3
