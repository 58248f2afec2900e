"""How actors climb a critic: by how much, on whose word, for which images."""

import numpy as np
import oracle
import pytest
import tensorflow as tf
from support import metered, moved, randomized, small_data, targets_of, values

from dreal_tf.method.critics import ComparativeCritic, DirectCritic
from dreal_tf.method.rewards import HeldUpdates, draw_assignment, log_probabilities, true_directions
from dreal_tf.model.factual_pass import FactualPass
from dreal_tf.model.learner import Learner
from dreal_tf.model.trust import Trust

COUNT = 4
IMAGES, LABELS = small_data(COUNT, (4, 4, 2), seed=1)


class Scene:
    """A network, a critic, and all that a learner is given for one batch."""

    def __init__(self, critic=None, seed=1, weights=None):
        self.critic = critic or ComparativeCritic(units=6)
        exploration = dict(exploration=self.critic.exploration, noise=self.critic.noise)
        self.network, self.trajectory, meter = metered(image_shape=(4, 4, 2), blocks=2, **exploration)
        for place, actor in enumerate(self.trajectory.actors):
            kernel = np.random.default_rng(place).normal(size=actor.excite.kernel.shape)
            actor.excite.kernel.assign(kernel)
        self.critic.build(self.trajectory.specs, classes=3)
        randomized(self.critic)
        with tf.GradientTape() as tape:
            with HeldUpdates(self.network) as self.held:
                self.outputs = self.network(IMAGES, training=True)
            log_p = log_probabilities(self.outputs["logits"], from_logits=True)
            log_p = tf.gather(log_p, LABELS, batch_dims=1)
        actions = [self.outputs["actions"][module] for module in self.trajectory.modules]
        self.directions = true_directions(tape, log_p, actions)
        self.targets = targets_of(LABELS, weights)
        self.hindsight = meter.hindsight(self.outputs["logits"], self.targets.labels, self.directions)
        drawn = draw_assignment(COUNT, COUNT, 2, (0, seed), len(self.critic.exploration))
        self.measurement = meter.exact(IMAGES, self.targets, self.outputs, drawn)

    def learn(self, trust=None, alternating=False, rate=0.0, update=None, **changes):
        """The lesson, and the gradients that the critic was given; it moves by `update`, or by these."""
        given = []

        def move_by_gradients():
            for variable, gradient in zip(self.critic.trainable_variables, given, strict=True):
                if gradient is not None:
                    variable.assign_sub(rate * tf.convert_to_tensor(gradient))

        def move_critic(gradients):
            given.extend(gradients)
            (update or move_by_gradients)()

        learner = Learner(self.critic, self.trajectory, trust, alternating)
        measurement = changes.pop("measurement", self.measurement)
        known = dict(targets=self.targets, hindsight=self.hindsight) | changes
        judged = IMAGES, LABELS, self.outputs["logits"], None
        factual = FactualPass(judged, outputs=self.outputs, task_loss=None, held=self.held, **known)
        lesson = learner.learn(factual, measurement, move_critic, lambda loss: loss)
        return lesson, given

    def climbs(self, lesson):
        """The climb of each step's actor, one vector each."""
        flat, position = [], 0
        for actor in self.trajectory.actors:
            count = len(actor.trainable_variables)
            part = lesson.climb[position : position + count]
            flat.append(np.concatenate([np.ravel(gradient) for gradient in part]))
            position += count
        return flat


def trusting(*weights):
    """A `Trust` that has seen so much that one more batch hardly moves it."""
    trust = Trust(steps=len(weights))
    pairs, even = [1e8] * len(weights), [0.0] * len(weights)
    products = [1e8 * np.arcsin(w) * 2 / np.pi for w in weights]
    trust.sums.assign([pairs, even, even, products, np.full(len(weights), 8.0)])
    return trust


def test_each_actor_heeds_the_critic_as_far_as_it_is_trusted():
    scene = Scene()
    full, _ = scene.learn()
    np.testing.assert_array_equal(full.trust, [1, 1])
    lesson, _ = scene.learn(trust=trusting(0.7, 0.2))
    np.testing.assert_allclose(lesson.trust, [0.7, 0.2], atol=0.01)
    pairs = zip(scene.climbs(lesson), scene.climbs(full), lesson.trust.numpy(), strict=True)
    for climb, untrusted, trust in pairs:
        np.testing.assert_allclose(climb, trust * untrusted, rtol=1e-4, atol=1e-9)
        assert np.abs(untrusted).max() > 1e-5


def test_a_critic_that_is_not_trusted_moves_no_actor():
    scene = Scene()
    lesson, gradients = scene.learn(trust=trusting(-1.0, 0.5))
    first, second = scene.climbs(lesson)
    assert not first.any() and second.any()
    assert any(g is not None and np.abs(tf.convert_to_tensor(g)).max() > 0 for g in gradients)


def test_a_lesson_moves_nothing_but_what_it_is_asked_to():
    """The network stands still; the critic moves by the gradient of its own loss."""
    scene = Scene()
    variables = scene.critic.trainable_variables
    network, critic = values(scene.network.variables), values(variables)
    with tf.GradientTape() as tape:
        steps = scene.trajectory.emitted(scene.outputs)
        verdict = scene.critic(steps, scene.hindsight)
        loss = scene.critic.loss(verdict, steps, scene.measurement)
    expected = tape.gradient(loss, variables)
    lesson, gradients = scene.learn(trust=trusting(0.7, 0.2))
    assert not moved(network, scene.network.variables) and not moved(critic, variables)
    assert float(lesson.critic_loss) == pytest.approx(float(loss), rel=1e-5)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)
    assert len(lesson.climb) == len(scene.trajectory.variables)


