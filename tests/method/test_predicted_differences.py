"""Predicted differences of measured pairs, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from support import ACTORS, small_data, targets_of, with_estimator

from dreal_tf.method import rewards
from dreal_tf.method.formulas import ablation_loss
from dreal_tf.method.rows import predicted_differences

IMAGES, LABELS = small_data(10)


def measured_pairs(form, estimator, measured=7):
    """The modules of a network, and what was measured of three kinds of counterfactuals."""
    exploration = ("reference", "permuted", "noise")
    network, trajectory, reward_estimator = with_estimator(ACTORS[form], exploration)
    outputs, targets = network(IMAGES), targets_of(LABELS)
    plan = rewards.sample_plan(10, measured, len(trajectory.specs), seed=(1, 2), kinds=3)
    if estimator == "exact":
        samples = reward_estimator.estimate_all(IMAGES, targets, outputs, plan)
    else:
        samples = reward_estimator.estimate(IMAGES, targets, outputs, plan)
    return trajectory.emitted(outputs), samples


@pytest.mark.parametrize("estimator", ["sampled", "exact"])
@pytest.mark.parametrize("form", ACTORS)
def test_predicted_differences_are_products_with_the_change_of_the_action(form, estimator):
    modules, samples = measured_pairs(form, estimator)
    random = np.random.default_rng(0)
    directions = [random.normal(size=module.action.shape).astype("float32") for module in modules]
    expected = np.full(len(samples.images), np.nan)
    for position, (entries, counterfactuals) in enumerate(samples.counterfactuals):
        for entry, counterfactual in zip(np.array(entries), np.float64(counterfactuals), strict=True):
            if samples.modules[entry] == position:
                image = samples.images[entry]
                change = np.float64(modules[position].action[image]) - counterfactual
                expected[entry] = np.sum(np.float64(directions[position][image]) * change)
    predicted = predicted_differences(directions, [module.action for module in modules], samples)
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=2e-5)
    assert np.ptp(expected) > 0.01


def test_a_prediction_moves_its_direction_and_not_the_action():
    modules, samples = measured_pairs("channel", "sampled")
    actions = [tf.Variable(module.action) for module in modules]
    directions = [tf.Variable(tf.ones_like(action)) for action in actions]
    modules = [module._replace(action=a) for module, a in zip(modules, actions, strict=True)]
    with tf.GradientTape() as tape:
        predicted = predicted_differences(directions, [module.action for module in modules], samples)
    to_directions, to_actions = tape.gradient(predicted, [directions, actions])
    assert all(np.abs(tf.convert_to_tensor(g)).max() > 0 for g in to_directions)
    assert to_actions == [None] * len(actions)


def test_half_precision_directions_are_taken_too():
    """An actor under mixed precision has actions, and gradients of them, in half precision."""
    modules, samples = measured_pairs("channel", "sampled")
    directions = [tf.ones_like(module.action) for module in modules]
    half = [tf.cast(direction, tf.bfloat16) for direction in directions]
    np.testing.assert_allclose(
        predicted_differences(half, [module.action for module in modules], samples),
        predicted_differences(directions, [module.action for module in modules], samples),
        rtol=1e-6,
    )


@pytest.mark.parametrize("estimator", ["sampled", "exact"])
def test_critiques_are_regressed_on_the_rewards_of_what_was_ablated(estimator):
    modules, samples = measured_pairs("channel", estimator, measured=10)
    mask = np.float32(np.arange(len(samples.images)) % 4 > 0)
    samples = samples._replace(mask=tf.constant(mask))
    critiques = np.random.default_rng(0).normal(size=(10, len(modules))).astype("float32")
    total, count = 0.0, 0
    for entry, (image, module) in enumerate(zip(samples.images, samples.modules, strict=True)):
        if mask[entry] and samples.ablated[entry]:
            total += (np.float64(critiques[image, module]) - float(samples.reward[entry])) ** 2
            count += 1
    assert 0 < count < len(mask)
    loss = float(ablation_loss(tf.constant(critiques), samples))
    assert loss == pytest.approx(total / count, rel=1e-5)
