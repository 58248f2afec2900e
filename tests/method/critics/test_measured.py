"""What directions say of measured pairs, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from support import ACTORS, metered, small_data, targets_of

from dreal_tf.method import rewards
from dreal_tf.method.critics import predicted_differences
from dreal_tf.method.critics.measured import measured_reward_loss

IMAGES, LABELS = small_data(10)


def measured_pairs(form, estimator, measured=7):
    """The steps of a network, and what was measured of three forms of alternatives."""
    exploration = ("baseline", "permuted", "noise")
    network, trajectory, meter = metered(ACTORS[form], exploration)
    outputs, targets = network(IMAGES), targets_of(LABELS)
    drawn = rewards.draw_assignment(10, measured, len(trajectory.specs), seed=(1, 2), forms=3)
    if estimator == "exact":
        measurement = meter.exact(IMAGES, targets, outputs, drawn)
    else:
        measurement = meter.measure(IMAGES, targets, outputs, drawn)
    return trajectory.emitted(outputs), measurement


@pytest.mark.parametrize("estimator", ["sampled", "exact"])
@pytest.mark.parametrize("form", ACTORS)
def test_predicted_differences_are_products_with_the_change_of_the_action(form, estimator):
    steps, measurement = measured_pairs(form, estimator)
    random = np.random.default_rng(0)
    directions = [random.normal(size=step.action.shape).astype("float32") for step in steps]
    expected = np.full(len(measurement.images), np.nan)
    for position, (entries, alternatives) in enumerate(measurement.alternatives):
        for entry, alternative in zip(np.array(entries), np.float64(alternatives), strict=True):
            if measurement.steps[entry] == position:
                image = measurement.images[entry]
                change = np.float64(steps[position].action[image]) - alternative
                expected[entry] = np.sum(np.float64(directions[position][image]) * change)
    predicted = predicted_differences(directions, steps, measurement)
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=2e-5)
    assert np.ptp(expected) > 0.01


def test_a_prediction_moves_its_direction_and_not_the_action():
    steps, measurement = measured_pairs("channel", "sampled")
    actions = [tf.Variable(step.action) for step in steps]
    directions = [tf.Variable(tf.ones_like(action)) for action in actions]
    steps = [step._replace(action=a) for step, a in zip(steps, actions, strict=True)]
    with tf.GradientTape() as tape:
        predicted = predicted_differences(directions, steps, measurement)
    to_directions, to_actions = tape.gradient(predicted, [directions, actions])
    assert all(np.abs(tf.convert_to_tensor(g)).max() > 0 for g in to_directions)
    assert to_actions == [None] * len(actions)


def test_half_precision_directions_are_taken_too():
    """An actor under mixed precision has actions, and gradients of them, in half precision."""
    steps, measurement = measured_pairs("channel", "sampled")
    directions = [tf.ones_like(step.action) for step in steps]
    half = [tf.cast(direction, tf.bfloat16) for direction in directions]
    np.testing.assert_allclose(
        predicted_differences(half, steps, measurement),
        predicted_differences(directions, steps, measurement),
        rtol=1e-6,
    )


@pytest.mark.parametrize("estimator", ["sampled", "exact"])
def test_critiques_are_regressed_on_the_rewards_of_what_was_ablated(estimator):
    steps, measurement = measured_pairs("channel", estimator, measured=10)
    counted = np.float32(np.arange(len(measurement.images)) % 4 > 0)
    measurement = measurement._replace(counted=tf.constant(counted))
    critiques = np.random.default_rng(0).normal(size=(10, len(steps))).astype("float32")
    total, count = 0.0, 0
    for entry, (image, step) in enumerate(zip(measurement.images, measurement.steps, strict=True)):
        if counted[entry] and measurement.ablated[entry]:
            total += (np.float64(critiques[image, step]) - float(measurement.reward[entry])) ** 2
            count += 1
    assert 0 < count < len(counted)
    loss = float(measured_reward_loss(tf.constant(critiques), measurement))
    assert loss == pytest.approx(total / count, rel=1e-5)
