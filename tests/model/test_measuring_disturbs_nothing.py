"""With actor_weight=0, or with a critic not trusted, the network follows plain Keras to the last bit."""

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


def course(model, network, images, labels):
    """The network's variables after every step: weights, averages, random states."""
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append([np.array(tf.convert_to_tensor(v)) for v in network.variables])

    model.fit(images, labels, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, callbacks=[Look()])
    return seen


def optimizer(clip):
    return keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, **clip)


def plain_course(images, labels, clip):
    network = plain_network(network_with_all_kinds_of_state())
    network.compile(optimizer(clip), loss=logits_loss())
    return course(network, network, images, labels)


def our_course(images, labels, clip, **settings):
    model = compiled(network_with_all_kinds_of_state(), optimizer=optimizer(clip), **settings)
    return course(model, model.network, images, labels)


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


@pytest.mark.parametrize(
    "clip",
    [
        {},
        {"global_clipnorm": 0.1},
        *(
            pytest.param(clip, marks=pytest.mark.slow)
            for clip in ({"clipnorm": 0.05}, {"clipvalue": 0.01})
        ),
    ],
)
def test_one_replica(clip):
    images, labels = small_data(STEPS // 2 * BATCH)
    plain = plain_course(images, labels, clip)
    assert_same(our_course(images, labels, clip, critic=None), plain)
    assert_same(our_course(images, labels, clip, critic="paper", actor_weight=0.0), plain)
    assert_same(
        our_course(
            images,
            labels,
            clip,
            critic="paper",
            actor_weight=0.0,
            estimator="exact",
            update="alternating",
        ),
        plain,
    )
    assert np.abs(plain[-1][0] - plain[0][0]).max() > 1e-3


def test_every_kind_of_critic():
    images, labels = small_data(STEPS // 2 * BATCH)
    plain = plain_course(images, labels, {})
    for critic in set(CRITICS) - {"paper"}:
        assert_same(our_course(images, labels, {}, critic=critic, actor_weight=0.0), plain)


@pytest.mark.parametrize("critic", ["paper", "shuffled"])
def test_a_critic_that_is_not_trusted(critic):
    images, labels = small_data(STEPS // 2 * BATCH)
    plain = plain_course(images, labels, {})
    assert_same(our_course(images, labels, {}, critic=critic, actor_weight=1.0), plain)


def test_with_an_actor_weight_they_part():
    images, labels = small_data(STEPS // 2 * BATCH)
    plain = plain_course(images, labels, {})
    ours = our_course(images, labels, {}, critic="paper", actor_weight=1.0, trust=False)
    assert any(np.any(a != b) for a, b in zip(ours[-1], plain[-1], strict=True))


def test_two_replicas(two_replicas):
    images, labels = small_data(STEPS // 2 * BATCH)
    with two_replicas.scope():
        plain = plain_course(images, labels, {})
    for critic in ("paper", "comparative", "direct"):  # The shuffled one differs in its targets.
        with two_replicas.scope():
            ours = our_course(images, labels, {}, critic=critic, actor_weight=0.0)
        assert_same(ours, plain)
