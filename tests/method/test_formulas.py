import numpy as np
import tensorflow as tf

from dreal_tf.method import formulas as losses


def test_critic_loss_is_the_mean_squared_error_of_what_counts():
    critique, reward, mask = np.float32([1, 0, 5]), np.float32([0.5, -1, 9]), np.float32([1, 1, 0])
    expected = (0.25 + 1.0) / 2
    assert float(losses.critic_loss(critique, reward, mask)) == expected


def test_critic_loss_of_nothing_is_zero():
    assert float(losses.critic_loss(np.float32([1]), np.float32([0]), np.float32([0]))) == 0.0


def test_critic_loss_has_no_gradient_to_the_reward():
    reward = tf.Variable([0.5])
    with tf.GradientTape() as tape:
        loss = losses.critic_loss(tf.constant([1.0]), reward, tf.constant([1.0]))
    assert tape.gradient(loss, reward) is None


def test_actor_loss_is_minus_the_weighted_mean_critique():
    critiques = np.float32([[1, 3], [2, 2], [10, 10]])
    weights = np.float32([1, 0.5, 0])
    expected = -(2 * 1 + 2 * 0.5 + 0) / 3
    np.testing.assert_allclose(float(losses.actor_loss(critiques, weights)), expected, rtol=1e-6)


def test_actor_loss_of_an_empty_batch_is_zero():
    assert float(losses.actor_loss(np.zeros((0, 2), "float32"), np.zeros(0, "float32"))) == 0.0


def test_comparison_loss_is_the_square_of_small_errors_and_linear_in_large_ones():
    """With one slope where the two meet."""
    error = np.float32([0, 0.3, -0.3, 0.5, 2.0, -2.0])
    ones, difference = np.ones(6, "float32"), np.float32([1, -1, 0, 2, 0, 5])
    each = [
        float(losses.comparison_loss(difference[i : i + 1] + error[i], difference[i : i + 1], ones[:1]))
        for i in range(6)
    ]
    np.testing.assert_allclose(each, [0, 0.09, 0.09, 0.25, 1.75, 1.75], rtol=1e-5, atol=1e-6)
    whole = losses.comparison_loss(difference + error, difference, ones)
    np.testing.assert_allclose(float(whole), np.mean(each), rtol=1e-5)
    predicted = tf.Variable([0.4999, 0.5001, 3.0])
    with tf.GradientTape() as tape:
        loss = losses.comparison_loss(predicted, tf.zeros(3), tf.ones(3))
    np.testing.assert_allclose(3 * tape.gradient(loss, predicted), [1, 1, 1], atol=1e-3)


def test_comparison_loss_leaves_out_what_does_not_count_and_moves_no_measurement():
    difference = tf.Variable([0.5, 9.0])
    with tf.GradientTape() as tape:
        loss = losses.comparison_loss(tf.constant([0.25, 0.0]), difference, tf.constant([1.0, 0.0]))
    assert float(loss) == 0.0625 and tape.gradient(loss, difference) is None
    assert float(losses.comparison_loss([1.0], tf.constant([0.0]), tf.constant([0.0]))) == 0.0
