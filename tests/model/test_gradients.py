"""The two gradients that meet on the actors: compared, and brought to one length."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import ACTORS, compiled, logits_loss, small_network

from dreal_tf import DREAL
from dreal_tf.model import RelativeWeight
from dreal_tf.model.gradients import gradient_products, ratio_and_cosine

IMAGES = np.random.default_rng(0).random((24, 6, 6, 2)).astype("float32")
LABELS = np.arange(24) % 3


def compared(task, actor):
    """Ratio and cosine over all variables; and over one group of all of them, which must be the same."""
    sizes = [1 if gradient is None else int(tf.size(gradient)) for gradient in task]
    products = gradient_products(task, actor, [tuple(range(len(task)))], sizes)
    overall, of_groups = ([part.numpy() for part in ratio_and_cosine(part)] for part in products)
    assert [part[0] for part in of_groups] == overall
    return overall


def test_variables_count_together_and_those_without_a_gradient_do_not():
    random = np.random.default_rng(0)
    shapes = (3, 2), (4,), (5,)
    task, actor = ([tf.constant(random.normal(size=s)) for s in shapes] for _ in range(2))
    task[1] = None
    ratio, cosine = compared(task, actor)
    one, other = (np.concatenate([np.ravel(g[n]) for n in (0, 2)]) for g in (task, actor))
    assert ratio == pytest.approx(np.linalg.norm(other) / np.linalg.norm(one))
    expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert cosine == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("task", "actor"), [([0.0], [1.0]), ([1.0], [0.0]), ([np.inf], [1.0]), ([1.0], [np.nan])]
)
def test_where_nothing_can_be_said_it_is_0(task, actor):
    ratio, cosine = compared([tf.constant(task)], [tf.constant(actor)])
    assert cosine == 0 and np.isfinite(ratio)
    assert compared([None], [None]) == [0, 0]


def test_modules_are_compared_by_themselves_in_any_order_of_their_variables():
    task, actor = [tf.constant([3.0, 4.0]), tf.constant([2.0])], [tf.constant([0.0, 1.0])] * 2
    actor[1] = tf.constant([-0.5])
    for groups, expected in (([(0,), (1,), (1,)], [0, 1, 1]), ([(1,), (0,)], [1, 0])):
        overall, of_modules = map(ratio_and_cosine, gradient_products(task, actor, groups, [2, 1]))
        np.testing.assert_allclose(of_modules[0], np.array([0.2, 0.25])[expected], rtol=1e-6)
        np.testing.assert_allclose(of_modules[1], np.array([0.8, -1])[expected], rtol=1e-6)
        np.testing.assert_allclose(overall, [0.5 * 5**0.5 / 29**0.5, 6 / 145**0.5], rtol=1e-6)
    _, frozen = gradient_products([task[0], None], [actor[0], None], [(0,), (1,)], [2, 1])
    np.testing.assert_allclose(ratio_and_cosine(frozen), [[0.2, 0], [0.8, 0]], rtol=1e-6)


def lengths_of(*steps):
    """Factors after steps of L_c's and L_q's gradients, of two modules with a variable each."""
    balance = RelativeWeight(modules=2)
    for task, actor in steps:
        of_modules = [[tf.constant([actor[0]]), None], [None, tf.constant([actor[1]])]]
        factors = balance.factors([tf.constant([part]) for part in task], of_modules, [1, 1])
    return factors.numpy()


def test_factors_are_ratios_of_fading_means():
    assert lengths_of(([3.0, -4.0], [1.5, 2.0])) == pytest.approx([2, 2])
    fading = lengths_of(([1.0, 2.0], [1.0, 1.0]), ([4.0, 2.0], [2.0, 5.0]))
    expected = [(0.99 + 4) / (0.99 + 2), (0.99 * 2 + 2) / (0.99 + 5)]
    np.testing.assert_allclose(fading, expected, rtol=1e-5)


def test_a_critic_without_slope_is_raised_no_further_than_the_floor_and_no_gradient_gives_0():
    np.testing.assert_allclose(lengths_of(([2.0, 0.0], [1e-9, 1.0])), [1e4, 0], rtol=1e-5)


def test_a_step_that_overflows_is_not_remembered():
    good, bad = ([3.0, 1.0], [1.0, 1.0]), ([np.inf, 7.0], [1.0, 7.0])
    assert lengths_of(good, bad)[0] == lengths_of(good)[0]


def test_modules_that_share_weights_share_a_factor():
    first, second, alone = tf.constant([1.0, 0.0]), tf.constant([0.0, 1.0]), tf.constant([1.0])
    of_modules = [[first, None, None], [second, second, None], [None, None, alone]]
    task = [tf.constant([3.0, 0.0]), tf.constant([0.0, 4.0]), tf.constant([2.0])]
    factors = RelativeWeight(modules=3).factors(task, of_modules, [2, 2, 1])
    # L_q's gradients are (1, 1) and (0, 1) on the shared variables, of length √3.
    np.testing.assert_allclose(factors, [5 / 3**0.5, 5 / 3**0.5, 2], rtol=1e-6)


@pytest.mark.parametrize("attention", ACTORS.values(), ids=ACTORS)
@pytest.mark.parametrize("critic", ["paper", "direct"])  # A comparative critic begins without slope.
def test_a_weight_is_the_same_push_on_every_kind_of_module(attention, critic):
    """At the first step the means are that step's, so the push has the weight's length exactly."""
    settings = dict(actor_weight=0.3, trust=False, eager=True, reward_fraction=1.0)
    network = small_network(attention, image_shape=(4, 4, 2))
    history = compiled(network, critic=critic, **settings).fit(
        IMAGES[:, :4, :4], LABELS, batch_size=24, verbose=0
    )
    ratios = {n: v[0] for n, v in history.history.items() if n.startswith("actor_grad_ratio")}
    assert len(ratios) > 1 and list(ratios.values()) == pytest.approx([0.3] * len(ratios), rel=1e-4)


@pytest.mark.parametrize("eager", [True, False])
def test_factors_are_ratios_of_fading_means_traced_or_not(eager):
    """Traced, TensorFlow once took the quotient for 1: its optimizer read the wrong mean."""
    balance, rate = RelativeWeight(2), RelativeWeight.DECAY
    run = tf.function(balance.factors, reduce_retracing=True)
    means = np.zeros((2, 2))
    for step in range(1, 4):
        task, actor = np.float32([[3, 4], [6, 8]]) * step, np.float32([[0.5, 0], [0, 2]])
        means = rate * means + (1 - rate) * np.array([[5 * step, 10 * step], [0.5, 2]])
        of_modules = [[tf.constant(actor[0]), None], [None, tf.constant(actor[1])]]
        factors = (balance.factors if eager else run)(list(map(tf.constant, task)), of_modules, [2, 2])
        np.testing.assert_allclose(factors, means[0] / means[1], rtol=1e-5)


def test_a_compiled_step_pushes_as_hard_as_the_weight_says():
    settings = dict(actor_weight=0.3, trust=False, eager=False, reward_fraction=1.0)
    logs = compiled(**settings).fit(IMAGES, LABELS, batch_size=24, verbose=0).history
    ratios = [v[0] for n, v in logs.items() if n.startswith("actor_grad_ratio")]
    assert len(ratios) > 1 and ratios == pytest.approx([0.3] * len(ratios), rel=1e-3)


def test_clipping_the_task_gradient_leaves_the_push_as_it_is():
    """The weight is relative to the unclipped gradient, so that a norm cannot change the push."""
    ratios = []
    for clip in ({}, {"clipvalue": 1e-3}):
        keras.utils.set_random_seed(1)
        optimizer = keras.optimizers.SGD(0.1, **clip)
        model = compiled(actor_weight=0.5, trust=False, optimizer=optimizer, eager=True)
        pushes, push = [], model.push
        model.push = lambda *parts, made=pushes, push=push: made.append(push(*parts)) or made[-1]
        model.train_on_batch(IMAGES, LABELS)
        ratios.append([part.numpy() for part in pushes[0] if part is not None])
    for one, other in zip(*ratios, strict=True):
        np.testing.assert_array_equal(one, other)


def test_replicas_have_the_same_factors(two_replicas):
    with two_replicas.scope():
        model = compiled(actor_weight=0.5, trust=False)
        model.fit(IMAGES, LABELS, batch_size=24, epochs=2, verbose=0)
    copies = [
        part.numpy()
        for part in two_replicas.experimental_local_results(model.relative_weight.lengths.value)
    ]
    assert len(copies) == 2 and copies[0].min() > 0
    np.testing.assert_array_equal(*copies)


def test_the_true_gradient_asks_for_the_task_loss_own_step():
    """At the weight that undoes the mean over steps, L_q's gradient is L_c's own; nothing else is on
    the actors, since the network has no regularisers, and each actor is stateless."""
    network = small_network(blocks=3)
    steps = len(network.output["actions"])
    settings = dict(actor_weight=float(steps), actor_weight_mode="absolute", trust=False)
    model = DREAL(network, critic="direct", **settings)
    model.compile(keras.optimizers.SGD(0.0), loss=logits_loss(), run_eagerly=True)
    history = model.fit(IMAGES, LABELS, batch_size=24, epochs=1, verbose=0).history
    assert history["actor_grad_cosine"][0] == pytest.approx(1, abs=1e-4)
    assert history["actor_grad_ratio"][0] == pytest.approx(1, abs=1e-3)
    for module in model.trajectory.modules:
        assert history[f"actor_grad_cosine/{module}"][0] == pytest.approx(1, abs=1e-4)
        assert history[f"actor_grad_ratio/{module}"][0] == pytest.approx(1, abs=1e-3)
