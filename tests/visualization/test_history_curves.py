"""What a history says of the modules, and whether critiques follow rewards."""

import numpy as np
import pytest

from dreal_tf.visualization.history_curves import course, module_courses, stage_correlations


def test_modules_come_in_the_order_of_depth():
    names = ["conv2_2/se", "conv10_1/se", "conv2_10/se", "conv3_1/se"]
    rows = [{"epoch": 0, **{f"reward/{name}": 0.0 for name in sorted(names)}, "val_reward/x/se": 1.0}]
    order = ["conv2_2/se", "conv2_10/se", "conv3_1/se", "conv10_1/se"]
    assert list(module_courses(rows, "reward")) == order


def test_an_epoch_that_lacks_a_value_is_no_number():
    rows = [{"epoch": 0, "loss": 1.0}, {"epoch": 1}]
    assert np.isnan(course(rows, "loss")[1]) and course(rows, "accuracy") is None


def test_correlations_pool_the_modules_of_a_stage():
    random = np.random.default_rng(0)
    critiques = {f"conv2_{n}/se": random.normal(size=6) for n in (1, 2)}
    rewards = {module: random.normal(size=6) for module in critiques}
    critiques["conv3_1/se"], rewards["conv3_1/se"] = np.arange(6.0), -np.arange(6.0)
    found = stage_correlations(critiques, rewards)
    pooled = [np.concatenate(list(of.values())[:2]) for of in (critiques, rewards)]
    assert found["conv2"]["points"] == 12
    assert found["conv2"]["correlation"] == pytest.approx(np.corrcoef(*pooled)[0, 1])
    assert found["conv3"]["correlation"] == pytest.approx(-1)
    assert found["conv3"]["of_changes"] is None  # Every change is the same.


def test_a_common_rise_alone_does_not_correlate_changes():
    rise, wiggle = np.arange(8.0), np.array([0, 1, 0, 1, 0, 1, 0, 1])
    found = stage_correlations({"a_1/se": rise + wiggle}, {"a_1/se": rise - wiggle})["a"]
    assert found["correlation"] > 0.7 and found["of_changes"] == pytest.approx(-1)


def test_two_epochs_say_nothing():
    found = stage_correlations({"a_1/se": np.array([0.0, 1.0])}, {"a_1/se": np.array([0.0, 1.0])})
    assert found["a"] == {"points": 2, "correlation": None, "of_changes": None}
