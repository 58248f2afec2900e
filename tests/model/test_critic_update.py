"""Critic update and actor gradients: their size, their source, their images."""

from types import SimpleNamespace

import numpy as np
import oracle
import pytest
import tensorflow as tf
from support import logits_loss, moved, randomized, small_data, targets_of, values, with_estimator

from dreal_tf import DREAL
from dreal_tf.method.critics import ComparativeCritic, DirectCritic
from dreal_tf.method.formulas import log_probabilities, true_action_gradients
from dreal_tf.method.rewards import DeferredUpdates, sample_plan
from dreal_tf.model.dreal import FactualPass
from dreal_tf.model.gradients import Trust, summed

COUNT = 4
IMAGES, LABELS = small_data(COUNT, (4, 4, 2), seed=1)


class Watched(DREAL):
    """Keeps the gradients that move its critic, and moves it by plain gradient descent."""

    def apply_to_critic(self, gradients, task_gradients):
        self.given = gradients
        if self.replacement is not None:
            self.replacement()
            return
        for variable, gradient in zip(self.critic.trainable_variables, gradients, strict=True):
            if gradient is not None:
                variable.assign_sub(self.rate * tf.convert_to_tensor(gradient))


class Scene:
    """A network, a critic, and all that a learner is given for one batch."""

    def __init__(self, critic=None, seed=1, weights=None):
        self.critic = critic or ComparativeCritic(units=6)
        exploration = dict(exploration=self.critic.exploration, noise=self.critic.noise)
        self.network, self.trajectory, reward_estimator = with_estimator(
            image_shape=(4, 4, 2), blocks=2, **exploration
        )
        for number, actor in enumerate(self.trajectory.actors):
            kernel = np.random.default_rng(number).normal(size=actor.excite.kernel.shape)
            actor.excite.kernel.assign(kernel)
        self.critic.build(self.trajectory.specs, classes=3)
        randomized(self.critic)
        with tf.GradientTape() as tape:
            with DeferredUpdates(self.network) as self.deferred:
                self.outputs = self.network(IMAGES, training=True)
            log_p = log_probabilities(self.outputs["logits"], from_logits=True)
            log_p = tf.gather(log_p, LABELS, batch_dims=1)
        actions = [self.outputs["actions"][module] for module in self.trajectory.modules]
        self.directions = true_action_gradients(tape, log_p, actions)
        self.targets = targets_of(LABELS, weights)
        self.privileged = reward_estimator.privileged_inputs(
            self.outputs["logits"], self.targets.labels, self.directions
        )
        plan = sample_plan(COUNT, COUNT, 2, (0, seed), len(self.critic.exploration))
        self.samples = reward_estimator.estimate_all(IMAGES, self.targets, self.outputs, plan)

    def learn(self, trust=None, alternating=False, rate=0.0, update=None, **changes):
        """The result, and the gradients that the critic was given; it moves by `update`, or by these."""
        update_name = "alternating" if alternating else "simultaneous"
        model = Watched(
            self.network,
            self.critic,
            update=update_name,
            trust=trust is not None,
            instrument_fraction=0.0,
        )
        model.compile(loss=logits_loss())
        model.rate, model.replacement = rate, update
        if trust is not None:
            model.trust.sums.assign(trust.sums)
        samples = changes.pop("samples", self.samples)
        known = dict(targets=self.targets, privileged=self.privileged) | changes
        factual = FactualPass(
            IMAGES, LABELS, None, self.outputs, loss=None, deferred=self.deferred, **known
        )
        result = model.update_critic(factual, samples)
        if trust is not None:
            trust.sums.assign(model.trust.sums)
        gradients = summed(model.actor_gradients(factual, result), result.trust)
        return SimpleNamespace(**result._asdict(), actor_gradients=gradients), model.given

    def actor_gradients(self, result):
        """The actor gradient of each module, one vector each."""
        flat, position = [], 0
        for actor in self.trajectory.actors:
            count = len(actor.trainable_variables)
            part = result.actor_gradients[position : position + count]
            flat.append(np.concatenate([np.ravel(gradient) for gradient in part]))
            position += count
        return flat


