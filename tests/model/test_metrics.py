import numpy as np
import tensorflow as tf

from dreal_tf.method.rewards import Measurement, Targets
from dreal_tf.model.learner import Lesson
from dreal_tf.model.metrics import ModuleMeans, StepMetrics


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
    metrics = StepMetrics(["a", "b"])
    measurement = Measurement(
        images=tf.constant([0, 1, 2, 3]),
        steps=tf.constant([0, 0, 1, 0]),
        difference=tf.zeros(4),
        gain=tf.constant([0.5, 9.0, 9.0, -0.25]),
        reward=tf.constant([0.5, 9.0, 9.0, -1.0]),
        right=tf.constant([True, True, True, False]),
        ablated=tf.constant([1.0, 0.0, 0.0, 1.0]),
        counted=tf.ones(4),
        alternatives=None,
    )
    lesson = Lesson(tf.ones([4, 2]), None, None, tf.constant([0.25, 0.75]), None)
    targets = Targets(tf.zeros(4, tf.int32), tf.ones(4), tf.ones(4))
    metrics.update_state({}, 4, lesson, targets, measurement)
    logs = {name: float(value) for name, value in metrics.result().items()}
    assert logs["reward/a"] == -0.25 and logs["gain/a"] == 0.5
    assert logs["reward/b"] == logs["gain/b"] == 0
    assert logs["reward_measured"] == 2
    assert logs["trust/a"] == 0.25 and logs["trust/b"] == 0.75


def test_critiques_are_averaged_over_the_images_that_count():
    """Three images, two modules; the last image does not count. Sample weights do not enter."""
    metrics = StepMetrics(["a", "b"])
    nothing = tf.zeros([0])
    measurement = Measurement(
        images=tf.zeros([0], tf.int32),
        steps=tf.zeros([0], tf.int32),
        difference=nothing,
        gain=nothing,
        reward=nothing,
        right=tf.zeros([0], tf.bool),
        ablated=nothing,
        counted=nothing,
        alternatives=None,
    )
    critiques = tf.constant([[1.0, 10.0], [3.0, 50.0], [100.0, 1000.0]])
    lesson = Lesson(critiques, None, None, tf.ones([2]), None)
    targets = Targets(tf.zeros(3, tf.int32), tf.constant([1.0, 1, 0]), tf.constant([4.0, 1, 0]))
    metrics.update_state({}, 3, lesson, targets, measurement)
    logs = {name: float(value) for name, value in metrics.result().items()}
    assert logs["critique/a"] == 2 and logs["critique/b"] == 30
