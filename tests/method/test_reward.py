"""Probabilities to rewards: values worked out by hand."""

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
