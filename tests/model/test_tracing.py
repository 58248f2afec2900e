"""How often a step is traced, and how large its graph becomes."""

import functools

import pytest
import tensorflow as tf
from graphs import operations_of
from support import compiled, small_data, small_network

from dreal_tf.layers import SqueezeExcite
from dreal_tf.networks.backbones import residual_network


@pytest.mark.parametrize("critic", ["comparative", "paper", None])
def test_a_step_is_not_traced_again_however_long_training_lasts(critic, monkeypatch):
    model = compiled(critic=critic)
    traced = {"train_step": 0, "test_step": 0}
    for name in traced:
        own = getattr(model, name)

        def counting(data, name=name, own=own):
            traced[name] += 1
            return own(data)

        monkeypatch.setattr(model, name, counting)
    images, labels = small_data(24)
    model.fit(images, labels, batch_size=8, validation_data=(images, labels), verbose=0)
    assert traced == {"train_step": 1, "test_step": 1}  # Stock Keras traces the first step twice.
    before = dict(traced)
    for _ in range(2):
        model.fit(images, labels, batch_size=8, epochs=2, validation_data=(images, labels), verbose=0)
    assert traced == before


def graph_of(model, step):
    images, labels = small_data(8)
    traced = tf.function(getattr(model, step))
    return operations_of(traced.get_concrete_function((tf.constant(images), tf.constant(labels))).graph)


@pytest.mark.parametrize("step", ["train_step", "test_step"])
@pytest.mark.parametrize("estimator", ["sampled", "exact"])
def test_a_steps_graph_grows_with_the_network_and_not_with_its_square(step, estimator):
    sizes = []
    for blocks in (2, 4, 6):
        model = compiled(small_network(blocks=blocks), critic="comparative", estimator=estimator)
        sizes.append(len(graph_of(model, step)))
    assert sizes[2] - sizes[1] == pytest.approx(sizes[1] - sizes[0], rel=0.1)


@pytest.mark.parametrize("estimator", ["sampled", "exact"])
def test_nothing_in_a_step_waits_for_the_host(estimator):
    types = graph_of(compiled(critic="comparative", estimator=estimator), "train_step")
    assert not {"PyFunc", "EagerPyFunc", "PyFuncStateless", "Print", "PrintV2"} & set(types)


@pytest.mark.parametrize("estimator", ["sampled", "exact"])
def test_a_step_holds_one_factual_and_one_counterfactual_pass(estimator):
    """Convolutions: one before three blocks and one in each; the first two are not run again."""
    types = graph_of(
        compiled(small_network(blocks=3), critic="paper", estimator=estimator), "train_step"
    )
    assert types.count("Conv2D") == 4 + 2


@functools.cache
def operations_in_step(critic, depth):
    network = residual_network((16, 16, 3), 10, depth=depth, attention=SqueezeExcite(4))
    traced = tf.function(compiled(network, critic=critic).train_step)
    batch = tf.zeros((32, 16, 16, 3)), tf.zeros(32, tf.int32)
    return len(operations_of(traced.get_concrete_function(batch).graph))


@pytest.mark.parametrize("critic", ["comparative", "paper"])
def test_a_block_more_adds_few_operations_to_what_the_method_takes(critic):
    """Blocks of a stage go through the critic, and are replaced, together: a graph is what takes memory."""
    depths = 14, 20  # Three blocks less, three blocks more.
    added = [operations_in_step(critic, depth) - operations_in_step(None, depth) for depth in depths]
    # 163 and 178 before each module had `actor_grad_ratio` and `actor_grad_cosine` of its own.
    assert (added[1] - added[0]) / 3 < 190
