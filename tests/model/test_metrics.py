import numpy as np

from dreal_tf.model.metrics import ModuleMeans


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