def trusting(*weights):
    """A `Trust` that has seen so much that one more batch hardly moves it."""
    trust = Trust(modules=len(weights))
    pairs, even = [1e8] * len(weights), [0.0] * len(weights)
    products = [1e8 * np.arcsin(w) * 2 / np.pi for w in weights]
    trust.sums.assign([pairs, even, even, products, np.full(len(weights), 8.0)])
    return trust


def test_each_actor_heeds_the_critic_as_far_as_it_is_trusted():
    scene = Scene()
    full, _ = scene.learn()
    np.testing.assert_array_equal(full.trust, [1, 1])
    result, _ = scene.learn(trust=trusting(0.7, 0.2))
    np.testing.assert_allclose(result.trust, [0.7, 0.2], atol=0.01)
    pairs = zip(
        scene.actor_gradients(result), scene.actor_gradients(full), result.trust.numpy(), strict=True
    )
    for gradient, untrusted, trust in pairs:
        np.testing.assert_allclose(gradient, trust * untrusted, rtol=1e-4, atol=1e-9)
        assert np.abs(untrusted).max() > 1e-5


def test_a_critic_that_is_not_trusted_moves_no_actor():
    scene = Scene()
    result, gradients = scene.learn(trust=trusting(-1.0, 0.5))
    first, second = scene.actor_gradients(result)
    assert not first.any() and second.any()
    assert any(g is not None and np.abs(tf.convert_to_tensor(g)).max() > 0 for g in gradients)


def test_a_result_moves_nothing_but_what_it_is_asked_to():
    """The network stands still; the critic moves by the gradient of its own loss."""
    scene = Scene()
    variables = scene.critic.trainable_variables
    network, critic = values(scene.network.variables), values(variables)
    with tf.GradientTape() as tape:
        modules = scene.trajectory.emitted(scene.outputs)
        critic_output = scene.critic(modules, scene.privileged, samples=scene.samples)
        loss = scene.critic.loss(critic_output, scene.samples)
    expected = tape.gradient(loss, variables)
    result, gradients = scene.learn(trust=trusting(0.7, 0.2))
    assert not moved(network, scene.network.variables) and not moved(critic, variables)
    assert float(result.critic_loss) == pytest.approx(float(loss), rel=1e-5)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)
    assert len(result.actor_gradients) == len(scene.trajectory.variables)


