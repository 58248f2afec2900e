"""Alignment against vectors worked by hand, and against finite differences of log p."""

import numpy as np
import pytest
from support import ACTORS, compiled, small_data, small_network

from dreal_tf.layers import intervene
from dreal_tf.method.instruments import Instruments, alignment


def vectors(*rows):
    return np.float32(rows).reshape(len(rows), 1, 1, -1)


def test_cosines_worked_by_hand():
    dq_da = vectors([1, 0], [0, 2], [-3, 0], [3, 4])
    true = vectors([5, 0], [1, 0], [1, 0], [4, 3])
    cosines, mask = alignment(dq_da, true)
    np.testing.assert_allclose(cosines, [1, 0, -1, 24 / 25], atol=1e-6)
    assert mask.numpy().all()


def test_lengths_do_not_matter_however_small():
    for scale in (1e-30, 1e-18, 1e18, 1e30):
        cosines, mask = alignment(scale * vectors([3, 4]), vectors([1, 0]) / scale)
        assert float(cosines[0]) == pytest.approx(0.6, abs=1e-6) and mask.numpy().all()


def test_what_has_no_true_direction_is_left_out():
    true = vectors([0, 0], [np.nan, 1], [np.inf, 1], [0, 1])
    _, mask = alignment(np.ones_like(true), true)
    assert mask.numpy().tolist() == [False, False, False, True]


def test_a_silent_or_broken_critic_has_no_alignment():
    dq_da = vectors([0, 0], [np.nan, 1], [1, -np.inf])
    cosines, mask = alignment(dq_da, np.ones_like(dq_da))
    assert cosines.numpy().tolist() == [0, 0, 0] and mask.numpy().all()


def log_p(network, images, labels, module=None, change=None):
    """In float64, with `change` added to one module's action."""

    def decide(actor, index, state, action):
        return action + change if actor.modules()[index] == module else action

    with intervene(decide):
        logits = np.float64(network(images)["logits"])
    logits -= logits.max(axis=1, keepdims=True)
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[np.arange(len(labels)), labels]


@pytest.mark.parametrize("form", ["channel", "two steps"])
def test_cosines_equal_those_with_finite_differences(form):
    images, labels = small_data(6)
    model = compiled(small_network(ACTORS[form], blocks=2), critic="comparative")
    random = np.random.default_rng(0)
    for variable in model.critic.trainable_variables:  # Its heads start at zero.
        variable.assign(random.normal(size=variable.shape))
    parts = model.trajectory_network, model.trajectory, model.critic, model.reward_estimator
    instruments = Instruments(*parts)
    gradients = instruments.action_gradients(images, labels)
    cosines, mask = (part.numpy() for part in instruments.alignments(gradients))
    step = 2e-3  # Short, so that few units are switched on or off on the way.
    for position, module in enumerate(model.trajectory.modules):
        shape = gradients.true[position].shape[1:]
        numerical = np.zeros((6, int(np.prod(shape))))
        for entry in range(numerical.shape[1]):
            change = np.zeros(numerical.shape[1], "float32")
            change[entry] = step
            change = change.reshape(1, *shape)
            ends = [log_p(parts[0], images, labels, module, s * change) for s in (1, -1)]
            numerical[:, entry] = (ends[0] - ends[1]) / (2 * step)
        ours = np.float64(gradients.dq_da[position]).reshape(6, -1)
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(numerical, axis=1)
        there = np.linalg.norm(numerical, axis=1) > 1e-3
        expected = (ours * numerical).sum(axis=1) / np.maximum(lengths, 1e-12)
        np.testing.assert_allclose(cosines[there, position], expected[there], atol=0.03)
        assert mask[there, position].all() and there.any()
    assert np.ptp(cosines) > 0.1
