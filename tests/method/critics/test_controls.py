"""The two controls: one that knows everything to first order, one that is taught of other images."""

from functools import partial

import numpy as np
import oracle
import pytest
import tensorflow as tf
from support import randomized, small_data, small_network, targets_of, with_estimator

from dreal_tf.method import formulas, rewards
from dreal_tf.method.critics import DirectCritic, ShuffledCritic
from dreal_tf.method.rows import predicted_differences
from dreal_tf.method.types import CriticOutput, PrivilegedInputs
from dreal_tf.networks.backbones import Trajectory

IMAGES, LABELS = small_data(4, (4, 4, 2), seed=1)


def randomized_actors(trajectory):
    for seed, actor in enumerate(trajectory.actors):
        random = np.random.default_rng(seed)
        actor.excite.kernel.assign(random.normal(size=actor.excite.kernel.shape))


def true_directions_of(network, trajectory):
    """By the package, in a training pass: BatchNorm couples the images."""
    with tf.GradientTape() as tape:
        outputs = network(IMAGES, training=True)
        log_p = formulas.log_probabilities(outputs["logits"], from_logits=True)
        log_p = tf.gather(log_p, LABELS, batch_dims=1)
    actions = [outputs["actions"][module] for module in trajectory.modules]
    return outputs, formulas.true_action_gradients(tape, log_p, actions)


def directions_by_differences(weights):
    """Central differences, in float64, of the sum of log p with respect to each action."""
    _, _, actions, _ = oracle.forward(weights, np.float64(IMAGES))

    def total(free, block):
        logits, *_ = oracle.forward(weights, np.float64(IMAGES), given={block: free[block]})
        return oracle.log_softmax(logits)[np.arange(len(LABELS)), LABELS].sum()

    return [
        oracle.gradient(partial(total, block=block), actions, [block])[block] for block in oracle.BLOCKS
    ]


def test_direct_directions_are_those_of_finite_differences():
    network = small_network(image_shape=(4, 4, 2))
    trajectory = Trajectory(network)
    randomized_actors(trajectory)
    expected = directions_by_differences(oracle.weights_of(network))
    outputs, directions = true_directions_of(network, trajectory)
    critic = DirectCritic()
    critic.build(trajectory.specs, classes=3)
    privileged = PrivilegedInputs(tf.constant(LABELS), None, directions)
    modules = trajectory.emitted(outputs)
    actions = [module.action for module in modules]
    with tf.GradientTape() as tape:
        tape.watch(actions)
        critic_output = critic(modules, privileged)
    for given, climbed, by_hand in zip(
        critic_output.dq_da, tape.gradient(critic_output.critiques, actions), expected, strict=True
    ):
        np.testing.assert_array_equal(climbed, given)
        np.testing.assert_allclose(climbed[:, 0, 0], by_hand, rtol=1e-3, atol=1e-5)
        assert np.abs(by_hand).max() > 1e-3


def test_direct_critiques_estimate_what_ablation_measures():
    """First order in A - Ā: for an action close to its mean, nearly all of the difference."""
    network, trajectory, reward_estimator = with_estimator()
    images, labels = small_data(8)
    for actor in trajectory.actors:
        actor.excite.kernel.assign(0.05 * actor.excite.kernel)
    with tf.GradientTape() as tape:
        outputs = network(images)
        log_p = reward_estimator.score(labels, outputs["logits"])
    actions = [outputs["actions"][module] for module in trajectory.modules]
    directions = formulas.true_action_gradients(tape, log_p, actions)
    critic = DirectCritic()
    critic.build(trajectory.specs, classes=3)
    privileged = reward_estimator.privileged_inputs(outputs["logits"], tf.constant(labels), directions)
    critiques = critic(trajectory.emitted(outputs), privileged).critiques.numpy()
    plan = rewards.SamplingPlan(tf.range(8), None)
    measured = reward_estimator.estimate_all(images, targets_of(labels), outputs, plan)
    differences = measured.difference.numpy().reshape(3, 8).T
    assert np.corrcoef(critiques.ravel(), differences.ravel())[0, 1] > 0.98
    slope = np.sum(critiques * differences) / np.sum(critiques**2)
    assert slope == pytest.approx(1, abs=0.1)


def test_the_direct_critic_has_nothing_to_learn():
    _, trajectory, _ = with_estimator()
    critic = DirectCritic()
    critic.build(trajectory.specs, classes=3)
    assert critic.trainable_variables == [] and critic.needs_true_action_gradients
    assert float(critic.loss(None, None)) == 0.0