def test_what_is_measured_now_does_not_push_the_actors_now():
    """Actors follow the critic before its update, which has not seen this step's differences."""
    scene = Scene()
    other = scene.samples._replace(difference=-3 * scene.samples.difference)
    one, _ = scene.learn(rate=0.5)
    before = scene.actor_gradients(one)
    randomized(scene.critic)  # Where it was.
    two, _ = scene.learn(rate=0.5, samples=other)
    for a, b in zip(before, scene.actor_gradients(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_alternating_actors_climb_the_critic_that_has_moved():
    scene = Scene()
    before, _ = scene.learn()
    alternating, _ = scene.learn(alternating=True, rate=0.5)
    after, _ = scene.learn()  # The critic has moved.
    for old, ours, new in zip(*map(scene.actor_gradients, (before, alternating, after)), strict=True):
        np.testing.assert_allclose(ours, new, rtol=1e-5, atol=1e-9)
        assert np.abs(ours - old).max() > 1e-6


def test_images_without_weight_give_no_push():
    """Their dQ/dA has no effect on the actors' gradients."""
    scene = Scene(DirectCritic(), weights=np.float32([1, 0, 0.5, 0]))
    one, _ = scene.learn()
    keep = np.float32([1, 0, 1, 0]).reshape(4, 1, 1, 1)
    other = [direction * keep + 7.0 * (1 - keep) for direction in scene.directions]
    two, _ = scene.learn(privileged=scene.privileged._replace(true_action_gradients=other))
    half = [direction * keep for direction in scene.directions]
    three, _ = scene.learn(privileged=scene.privileged._replace(true_action_gradients=half))
    for a, b, c in zip(*map(scene.actor_gradients, (one, two, three)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        assert np.abs(a).max() > 1e-6
    none, _ = scene.learn(targets=targets_of(LABELS, np.zeros(4, "float32")))
    assert not any(gradient.any() for gradient in scene.actor_gradients(none))


def test_the_climb_of_the_direct_critic_is_the_gradient_of_log_p_through_the_actions_alone():
    """States stand still; one action moves at a time, and what comes after responds to it."""
    scene = Scene(DirectCritic())
    weights, images = oracle.weights_of(scene.network), np.float64(IMAGES)
    _, states, _, _ = oracle.forward(weights, images)
    theta = [n for n in weights if n.endswith(("/w1", "/b1", "/w2", "/b2"))]

    def loss(w):
        total = 0.0
        for block in oracle.BLOCKS:
            given = {block: oracle.excite(w, block, states[block])}
            logits, *_ = oracle.forward(weights, images, given=given)
            total += oracle.log_softmax(logits)[np.arange(COUNT), LABELS].mean()
        return -total / len(oracle.BLOCKS)

    expected = oracle.gradient(loss, weights, theta)
    result, gradients = scene.learn()
    assert gradients == []
    names = [f"{p}/{part}" for p in oracle.BLOCKS for part in ("w1", "b1", "w2", "b2")]
    for name, variable, gradient in zip(
        names, scene.trajectory.variables, result.actor_gradients, strict=True
    ):
        assert variable.shape == weights[name].shape
        np.testing.assert_allclose(gradient, expected[name], rtol=2e-3, atol=1e-6, err_msg=name)
    assert max(np.abs(gradient).max() for gradient in expected.values()) > 1e-3


def test_the_actor_loss_is_minus_the_mean_critique():
    scene = Scene(weights=np.float32([1, 0, 0.5, 2]))
    result, _ = scene.learn()
    critiques = scene.critic(scene.trajectory.emitted(scene.outputs), scene.privileged).critiques
    np.testing.assert_allclose(result.critiques, critiques, rtol=1e-4, atol=1e-5)
    expected = -np.mean(np.mean(critiques, axis=1) * np.float32([1, 0, 0.5, 2]))
    assert float(result.actor_loss) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def signs_by_hand(scene):
    """The sums of `Trust` over this batch for each module, with the critic as it is now: pairs,
    predicted signs, measured signs, their products, and the pairs again."""
    modules, samples = scene.trajectory.emitted(scene.outputs), scene.samples
    gradients = scene.critic(modules, scene.privileged).dq_da
    sums = np.zeros((5, len(modules)))
    for position, (module, dq_da) in enumerate(zip(modules, gradients, strict=True)):
        entries, counterfactuals = (np.array(part) for part in samples.counterfactuals[position])
        for entry, counterfactual in zip(entries, counterfactuals, strict=True):
            if int(samples.modules[entry]) != position:
                continue
            image = int(samples.images[entry])
            change = np.float64(module.action[image]) - counterfactual
            predicted = np.sign(np.sum(np.float64(dq_da[image]) * change))
            measured = np.sign(float(samples.difference[entry]))
            sums[:, position] += [1, predicted, measured, predicted * measured, 1]
    return sums


@pytest.mark.parametrize("alternating", [False, True])
def test_trust_is_updated_with_the_critic_as_it_was_before_its_own_update(alternating):
    scene, trust = Scene(), Trust(modules=2)
    expected = signs_by_hand(scene)
    assert expected[0].tolist() == [COUNT, COUNT] and expected[1].all()

    def turn_round():
        for head in scene.critic.heads:
            head.query.kernel.assign(-head.query.kernel)

    scene.learn(trust=trust, alternating=alternating, update=turn_round)
    np.testing.assert_array_equal(trust.sums, expected)
    np.testing.assert_array_equal(signs_by_hand(scene)[1], -expected[1])
