"""The two gradients that meet on the actors, compared."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import logits_loss, small_network

from dreal_tf import DREAL
from dreal_tf.model.gradients import compare_gradients

IMAGES = np.random.default_rng(0).random((24, 6, 6, 2)).astype("float32")
LABELS = np.arange(24) % 3


def ratio_and_cosine(task, actor, weight):
    """Over all variables; and over one group of all of them, which must be the same."""
    sizes = [1 if gradient is None else int(tf.size(gradient)) for gradient in task]
    overall, of_groups = compare_gradients(task, actor, weight, [list(range(len(task)))], sizes)
    assert [float(part[0]) for part in of_groups] == [float(part) for part in overall]
    return [float(part) for part in overall]


def test_variables_count_together_and_those_without_a_gradient_do_not():
    random = np.random.default_rng(0)
    shapes = (3, 2), (4,), (5,)
    task, actor = ([tf.constant(random.normal(size=s)) for s in shapes] for _ in range(2))
    task[1] = None
    ratio, cosine = ratio_and_cosine(task, actor, weight=2.0)
    one, other = (np.concatenate([np.ravel(g[n]) for n in (0, 2)]) for g in (task, actor))
    assert ratio == pytest.approx(2 * np.linalg.norm(other) / np.linalg.norm(one))
    expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert cosine == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("task", "actor"), [([0.0], [1.0]), ([1.0], [0.0]), ([np.inf], [1.0]), ([1.0], [np.nan])]
)
def test_where_nothing_can_be_said_it_is_0(task, actor):
    ratio, cosine = ratio_and_cosine([tf.constant(task)], [tf.constant(actor)], weight=1.0)
    assert cosine == 0 and np.isfinite(ratio)
    assert ratio_and_cosine([None], [None], weight=1.0) == [0, 0]


def test_groups_are_compared_by_themselves():
    task, actor = [tf.constant([3.0, 4.0]), tf.constant([2.0])], [tf.constant([0.0, 2.0])] * 2
    actor[1] = tf.constant([-1.0])
    overall, (ratios, cosines) = compare_gradients(task, actor, 0.5, [[0], [1], [1]], [2, 1])
    np.testing.assert_allclose(ratios, [0.2, 0.25, 0.25], rtol=1e-6)
    np.testing.assert_allclose(cosines, [0.8, -1, -1], rtol=1e-6)
    np.testing.assert_allclose(overall, [0.5 * 5**0.5 / 29**0.5, 6 / 145**0.5], rtol=1e-6)
    frozen = compare_gradients([task[0], None], [actor[0], None], 0.5, [[0], [1]], [2, 1])
    np.testing.assert_allclose(frozen[1], [[0.2, 0], [0.8, 0]], rtol=1e-6)


def test_the_true_gradient_asks_for_the_task_loss_own_step():
    """At the weight that undoes the mean over steps, L_q's gradient is L_c's own; nothing else is on
    the actors, since the network has no regularisers, and each actor is stateless."""
    network = small_network(blocks=3)
    steps = len(network.output["actions"])
    model = DREAL(network, critic="direct", actor_weight=float(steps), trust=False)
    model.compile(keras.optimizers.SGD(0.0), loss=logits_loss(), run_eagerly=True)
    history = model.fit(IMAGES, LABELS, batch_size=24, epochs=1, verbose=0).history
    assert history["actor_grad_cosine"][0] == pytest.approx(1, abs=1e-4)
    assert history["actor_grad_ratio"][0] == pytest.approx(1, abs=1e-3)
    for module in model.trajectory.modules:
        assert history[f"actor_grad_cosine/{module}"][0] == pytest.approx(1, abs=1e-4)
        assert history[f"actor_grad_ratio/{module}"][0] == pytest.approx(1, abs=1e-3)
