"""With actor_weight=0, or with a critic not trusted, the network follows plain Keras to the last bit."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import TwoModules, compiled, logits_loss, small_data, small_network

from dreal_tf.method.critics import CRITICS
from dreal_tf.networks.backbones import plain_network

STEPS, BATCH = 6, 8


def network_with_all_kinds_of_state():
    """BatchNorm in and out of actors, dropout; weight and activity regularisers are in the loss."""
    keras.utils.set_random_seed(3)
    return small_network(TwoModules(), dropout=0.4)


IMAGES, LABELS = small_data(STEPS // 2 * BATCH)


def variables_of_steps(model, network):
    """The network's variables after every step: weights, averages, random states."""
    steps = []

    class Copy(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps.append([np.array(tf.convert_to_tensor(v)) for v in network.variables])

    options = dict(batch_size=BATCH, epochs=2, shuffle=False, verbose=0, callbacks=[Copy()])
    model.fit(IMAGES, LABELS, **options)
    return steps


def optimizer(**clip):
    return keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, **clip)


@functools.cache
def plain(**clip):
    network = plain_network(network_with_all_kinds_of_state())
    network.compile(optimizer(**clip), loss=logits_loss())
    return variables_of_steps(network, network)


def ours(clip=None, **settings):
    chosen = optimizer(**(clip or {}))
    model = compiled(network_with_all_kinds_of_state(), optimizer=chosen, **settings)
    return variables_of_steps(model, model.network)


def assert_same(one, other):
    assert len(one) == len(other) == STEPS
    for step, (ours, theirs) in enumerate(zip(one, other, strict=True)):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"step {step}")


@pytest.fixture(autouse=True)
def operations_as_written():
    """TensorFlow rewrites sums and products by what else is in the graph, which moves last bits."""
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    yield
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": True})


CLIPS = {"global_clipnorm": 0.1}, {"clipnorm": 0.05}, {"clipvalue": 0.01}


@pytest.mark.parametrize("clip", [{}, *(pytest.param(clip, marks=pytest.mark.slow) for clip in CLIPS)])
def test_one_replica(clip):
    expected, other = plain(**clip), dict(estimator="exact", update="alternating")
    assert_same(ours(clip, critic=None), expected)
    assert_same(ours(clip, critic="paper", actor_weight=0.0), expected)
    assert_same(ours(clip, critic="paper", actor_weight=0.0, **other), expected)
    assert np.abs(expected[-1][0] - expected[0][0]).max() > 1e-3


@pytest.mark.parametrize("critic", sorted(set(CRITICS) - {"paper"}))
def test_every_kind_of_critic(critic):
    assert_same(ours(critic=critic, actor_weight=0.0), plain())


@pytest.mark.parametrize("critic", ["paper", "shuffled"])
def test_a_critic_that_is_not_trusted(critic):
    assert_same(ours(critic=critic, actor_weight=1.0), plain())


def test_an_actor_weight_makes_a_difference():
    with_method = ours(critic="paper", actor_weight=1.0, trust=False)
    assert any(np.any(a != b) for a, b in zip(with_method[-1], plain()[-1], strict=True))


@pytest.mark.slow
def test_two_replicas(two_replicas):
    with two_replicas.scope():
        expected = plain.__wrapped__()
        for critic in ("paper", "comparative", "direct"):  # The shuffled one differs in its targets.
            assert_same(ours(critic=critic, actor_weight=0.0), expected)
