"""Modules that share an operation, and predicted differences of measured pairs, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from support import ACTORS, randomized, small_data, targets_of, with_estimator

from dreal_tf.method import rewards, types
from dreal_tf.method.critics import ComparativeCritic, comparative
from dreal_tf.method.formulas import ablation_loss
from dreal_tf.method.rows import group_by_shape, predicted_differences
from dreal_tf.method.types import PrivilegedInputs
from dreal_tf.modules import ModuleOutput, ModuleSpec

# Three blocks of one stage, of which one has smaller maps; then places; then two of another stage.
SIZES = [
    ("conv2_1", 8, 6),
    ("conv2_2", 8, 6),
    ("conv2_3", 3, 6),
    ("conv3_1", 4, 10),
    ("conv3_2", 4, 10),
]


def critic_and_inputs(batch=7):
    random = np.random.default_rng(0)
    specs, modules = [], []
    for block, side, channels in SIZES:
        shapes = {"channel": (1, 1, channels), "spatial": (side, side, 1)}
        for kind in ("channel", "spatial") if block == "conv3_1" else ("channel",):
            state = random.normal(size=(batch, side, side, channels)).astype("float32")
            action = random.uniform(size=(batch, *shapes[kind])).astype("float32")
            specs.append(ModuleSpec(f"{block}/{kind}", block[:5], kind, state.shape[1:], shapes[kind]))
            modules.append(ModuleOutput(tf.constant(state), tf.constant(action)))
    critic = ComparativeCritic(units=4, grid=2)
    critic.build(specs, classes=3)
    privileged = PrivilegedInputs(None, tf.constant(random.normal(size=(batch, 3)), tf.float32))
    return randomized(critic), modules, privileged


def measured(modules, rows):
    """Made-up reward samples of these rows, in the order of modules or not."""
    random, count = np.random.default_rng(1), rows.images.shape[0]
    candidates = rewards.RowsOfModules(rows, [[module] for module in range(len(modules))]).rows
    kept = [
        types.CounterfactualAction(
            e, tf.constant(random.uniform(size=(len(e), *s.action.shape[1:])), tf.float32)
        )
        for e, s in zip(candidates, modules, strict=True)
    ]
    numbers = {
        name: tf.constant(random.normal(size=count), tf.float32)
        for name in ("difference", "gain", "reward")
    }
    ablated = tf.constant(np.arange(count) % 2, tf.float32)
    right, mask = tf.ones(count, bool), tf.ones(count)
    return types.RewardSamples(
        rows.images,
        rows.modules,
        **numbers,
        correct=right,
        ablated=ablated,
        mask=mask,
        counterfactuals=kept,
    )


def every_answer(critic, modules, privileged, samples):
    with tf.GradientTape() as tape:
        critic_output = critic(modules, privileged, samples=samples)
        loss = critic.loss(critic_output, samples)
    predicted = predicted_differences(
        critic_output.dq_da, [module.action for module in modules], samples
    )
    gradients = tape.gradient(loss, critic.trainable_variables)
    return [
        critic_output.critiques,
        critic_output.costs,
        *critic_output.dq_da,
        loss,
        predicted,
        *gradients,
    ]


@pytest.mark.parametrize("estimator", ["sampled", "exact", "in no order"])
def test_modules_side_by_side_are_judged_as_one_by_one(estimator, monkeypatch):
    critic, modules, privileged = critic_and_inputs()
    plan = rewards.sample_plan(7, 7, len(modules), seed=(0, 1))
    rows = {
        "sampled": plan,
        "exact": rewards.full_plan(plan, len(modules)),
        "in no order": rewards.SamplingPlan(plan.images, tf.random.shuffle(plan.modules)),
    }[estimator]
    samples = measured(modules, rows)
    together = every_answer(critic, modules, privileged, samples)
    traced = tf.function(lambda: every_answer(critic, modules, privileged, samples))()

    def apart(actions, keys=None):
        return [[position] for position in range(len(actions))]

    monkeypatch.setattr(comparative, "group_by_shape", apart)
    monkeypatch.setattr("dreal_tf.method.rows.group_by_shape", apart)
    alone = every_answer(critic, modules, privileged, samples)
    for one, other, compiled in zip(together, alone, traced, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(one, compiled, rtol=1e-4, atol=1e-5)
    assert float(tf.reduce_max(tf.abs(together[0]))) > 0.1


def test_only_channel_actions_of_one_shape_and_key_are_alike():
    critic, modules, _ = critic_and_inputs()
    actions = [module.action for module in modules]
    assert group_by_shape(actions) == [[0, 1, 2], [3, 5], [4]]
    assert group_by_shape(actions, keys=["a", "a", "b", "c", "c", "d"]) == [[0, 1], [2], [3], [4], [5]]
    assert [positions for positions, *_ in critic._together(modules)] == [[0, 1], [2], [3, 5], [4]]


IMAGES, LABELS = small_data(10)


def measured_pairs(form, estimator, measured=7):
    """The modules of a network, and what was measured of three kinds of counterfactuals."""
    exploration = ("reference", "permuted", "noise")
    network, trajectory, reward_estimator = with_estimator(ACTORS[form], exploration)
    outputs, targets = network(IMAGES), targets_of(LABELS)
    plan = rewards.sample_plan(10, measured, len(trajectory.specs), seed=(1, 2), kinds=3)
    if estimator == "exact":
        samples = reward_estimator.estimate_all(IMAGES, targets, outputs, plan)
    else:
        samples = reward_estimator.estimate(IMAGES, targets, outputs, plan)
    return trajectory.emitted(outputs), samples


@pytest.mark.parametrize("estimator", ["sampled", "exact"])
@pytest.mark.parametrize("form", ACTORS)
def test_predicted_differences_are_products_with_the_change_of_the_action(form, estimator):
    modules, samples = measured_pairs(form, estimator)
    random = np.random.default_rng(0)
    directions = [random.normal(size=module.action.shape).astype("float32") for module in modules]
    expected = np.full(len(samples.images), np.nan)
    for position, (entries, counterfactuals) in enumerate(samples.counterfactuals):
        for entry, counterfactual in zip(np.array(entries), np.float64(counterfactuals), strict=True):
            if samples.modules[entry] == position:
                image = samples.images[entry]
                change = np.float64(modules[position].action[image]) - counterfactual
                expected[entry] = np.sum(np.float64(directions[position][image]) * change)
    predicted = predicted_differences(directions, [module.action for module in modules], samples)
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=2e-5)
    assert np.ptp(expected) > 0.01


def test_a_prediction_moves_its_direction_and_not_the_action():
    modules, samples = measured_pairs("channel", "sampled")
    actions = [tf.Variable(module.action) for module in modules]
    directions = [tf.Variable(tf.ones_like(action)) for action in actions]
    modules = [module._replace(action=a) for module, a in zip(modules, actions, strict=True)]
    with tf.GradientTape() as tape:
        predicted = predicted_differences(directions, [module.action for module in modules], samples)
    to_directions, to_actions = tape.gradient(predicted, [directions, actions])
    assert all(np.abs(tf.convert_to_tensor(g)).max() > 0 for g in to_directions)
    assert to_actions == [None] * len(actions)


def test_half_precision_directions_are_taken_too():
    """An actor under mixed precision has actions, and gradients of them, in half precision."""
    modules, samples = measured_pairs("channel", "sampled")
    directions = [tf.ones_like(module.action) for module in modules]
    half = [tf.cast(direction, tf.bfloat16) for direction in directions]
    np.testing.assert_allclose(
        predicted_differences(half, [module.action for module in modules], samples),
        predicted_differences(directions, [module.action for module in modules], samples),
        rtol=1e-6,
    )


@pytest.mark.parametrize("estimator", ["sampled", "exact"])
def test_critiques_are_regressed_on_the_rewards_of_what_was_ablated(estimator):
    modules, samples = measured_pairs("channel", estimator, measured=10)
    mask = np.float32(np.arange(len(samples.images)) % 4 > 0)
    samples = samples._replace(mask=tf.constant(mask))
    critiques = np.random.default_rng(0).normal(size=(10, len(modules))).astype("float32")
    total, count = 0.0, 0
    for entry, (image, module) in enumerate(zip(samples.images, samples.modules, strict=True)):
        if mask[entry] and samples.ablated[entry]:
            total += (np.float64(critiques[image, module]) - float(samples.reward[entry])) ** 2
            count += 1
    assert 0 < count < len(mask)
    loss = float(ablation_loss(tf.constant(critiques), samples))
    assert loss == pytest.approx(total / count, rel=1e-5)
