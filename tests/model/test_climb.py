"""The two gradients that meet on the actors, compared."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import logits_loss, small_network

from dreal_tf import DREAL
from dreal_tf.model.climb import compared

IMAGES = np.random.default_rng(0).random((24, 6, 6, 2)).astype("float32")
LABELS = np.arange(24) % 3


def values(found):
    return {name: float(value) for name, value in found.items()}


def test_variables_count_together_and_those_without_a_gradient_do_not():
    random = np.random.default_rng(0)
    shapes = (3, 2), (4,), (5,)
    task, actor = ([tf.constant(random.normal(size=s)) for s in shapes] for _ in range(2))
    task[1] = None
    found = values(compared(task, actor, weight=2.0))
    one, other = (np.concatenate([np.ravel(g[n]) for n in (0, 2)]) for g in (task, actor))
    assert found["climb_ratio"] == pytest.approx(2 * np.linalg.norm(other) / np.linalg.norm(one))
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert found["climb_cosine"] == pytest.approx(cosine, rel=1e-5)


@pytest.mark.parametrize(
    ("task", "actor"), [([0.0], [1.0]), ([1.0], [0.0]), ([np.inf], [1.0]), ([1.0], [np.nan])]
)
def test_where_nothing_can_be_said_it_is_0(task, actor):
    found = values(compared([tf.constant(task)], [tf.constant(actor)], weight=1.0))
    assert found["climb_cosine"] == 0 and np.isfinite(found["climb_ratio"])
    assert values(compared([None], [None], weight=1.0)) == {"climb_ratio": 0, "climb_cosine": 0}


def test_the_true_direction_asks_for_the_task_loss_own_step():
    """At the weight that undoes the mean over steps, L_q's gradient is L_c's own; nothing else is on
    the actors, since the network has no regularisers, and each actor is stateless."""
    network = small_network(blocks=3)
    steps = len(network.output["actions"])
    model = DREAL(network, critic="direct", actor_weight=float(steps), trust=False)
    model.compile(keras.optimizers.SGD(0.0), loss=logits_loss())
    history = model.fit(IMAGES, LABELS, batch_size=24, epochs=1, verbose=0).history
    assert history["climb_cosine"][0] == pytest.approx(1, abs=1e-4)
    assert history["climb_ratio"][0] == pytest.approx(1, abs=1e-3)
