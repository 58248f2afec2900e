"""One training step against an independent computation in NumPy: values, gradients, who moves whom."""

import itertools

import keras
import numpy as np
import oracle
import pytest
import tensorflow as tf
from support import TwoModules, compiled, logits_loss, moved, small_data, small_network, values

from dreal_tf import DREAL
from dreal_tf.method.critics import PaperCritic

WEIGHT, PENALTY, IMAGES = 0.7, 0.8, 4


@pytest.fixture(params=["absolute", "relative"])
def model(request):
    critic = PaperCritic(units=5)
    model = DREAL(
        small_network(image_shape=(4, 4, 2)),
        critic=critic,
        actor_weight=WEIGHT,
        actor_weight_mode=request.param,
        estimator="exact",
        reward_fraction=1.0,
        validation_fraction=1.0,
        penalty=PENALTY,
        trust=False,
    )
    random = np.random.default_rng(3)
    for variable in critic.trainable_variables:  # Large enough to leave no gradient in the noise.
        variable.assign(random.normal(size=variable.shape) * 0.7)
    model.compile(keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0), loss=logits_loss())
    return model


def batch(model):
    """Four images, some answered right and some wrong."""
    images, _ = small_data(IMAGES, (4, 4, 2), seed=1)
    right = oracle.forward(weights_of(model), np.float64(images))[0].argmax(axis=1)
    labels = np.where([True, True, False, True], right, (right + 1) % 3).astype("int32")
    return images, labels


def variables_of(model):
    """The model's variables by the names that the oracle uses."""
    network, critic = model.network, model.critic
    variables = oracle.variables_of(network)
    for position, block in enumerate(oracle.BLOCKS):
        encoder = critic.walk.encoders[position]
        variables |= {f"encoder/{block}/w": encoder.kernel, f"encoder/{block}/b": encoder.bias}
    memory = critic.walk.memory
    variables |= {"lstm/kernel": memory.kernel, "lstm/recurrent": memory.recurrent_kernel}
    variables |= {"lstm/bias": memory.bias, "head/w": critic.head.kernel, "head/b": critic.head.bias}
    assert len(variables) == len(network.trainable_variables) + len(critic.trainable_variables)
    return variables


def weights_of(model):
    return {name: np.float64(variable) for name, variable in variables_of(model).items()}


def names_of(weights):
    """W, theta and phi."""
    phi = {name for name in weights if name.startswith(("encoder", "lstm", "head"))}
    theta = {name for name in weights if name.endswith(("/w1", "/b1", "/w2", "/b2"))}
    return weights.keys() - phi - theta, theta, phi


def expected_of(w, images, labels, mode="absolute"):
    """Losses, rewards, critiques and gradients, from the oracle alone."""
    images = np.float64(images)
    w_names, theta, phi = names_of(w)
    _, states, actions, statistics = oracle.forward(w, images)
    reward = oracle.rewards(w, images, labels, PENALTY)
    task = oracle.gradient(lambda v: oracle.loss(v, images, labels), w, w_names | theta)
    actor = oracle.gradient(lambda v: oracle.actor_loss(v, states), w, theta)
    learn = oracle.gradient(lambda v: oracle.critic_loss(v, states, actions, reward), w, phi)
    factors = {}  # In the first step the fading means are that step's.
    for block in oracle.BLOCKS:
        own = [name for name in theta if name.startswith(block)]
        lengths = [np.sqrt(sum(np.sum(part[name] ** 2) for name in own)) for part in (task, actor)]
        factors |= dict.fromkeys(own, lengths[0] / lengths[1] if mode == "relative" else 1.0)
    return {
        "reward": reward,
        "critiques": oracle.critiques(w, states, actions),
        "loss": oracle.loss(w, images, labels),
        "critic_loss": oracle.critic_loss(w, states, actions, reward),
        "actor_loss": oracle.actor_loss(w, states),
        "task": task,
        "actor": actor,
        "gradient": {
            **{name: task[name] for name in w_names},
            **{name: task[name] + WEIGHT * factors[name] * actor[name] for name in theta},
            **learn,
        },
        "statistics": statistics,
    }