def test_what_is_measured_now_does_not_push_the_actors_now():
    """Actors that climb the critic as it was do not see the differences of this step."""
    scene = Scene()
    other = scene.measurement._replace(difference=-3 * scene.measurement.difference)
    one, _ = scene.learn(rate=0.5)
    before = scene.climbs(one)
    randomized(scene.critic)  # Where it was.
    two, _ = scene.learn(rate=0.5, measurement=other)
    for a, b in zip(before, scene.climbs(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_alternating_actors_climb_the_critic_that_has_moved():
    scene = Scene()
    before, _ = scene.learn()
    alternating, _ = scene.learn(alternating=True, rate=0.5)
    after, _ = scene.learn()  # The critic has moved.
    for old, ours, new in zip(*map(scene.climbs, (before, alternating, after)), strict=True):
        np.testing.assert_allclose(ours, new, rtol=1e-5, atol=1e-9)
        assert np.abs(ours - old).max() > 1e-6


def test_images_without_weight_give_no_push():
    """Whatever is advised for them, the climb is what the others make of it."""
    scene = Scene(DirectCritic(), weights=np.float32([1, 0, 0.5, 0]))
    one, _ = scene.learn()
    keep = np.float32([1, 0, 1, 0]).reshape(4, 1, 1, 1)
    other = [direction * keep + 7.0 * (1 - keep) for direction in scene.directions]
    two, _ = scene.learn(hindsight=scene.hindsight._replace(directions=other))
    half = [direction * keep for direction in scene.directions]
    three, _ = scene.learn(hindsight=scene.hindsight._replace(directions=half))
    for a, b, c in zip(*map(scene.climbs, (one, two, three)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        assert np.abs(a).max() > 1e-6
    none, _ = scene.learn(targets=targets_of(LABELS, np.zeros(4, "float32")))
    assert not any(climb.any() for climb in scene.climbs(none))


def test_the_climb_of_the_direct_critic_is_the_gradient_of_log_p_through_the_actions_alone():
    """States stand still; one action moves at a time, and what comes after responds to it."""
    scene = Scene(DirectCritic())
    weights, images = oracle.weights_of(scene.network), np.float64(IMAGES)
    _, states, _, _ = oracle.forward(weights, images)
    theta = [n for n in weights if n.endswith(("/w1", "/b1", "/w2", "/b2"))]

    def climbed(w):
        total = 0.0
        for place in oracle.BLOCKS:
            given = {place: oracle.excite(w, place, states[place])}
            logits, *_ = oracle.forward(weights, images, given=given)
            total += oracle.log_softmax(logits)[np.arange(COUNT), LABELS].mean()
        return -total / len(oracle.BLOCKS)

    expected = oracle.gradient(climbed, weights, theta)
    lesson, gradients = scene.learn()
    assert gradients == []
    names = [f"{p}/{part}" for p in oracle.BLOCKS for part in ("w1", "b1", "w2", "b2")]
    for name, variable, climb in zip(names, scene.trajectory.variables, lesson.climb, strict=True):
        assert variable.shape == weights[name].shape
        np.testing.assert_allclose(climb, expected[name], rtol=2e-3, atol=1e-6, err_msg=name)
    assert max(np.abs(gradient).max() for gradient in expected.values()) > 1e-3


def test_the_actor_loss_is_minus_the_mean_critique():
    scene = Scene(weights=np.float32([1, 0, 0.5, 2]))
    lesson, _ = scene.learn()
    critiques = scene.critic(scene.trajectory.emitted(scene.outputs), scene.hindsight).critiques
    np.testing.assert_allclose(lesson.critiques, critiques, rtol=1e-4, atol=1e-5)
    expected = -np.mean(np.mean(critiques, axis=1) * np.float32([1, 0, 0.5, 2]))
    assert float(lesson.actor_loss) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def signs_by_hand(scene):
    """What `Trust` sums over this batch for each module, with the critic as it is now: the pairs, the
    predicted signs, the measured signs, their products, and the pairs once more."""
    steps, measurement = scene.trajectory.emitted(scene.outputs), scene.measurement
    directions = scene.critic(steps, scene.hindsight).directions
    sums = np.zeros((5, len(steps)))
    for module, (step, direction) in enumerate(zip(steps, directions, strict=True)):
        entries, alternatives = (np.array(part) for part in measurement.alternatives[module])
        for entry, alternative in zip(entries, alternatives, strict=True):
            if int(measurement.steps[entry]) != module:
                continue
            image = int(measurement.images[entry])
            change = np.float64(step.action[image]) - alternative
            predicted = np.sign(np.sum(np.float64(direction[image]) * change))
            measured = np.sign(float(measurement.difference[entry]))
            sums[:, module] += [1, predicted, measured, predicted * measured, 1]
    return sums


@pytest.mark.parametrize("alternating", [False, True])
def test_trust_is_updated_with_the_critic_as_it_was_before_its_own_update(alternating):
    scene, trust = Scene(), Trust(steps=2)
    expected = signs_by_hand(scene)
    assert expected[0].tolist() == [COUNT, COUNT] and expected[1].all()

    def turn_round():
        for head in scene.critic.heads:
            head.sought.kernel.assign(-head.sought.kernel)

    scene.learn(trust=trust, alternating=alternating, update=turn_round)
    np.testing.assert_array_equal(trust.sums, expected)
    np.testing.assert_array_equal(signs_by_hand(scene)[1], -expected[1])