@pytest.mark.parametrize("estimator", ["sampled", "exact"])
@pytest.mark.parametrize("measured", [2, 5])
def test_the_shuffled_critic_is_never_taught_what_an_image_itself_showed(estimator, measured):
    critic = ShuffledCritic(units=4)
    network, trajectory, reward_estimator = with_estimator(None, critic.exploration)
    images, labels = small_data(6)
    outputs, targets = network(images), targets_of(labels)
    critic.build(trajectory.specs, classes=3)
    randomized(critic)
    modules = trajectory.emitted(outputs)
    plan = rewards.sample_plan(6, measured, 3, (0, 2), len(critic.exploration))
    if estimator == "exact":
        samples = reward_estimator.estimate_all(images, targets, outputs, plan)
    else:
        samples = reward_estimator.estimate(images, targets, outputs, plan)
    # All enter both losses, small enough for errors that Huber squares.
    random, pairs = np.random.default_rng(0), len(samples.images)
    samples = samples._replace(
        difference=tf.constant(0.1 * random.normal(size=pairs), tf.float32),
        reward=tf.constant(0.1 * random.normal(size=pairs), tf.float32),
        ablated=tf.constant(random.uniform(size=pairs) < 0.5, tf.float32),
    )
    critic_output = critic(
        modules,
        reward_estimator.privileged_inputs(outputs["logits"], tf.constant(labels)),
        samples=samples,
    )
    critic_output = CriticOutput(
        *tf.nest.map_structure(lambda part: tf.constant(0.01 * np.array(part)), tuple(critic_output))
    )._replace(scales=tf.constant(np.linspace(0.5, 1.0, 6), tf.float32))

    def taught(samples):
        """By image: the gradients of the loss with respect to what is predicted of it."""
        of_images = [critic_output.critiques, critic_output.costs]
        of_samples = critic_output.predicted_differences
        with tf.GradientTape() as tape:
            tape.watch([*of_images, of_samples])
            loss = critic.loss(critic_output, samples)
        *of_images, of_samples = tape.gradient(loss, [*of_images, of_samples])
        own = samples.images.numpy() == np.arange(6)[:, None]  # (images, samples)
        of_images = [tf.convert_to_tensor(gradient) for gradient in of_images]
        return np.concatenate([*of_images, own * of_samples.numpy()], axis=1)

    before = taught(samples)
    assert np.abs(before).max() > 0
    for image in set(samples.images.numpy().tolist()):
        own = tf.cast(samples.images == image, tf.float32)
        changed = samples._replace(
            difference=samples.difference + 0.1 * own, reward=samples.reward + 0.1 * own
        )
        moved = np.abs(taught(changed) - before).max(axis=1) > 0
        assert not moved[image] and moved.any()


def test_the_shuffled_critics_loss_is_the_one_written_out():
    """Each pair of an image and a module is taught what the pair before it showed, each difference
    relative to the error of the image that it belongs to, and only where both images count."""
    critic = ShuffledCritic(units=4)
    network, trajectory, reward_estimator = with_estimator(None, critic.exploration)
    images, labels = small_data(6)
    counts = np.float32([1, 0, 1, 1, 0, 1])
    targets = targets_of(labels)._replace(mask=tf.constant(counts))
    outputs = network(images)
    critic.build(trajectory.specs, classes=3)
    randomized(critic)
    plan = rewards.sample_plan(6, 6, 3, (0, 2), len(critic.exploration))
    samples = reward_estimator.estimate_all(images, targets, outputs, plan)
    # Differences as large as the errors that they are divided by; more where nobody may learn them.
    random, pairs = np.random.default_rng(0), len(samples.images)
    off = samples.mask.numpy() == 0
    samples = samples._replace(
        difference=tf.constant(random.normal(size=pairs) + 20 * off, tf.float32),
        reward=tf.constant(random.uniform(-1, 1, size=pairs) + 20 * off, tf.float32),
        ablated=tf.constant(random.uniform(size=pairs) < 0.5, tf.float32),
    )
    modules = trajectory.emitted(outputs)
    critic_output = critic(
        modules,
        reward_estimator.privileged_inputs(outputs["logits"], tf.constant(labels)),
        samples=samples,
    )
    critic_output = critic_output._replace(scales=tf.constant(np.linspace(0.2, 1.2, 6), tf.float32))

    which = samples.images.numpy(), samples.modules.numpy()
    predicted = np.float64(
        predicted_differences(critic_output.dq_da, [module.action for module in modules], samples)
    )
    predicted += np.float64(critic_output.costs)[which]
    critiques, scales = (
        np.float64(critic_output.critiques)[which],
        np.float64(critic_output.scales)[which[0]],
    )
    difference, reward, ablated, mask = (
        np.float64(getattr(samples, name)) for name in ("difference", "reward", "ablated", "mask")
    )
    compared, rewarded = [], []
    for pair in range(pairs):
        before = pair - 1  # Before the first comes the last.
        if not (mask[pair] and mask[before]):
            continue
        if ablated[before]:
            rewarded.append((critiques[pair] - reward[before]) ** 2)
        else:
            error = abs(predicted[pair] / scales[pair] - difference[before] / scales[before])
            compared.append(error**2 if error <= 0.5 else 0.5 * (2 * error - 0.5))
    assert len(compared) > 2 and len(rewarded) > 2
    expected = np.mean(compared) + np.mean(rewarded)
    assert float(critic.loss(critic_output, samples)) == pytest.approx(expected, rel=1e-4)