def test_a_training_step_is_the_one_computed_by_hand(model):
    images, labels = batch(model)
    before = weights_of(model)
    expected = expected_of(before, images, labels, model.settings.actor_weight_mode)
    assert np.unique(expected["reward"][2]) == -PENALTY and expected["reward"][0].min() > -PENALTY

    logs = model.train_on_batch(images, labels, return_dict=True)
    for name in ("loss", "critic_loss", "actor_loss"):
        assert logs[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-6), name
    right = np.array([True, True, False, True])
    for position, block in enumerate(oracle.BLOCKS):
        reward, critique = expected["reward"][:, position], expected["critiques"][:, position]
        assert logs[f"reward/{block}/se"] == pytest.approx(reward.mean(), rel=1e-4, abs=1e-5)
        assert logs[f"gain/{block}/se"] == pytest.approx(reward[right].mean(), rel=1e-3, abs=1e-5)
        assert logs[f"critique/{block}/se"] == pytest.approx(critique.mean(), rel=1e-4, abs=1e-5)
    assert logs["reward"] == pytest.approx(expected["reward"].mean(), rel=1e-4, abs=1e-5)
    assert logs["reward_measured"] == IMAGES

    after = weights_of(model)
    for name, gradient in expected["gradient"].items():
        step = before[name] - after[name]  # Both optimizers have rate 1.
        np.testing.assert_allclose(step, gradient, rtol=2e-3, atol=2e-5, err_msg=name)
    for block, (mean, variance) in expected["statistics"].items():
        norm = model.network.get_layer(f"{block}_bn")
        np.testing.assert_allclose(norm.moving_mean, 0.1 * mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(norm.moving_variance, 0.9 + 0.1 * variance, rtol=1e-4)


def test_the_oracle_itself_tells_directions_apart(model):
    """Were the actor loss's gradient lost in the task's, the test above could not fail."""
    images, labels = batch(model)
    expected = expected_of(weights_of(model), images, labels)
    for block in oracle.BLOCKS:
        name = f"{block}/w2"
        ratio = np.abs(WEIGHT * expected["actor"][name]).max() / np.abs(expected["task"][name]).max()
        assert ratio > 0.02
        assert np.abs(expected["actor"][name]).max() > 1e-3


def test_validation_measures_with_the_moving_averages(model):
    images, labels = batch(model)
    model.train_on_batch(images, labels)
    w = weights_of(model)
    norms = {block: model.network.get_layer(f"{block}_bn") for block in oracle.BLOCKS}
    averages = {
        block: (np.float64(norm.moving_mean), np.float64(norm.moving_variance))
        for block, norm in norms.items()
    }
    before = values(model.network.variables + model.critic.variables)
    model.reset_metrics()  # Keras 3.10 does not between batches.
    logs = model.test_on_batch(images, labels, return_dict=True)
    assert not moved(before, model.network.variables + model.critic.variables)
    logits, states, actions, _ = oracle.forward(w, np.float64(images), averages)
    log_p = oracle.log_softmax(logits)[np.arange(IMAGES), labels]
    assert logs["loss"] == pytest.approx(-log_p.mean(), rel=1e-4)
    critiques = oracle.critiques(w, states, actions)
    assert logs["actor_loss"] == pytest.approx(-critiques.mean(), rel=1e-4)
    for position, block in enumerate(oracle.BLOCKS):
        ablated, *_ = oracle.forward(w, np.float64(images), averages, ablate=block)
        gain = 1 - np.exp(oracle.log_softmax(ablated)[np.arange(IMAGES), labels] - log_p)
        right = logits.argmax(axis=1) == labels
        reward = np.where(right, np.clip(gain, -PENALTY, 1), -PENALTY)
        assert logs[f"reward/{block}/se"] == pytest.approx(reward.mean(), rel=1e-3, abs=1e-5)
        expected = critiques[:, position].mean()
        assert logs[f"critique/{block}/se"] == pytest.approx(expected, rel=1e-3, abs=1e-5)


class NoTask(DREAL):
    """A task loss without gradient, to see what the actor loss moves by itself, at an absolute weight."""

    def __init__(self, network, **settings):
        super().__init__(network, actor_weight_mode="absolute", **settings)

    def compute_loss(self, *args, **kwargs):
        return 0.0 * super().compute_loss(*args, **kwargs)


@pytest.mark.parametrize("update", ["simultaneous", "alternating"])
@pytest.mark.parametrize("clip", [{}, {"global_clipnorm": 1e-3}, {"clipnorm": 1e-3}])
def test_the_actor_loss_moves_actors_only(update, clip):
    network = small_network(TwoModules())
    model = NoTask(
        network, critic="paper", actor_weight=1.0, update=update, reward_fraction=1.0, trust=False
    )
    optimizers = keras.optimizers.SGD(1.0, **clip), keras.optimizers.SGD(0.0)
    model.compile(*optimizers, loss=logits_loss(), run_eagerly=True)
    images, labels = small_data()
    before = values(model.network.trainable_variables)
    model.train_on_batch(images, labels)
    changed = moved(before, model.network.trainable_variables)
    theta = {v.path for v in model.trajectory.variables}
    # A bias before BatchNorm has no gradient at all.
    assert changed <= theta and {p for p in theta - changed if "map/bias" not in p} == set()


def test_the_critic_loss_moves_the_critic_only():
    model = NoTask(small_network(), actor_weight=0.0, reward_fraction=1.0)
    optimizers = keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0)
    model.compile(*optimizers, loss=logits_loss(), run_eagerly=True)
    images, labels = small_data()
    network, critic = values(model.network.trainable_variables), values(model.critic.variables)
    model.train_on_batch(images, labels)
    assert not moved(network, model.network.trainable_variables)
    assert moved(critic, model.critic.variables)


