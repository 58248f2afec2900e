"""The logged quantities of a step, from values worked out by hand."""

import numpy as np
import tensorflow as tf

from dreal_tf.method.metrics import MethodMetrics, ModuleMeans
from dreal_tf.method.types import RewardSamples


def test_means_are_over_the_epoch_not_over_steps():
    means = ModuleMeans(["a", "b"], "reward")
    means.update_state(np.float32([1, 2, 6]), np.int32([0, 0, 1]), np.float32([1, 1, 1]))
    means.update_state(np.float32([6]), np.int32([0]), np.float32([1]))
    assert {key: float(value) for key, value in means.result().items()} == {
        "reward/a": 3,
        "reward/b": 6,
    }


def test_what_does_not_count_leaves_no_trace_even_if_infinite():
    means = ModuleMeans(["a"], "gain")
    means.update_state(np.float32([np.inf, np.nan, 2]), np.int32([0, 0, 0]), np.float32([0, 0, 1]))
    assert float(means.result()["gain/a"]) == 2


def test_reset_starts_anew():
    means = ModuleMeans(["a"], "gain")
    means.update_state(np.float32([5]), np.int32([0]), np.float32([1]))
    means.reset_state()
    assert float(means.result()["gain/a"]) == 0


def test_only_what_was_ablated_counts_as_reward_and_gain():
    """Noise and another image's action tell the critic something, not the log."""
    metrics = MethodMetrics(["a", "b"])
    samples = RewardSamples(
        images=tf.constant([0, 1, 2, 3]),
        modules=tf.constant([0, 0, 1, 0]),
        difference=tf.zeros(4),
        gain=tf.constant([0.5, 9.0, 9.0, -0.25]),
        reward=tf.constant([0.5, 9.0, 9.0, -1.0]),
        correct=tf.constant([True, True, True, False]),
        ablated=tf.constant([1.0, 0.0, 0.0, 1.0]),
        mask=tf.ones(4),
        counterfactuals=None,
    )
    metrics.add_rewards(samples, images=4)
    metrics.add_critic(0.0, 0.0, tf.ones([4, 2]), tf.constant([0.25, 0.75]), tf.ones(4), present=4)
    logs = {name: float(value) for name, value in metrics.result().items()}
    assert logs["reward/a"] == -0.25 and logs["gain/a"] == 0.5
    assert logs["reward/b"] == logs["gain/b"] == 0 and logs["reward"] == -0.25
    assert logs["reward_measured"] == 2
    assert logs["trust/a"] == 0.25 and logs["trust/b"] == 0.75


def test_critiques_are_averaged_over_the_images_that_count():
    """Three images, two modules; the last image does not count. Sample weights do not enter."""
    metrics = MethodMetrics(["a", "b"])
    critiques = tf.constant([[1.0, 10.0], [3.0, 50.0], [100.0, 1000.0]])
    mask = tf.constant([1.0, 1, 0])
    metrics.add_critic(0.0, 0.0, critiques, tf.ones([2]), mask, present=3)
    logs = {name: float(value) for name, value in metrics.result().items()}
    assert logs["critique/a"] == 2 and logs["critique/b"] == 30
