import numpy as np
import tensorflow as tf

from dreal_tf import losses


def test_critic_loss_is_the_mean_squared_error_of_what_counts():
    critique, reward, counted = np.float32([1, 0, 5]), np.float32([0.5, -1, 9]), np.float32([1, 1, 0])
    expected = (0.25 + 1.0) / 2
    assert float(losses.critic_loss(critique, reward, counted)) == expected


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