def test_restricted_to_a_stage_only_its_actors_climb():
    model = NoTask(
        small_network(blocks=3), critic="paper", actor_weight=1.0, stages={"conv3"}, trust=False
    )
    optimizers = keras.optimizers.SGD(1.0), keras.optimizers.SGD(0.0)
    model.compile(*optimizers, loss=logits_loss(), run_eagerly=True)
    images, labels = small_data()
    before = values(model.network.trainable_variables)
    logs = model.train_on_batch(images, labels, return_dict=True)
    changed = moved(before, model.network.trainable_variables)
    assert changed and all(path.startswith("conv3_1_se") for path in changed)
    assert [name for name in logs if name.startswith("reward/")] == ["reward/conv3_1/se"]


def test_proposing_again_moves_no_state():
    """BatchNorm inside an actor sees its batch twice, and counts it once."""
    images, labels = small_data()
    keras.utils.set_random_seed(0)
    ours = compiled(small_network(TwoModules()), actor_weight=0.0, eager=True)
    keras.utils.set_random_seed(0)
    plain = compiled(small_network(TwoModules()), critic=None, eager=True)
    for model in (ours, plain):
        model.train_on_batch(images, labels)
    for one, other in zip(ours.network.variables, plain.network.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_actor_weight_rises_over_its_warm_up():
    images, labels = small_data()
    model = compiled(actor_weight=0.8, actor_warmup=4, eager=True)
    weights = []
    for _ in range(6):
        weights.append(float(model.actor_weight()))
        model.train_on_batch(images, labels)
    np.testing.assert_allclose(weights, [0, 0.2, 0.4, 0.6, 0.8, 0.8], rtol=1e-6)


class Recorded(DREAL):
    """Keeps which images and modules the last training step sampled."""

    def estimate_rewards(self, factual):
        samples = super().estimate_rewards(factual)
        self.sampled.assign(tf.stack([samples.images, samples.modules]))
        return samples


def sampled_in(steps, seed=0):
    """Images and modules that each of these training steps samples from the same batch."""
    images, labels = small_data(16)
    model = Recorded(small_network(), critic="paper", reward_fraction=0.5, seed=seed)
    model.compile(keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.01), loss=logits_loss())
    model.sampled = tf.Variable(tf.zeros([2, 8], tf.int32))
    model.optimizer.iterations.assign(steps[0])
    sampled = []
    for _ in steps:
        model.train_on_batch(images, labels)
        sampled.append(model.sampled.numpy())
    return sampled


def test_each_training_step_draws_another_sample_and_a_repeated_step_the_same():
    first, second, third = sampled_in(range(3))
    for one, other in ((first, second), (first, third), (second, third)):
        assert set(one[0]) != set(other[0])  # The images.
    modules = [dict(sampled.T.tolist()) for sampled in (first, second, third)]  # By image.
    assert any(
        one[image] != other[image]
        for one, other in itertools.pairwise(modules)
        for image in one.keys() & other.keys()
    )
    again = sampled_in(range(1, 3))
    np.testing.assert_array_equal(again, [second, third])
    assert not np.array_equal(sampled_in([1], seed=1)[0], second)
