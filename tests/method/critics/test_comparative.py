"""The comparative critic through its outputs and its loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import ACTORS, randomized, small_data, targets_of, with_estimator

from dreal_tf.method import rewards
from dreal_tf.method.critics import ComparativeCritic
from dreal_tf.method.critics.comparative import SMALLEST_ERROR, advantage
from dreal_tf.method.formulas import ablation_loss, comparison_loss
from dreal_tf.method.rows import predicted_differences
from dreal_tf.method.types import PrivilegedInputs
from dreal_tf.modules import ModuleOutput, ModuleSpec

IMAGES, LABELS = small_data(10)
DELTA = 0.5  # The Huber loss's, in nats.


def critic_and_inputs(form="channel", trained=True, labels=LABELS):
    """A critic, the modules that it reads, its privileged inputs, and reward samples."""
    critic = ComparativeCritic(units=6, grid=3)
    network, trajectory, reward_estimator = with_estimator(
        ACTORS[form], critic.exploration, critic.noise
    )
    critic.build(trajectory.specs, classes=3)
    if trained:
        randomized(critic)
    outputs = network(IMAGES)
    plan = rewards.sample_plan(10, 10, len(trajectory.specs), (0, 1), len(critic.exploration))
    samples = reward_estimator.estimate_all(IMAGES, targets_of(labels), outputs, plan)
    privileged = reward_estimator.privileged_inputs(outputs["logits"], tf.constant(labels))
    return critic, trajectory.emitted(outputs), privileged, samples


def touched(gradients, variables):
    """Paths of the variables that a gradient reaches."""
    return {
        v.path
        for g, v in zip(gradients, variables, strict=True)
        if g is not None and np.abs(tf.convert_to_tensor(g)).max() > 0
    }


@pytest.mark.parametrize("form", ACTORS)
def test_the_gradient_of_a_critique_is_its_direction(form):
    """To the last bit, with no word on the actions of other modules."""
    critic, modules, privileged, _ = critic_and_inputs(form)
    actions = [module.action for module in modules]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(actions)
        critic_output = critic(modules, privileged)
        columns = tf.unstack(critic_output.critiques, axis=1)
    for position, column in enumerate(columns):
        for other, gradient in enumerate(tape.gradient(column, actions)):
            if other == position:
                np.testing.assert_array_equal(gradient, critic_output.dq_da[position])
                assert np.abs(gradient).max() > 1e-4 and gradient.shape == actions[other].shape
            else:
                assert gradient is None or not np.any(gradient)


@pytest.mark.parametrize("form", ACTORS)
def test_a_critique_has_no_second_derivative_in_the_action(form):
    critic, modules, privileged, _ = critic_and_inputs(form)
    actions = [module.action for module in modules]
    with tf.GradientTape() as outer:
        outer.watch(actions)
        with tf.GradientTape() as inner:
            inner.watch(actions)
            critiques = critic(modules, privileged).critiques
        slopes = inner.gradient(critiques, actions)
        total = tf.add_n([tf.reduce_sum(slope**2) for slope in slopes])
    assert float(total) > 0
    for second in outer.gradient(total, actions):
        assert second is None or not np.any(second)


@pytest.mark.parametrize(
    ("kind", "shape", "axes"),
    [
        ("channel", (3, 1, 1, 5), (3,)),
        ("spatial", (3, 4, 6, 1), (1, 2)),
        ("pairwise", (3, 2, 4, 6), (3,)),
    ],
)
def test_an_advantage_is_linear_and_nothing_without_selectivity(kind, shape, axes):
    random = np.random.default_rng(0)
    action, change, direction = (random.normal(size=shape).astype("float32") for _ in range(3))
    flat = action.mean(axis=axes, keepdims=True)
    expected = np.sum((direction * (action - flat)).reshape(3, -1), axis=1)
    here = advantage(kind, action, direction).numpy()
    np.testing.assert_allclose(here, expected, rtol=1e-4, atol=1e-5)
    ends = [advantage(kind, action + sign * change, direction).numpy() for sign in (1, -1)]
    np.testing.assert_allclose(ends[0] - 2 * here + ends[1], 0, atol=2e-5)
    assert np.abs(ends[0] - here).max() > 0.1
    even = np.broadcast_to(flat, shape)
    np.testing.assert_allclose(advantage(kind, even, direction), 0, atol=1e-5)


def test_a_critique_of_crosses_is_over_the_keys_that_there_are():
    """Each place has its own key twice and attends to it once: the value is of even attention."""
    random, axes = np.random.default_rng(0), ("rows", "columns", "cross")
    critic = ComparativeCritic(units=6, grid=3)
    spec = ModuleSpec("conv2_1/cross", "conv2", "pairwise", (3, 4, 2), (3, 4, 7), axes)
    critic.build([spec], classes=3)
    randomized(critic)
    state = random.normal(size=(2, 3, 4, 2)).astype("float32")
    valid = np.arange(7) != np.arange(3)[:, None, None]  # Its column's part comes first.
    even = np.broadcast_to(valid / 6, (2, 3, 4, 7)).astype("float32")
    action = even * random.uniform(size=even.shape).astype("float32")
    action /= action.sum(axis=-1, keepdims=True)
    privileged = PrivilegedInputs(None, random.normal(size=(2, 3)).astype("float32"))
    critic_output = critic([ModuleOutput(state, action)], privileged)
    gained = np.sum(critic_output.dq_da[0] * (action - even), axis=(1, 2, 3))
    assert np.abs(gained).min() > 1e-3
    value = critic([ModuleOutput(state, even)], privileged).critiques[:, 0]
    np.testing.assert_allclose(critic_output.critiques[:, 0], value + gained, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ACTORS)
def test_a_critic_that_has_learnt_nothing_advises_nothing(form):
    critic, modules, privileged, _ = critic_and_inputs(form, trained=False)
    for direction, module in zip(critic(modules, privileged).dq_da, modules, strict=True):
        np.testing.assert_array_equal(direction, np.zeros(module.action.shape))


@pytest.mark.parametrize("form", ACTORS)
def test_the_reward_moves_no_direction_and_differences_move_every_one(form):
    critic, modules, privileged, samples = critic_and_inputs(form)
    random = np.random.default_rng(0)
    along = [random.normal(size=module.action.shape).astype("float32") for module in modules]
    variables = critic.trainable_variables
    with tf.GradientTape(persistent=True) as tape:
        critic_output = critic(modules, privileged, samples=samples)
        products = [tf.reduce_sum(d * a) for d, a in zip(critic_output.dq_da, along, strict=True)]
        predicted = predicted_differences(
            critic_output.dq_da, [module.action for module in modules], samples
        )
        compared = comparison_loss(predicted, samples.difference, samples.mask)
        rewarded = ablation_loss(critic_output.critiques, samples)
    of_reward = touched(tape.gradient(rewarded, variables), variables)
    of_differences = touched(tape.gradient(compared, variables), variables)
    assert of_reward
    for one in products:
        of_direction = touched(tape.gradient(one, variables), variables)
        assert of_direction and not of_reward & of_direction
        assert of_direction <= of_differences


def test_the_label_matters():
    """The same states and actions, other labels: other directions for every image."""
    critic, modules, privileged, _ = critic_and_inputs()
    _, _, others, _ = critic_and_inputs(labels=(LABELS + 1) % 3)
    one, other = critic(modules, privileged), critic(modules, others)
    for a, b in zip(one.dq_da, other.dq_da, strict=True):
        assert np.abs(np.subtract(a, b)).max(axis=(1, 2, 3)).min() > 1e-5


@pytest.mark.parametrize("form", ["two steps", "pairwise"])
def test_its_loss_is_the_one_written_out(form):
    """Huber's error of the differences that explored, relative to the length of the image's error;
    squared error of the rewards."""
    critic, modules, privileged, samples = critic_and_inputs(form)
    random = np.random.default_rng(1)
    mask = np.float32(random.uniform(size=len(samples.images)) < 0.8)
    # Large differences too, so that both parts of Huber's error have their share.
    samples = samples._replace(mask=tf.constant(mask), difference=8 * samples.difference)
    wrong = np.float64(privileged.errors)
    size = np.sqrt((wrong**2).sum(axis=1))[samples.images.numpy()]
    critic_output = critic(modules, privileged, samples=samples)
    pairs = samples.images.numpy(), samples.modules.numpy()
    predicted = np.float64(
        predicted_differences(critic_output.dq_da, [module.action for module in modules], samples)
    )
    predicted += np.float64(critic_output.costs)[pairs]
    error = np.abs(predicted - np.float64(samples.difference)) / (size + SMALLEST_ERROR)
    huber = np.where(error <= DELTA, error**2, DELTA * (2 * error - DELTA))
    squared = (np.float64(critic_output.critiques)[pairs] - np.float64(samples.reward)) ** 2
    ablated = samples.ablated.numpy()
    explored = mask * (1 - ablated)
    expected = np.average(huber, weights=explored)
    expected += np.average(squared, weights=mask * ablated)
    loss = float(critic.loss(critic_output, samples))
    assert loss == pytest.approx(expected, rel=1e-4)
    assert (error > DELTA).any() and (error < DELTA).any()


def test_its_directions_learn_the_differences():
    """A critic that is fitted predicts what it was shown, far better than by saying nothing."""
    critic, modules, privileged, samples = critic_and_inputs(trained=False)
    optimizer = keras.optimizers.Adam(0.02)

    @tf.function
    def learn():
        with tf.GradientTape() as tape:
            loss = critic.loss(critic(modules, privileged, samples=samples), samples)
        variables = critic.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    optimizer.build(critic.trainable_variables)
    for _ in range(300):
        learn()
    directions = critic(modules, privileged).dq_da
    predicted = np.array(
        predicted_differences(directions, [module.action for module in modules], samples)
    )
    explored = samples.ablated.numpy() == 0
    correlation = np.corrcoef(predicted[explored], samples.difference.numpy()[explored])[0, 1]
    assert correlation > 0.7


@pytest.mark.parametrize(
    ("kind", "shape", "axes"),
    [
        ("channel", (1, 1, 6), ()),
        ("spatial", (4, 4, 1), ()),
        ("pairwise", (16, 16), ("places", "places")),
    ],
)
def test_blocks_of_a_stage_share_gate_and_head_and_stages_of_equal_width_do_not(kind, shape, axes):
    random = np.random.default_rng(0)
    critic = ComparativeCritic(units=6, grid=3)
    blocks = ("conv2_1", "conv2_2", "conv3_1")
    specs = [ModuleSpec(f"{p}/a", p[:5], kind, (4, 4, 6), shape, axes) for p in blocks]
    critic.build(specs, classes=3)
    randomized(critic)
    modules = [
        ModuleOutput(
            *(tf.constant(random.uniform(size=(2, *s)), tf.float32) for s in ((4, 4, 6), shape))
        )
        for _ in blocks
    ]
    privileged = PrivilegedInputs(None, random.normal(size=(2, 3)).astype("float32"))
    along = [random.normal(size=module.action.shape).astype("float32") for module in modules]
    variables = [v for part in critic.gates + critic.heads for v in part.trainable_variables]
    with tf.GradientTape(persistent=True) as tape:
        directions = critic(modules, privileged).dq_da
        sums = [tf.reduce_sum(d * a) for d, a in zip(directions, along, strict=True)]
    first, second, other = (touched(tape.gradient(one, variables), variables) for one in sums)
    assert first == second and not first & other
    for mine in (first, other):  # A gate and a head each.
        assert {path.split("/")[-2].split("_")[0] for path in mine} >= {"gate", "query"}
