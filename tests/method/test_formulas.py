"""Rewards and losses: values worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.method import formulas


def test_gain_is_one_minus_the_ratio_of_probabilities():
    p, ablated = np.array([0.8, 0.5, 0.9]), np.array([0.2, 0.5, 0.99])
    gain = formulas.relative_gain(np.log(p), np.log(ablated)).numpy()
    np.testing.assert_allclose(gain, 1 - ablated / p, rtol=1e-12)
    assert gain[1] == 0.0


def test_gain_keeps_its_digits_where_probabilities_are_close():
    gain = formulas.relative_gain(np.float32([0.0]), np.float32([-1e-7])).numpy()
    np.testing.assert_allclose(gain, [1e-7], rtol=1e-5)


def test_a_wrong_answer_costs_the_penalty_and_a_right_one_never_more():
    gain = np.float32([0.3, -40.0, np.inf, -np.inf, 0.3])
    right = np.array([True, True, False, True, False])
    reward = formulas.reward(gain, right, penalty=0.5).numpy()
    np.testing.assert_array_equal(reward, np.float32([0.3, -0.5, -0.5, -0.5, -0.5]))


def test_no_gradient_flows_through_the_reward():
    gain = tf.Variable([0.5])
    with tf.GradientTape() as tape:
        reward = formulas.reward(gain, tf.constant([True]))
    assert tape.gradient(reward, gain) is None


def test_log_probabilities_of_logits_and_of_probabilities_agree():
    logits = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    of_logits = formulas.log_probabilities(logits, from_logits=True)
    of_probabilities = formulas.log_probabilities(probabilities, from_logits=False)
    np.testing.assert_allclose(of_logits, np.log(probabilities), atol=1e-6)
    np.testing.assert_allclose(of_probabilities, np.log(probabilities), atol=1e-6)


def test_an_action_counts_where_the_network_is_sure_and_wrong():
    logits = np.float32([[0, 60], [0, 70], [0, 80]])
    probabilities = tf.nn.softmax(logits)
    of_probabilities = formulas.log_probabilities(probabilities, from_logits=False)
    np.testing.assert_allclose(of_probabilities, tf.nn.log_softmax(logits), rtol=1e-6)
    half = formulas.log_probabilities(tf.cast(probabilities, tf.float16), from_logits=False)
    np.testing.assert_allclose(half[:, 0], np.log(2.0**-24), rtol=1e-6)


def test_labels_come_as_numbers_columns_or_weights():
    weights = np.float32([[0, 1, 0], [0.7, 0.3, 0], [0.2, 0, 0.8]])
    label, counts = formulas.true_labels(weights, 3)
    assert label.numpy().tolist() == [1, 0, 2] and counts.numpy().tolist() == [True, False, True]
    for labels in ([2, 0], [[2], [0]]):
        label, counts = formulas.true_labels(np.array(labels), 3)
        assert label.numpy().tolist() == [2, 0] and counts.numpy().all()


def test_a_label_that_is_no_class_does_not_count():
    label, counts = formulas.true_labels(np.array([-1, 3, 1]), 3)
    assert counts.numpy().tolist() == [False, False, True]
    assert ((label.numpy() >= 0) & (label.numpy() < 3)).all()


def test_labels_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"Expected labels \(batch,\).*Received: shape \(2, 5\)"):
        formulas.true_labels(np.zeros((2, 5)), 3)


def test_critic_loss_is_the_mean_squared_error_of_what_counts():
    critique, reward, mask = np.float32([1, 0, 5]), np.float32([0.5, -1, 9]), np.float32([1, 1, 0])
    expected = (0.25 + 1.0) / 2
    assert float(formulas.critic_loss(critique, reward, mask)) == expected


def test_critic_loss_of_nothing_is_zero():
    assert float(formulas.critic_loss(np.float32([1]), np.float32([0]), np.float32([0]))) == 0.0


def test_critic_loss_has_no_gradient_to_the_reward():
    reward = tf.Variable([0.5])
    with tf.GradientTape() as tape:
        loss = formulas.critic_loss(tf.constant([1.0]), reward, tf.constant([1.0]))
    assert tape.gradient(loss, reward) is None


def test_actor_loss_is_minus_the_weighted_mean_critique():
    critiques = np.float32([[1, 3], [2, 2], [10, 10]])
    weights = np.float32([1, 0.5, 0])
    expected = -(2 * 1 + 2 * 0.5 + 0) / 3
    np.testing.assert_allclose(float(formulas.actor_loss(critiques, weights)), expected, rtol=1e-6)


def test_actor_loss_of_an_empty_batch_is_zero():
    assert float(formulas.actor_loss(np.zeros((0, 2), "float32"), np.zeros(0, "float32"))) == 0.0


def test_comparison_loss_is_the_square_of_small_errors_and_linear_in_large_ones():
    """With one slope where the two meet."""
    error = np.float32([0, 0.3, -0.3, 0.5, 2.0, -2.0])
    ones, difference = np.ones(6, "float32"), np.float32([1, -1, 0, 2, 0, 5])
    each = [
        float(
            formulas.comparison_loss(difference[i : i + 1] + error[i], difference[i : i + 1], ones[:1])
        )
        for i in range(6)
    ]
    np.testing.assert_allclose(each, [0, 0.09, 0.09, 0.25, 1.75, 1.75], rtol=1e-5, atol=1e-6)
    whole = formulas.comparison_loss(difference + error, difference, ones)
    np.testing.assert_allclose(float(whole), np.mean(each), rtol=1e-5)
    predicted = tf.Variable([0.4999, 0.5001, 3.0])
    with tf.GradientTape() as tape:
        loss = formulas.comparison_loss(predicted, tf.zeros(3), tf.ones(3))
    np.testing.assert_allclose(3 * tape.gradient(loss, predicted), [1, 1, 1], atol=1e-3)


def test_comparison_loss_leaves_out_what_does_not_count_and_moves_no_measurement():
    difference = tf.Variable([0.5, 9.0])
    with tf.GradientTape() as tape:
        loss = formulas.comparison_loss(tf.constant([0.25, 0.0]), difference, tf.constant([1.0, 0.0]))
    assert float(loss) == 0.0625 and tape.gradient(loss, difference) is None
    assert float(formulas.comparison_loss([1.0], tf.constant([0.0]), tf.constant([0.0]))) == 0.0
