"""Learning rates at every step and in every part of a network, and weight decay."""

import keras
import numpy as np
import pytest

from dreal_tf import SqueezeExcite, build, load_recipe, residual_network
from dreal_tf.training.optimizers import OPTIMIZERS, WarmUp, lr_multipliers, recipe_optimizer

SMALL = load_recipe("digits_resnet8_se", smoke=True)
STEPS = 7  # Steps of an epoch.


def formula(t, total, warmup, decay, milestones=(), factor=0.1):
    """The rate of step t, over its peak, as docs of a recipe's schedule state it."""
    if t < warmup:
        return t / warmup
    if decay == "cosine":
        return (1 + np.cos(np.pi * (t - warmup) / (total - warmup))) / 2
    return factor ** sum(round(milestone * total) <= t for milestone in milestones)


@pytest.mark.parametrize("warmup_epochs", [0, 1, 3])  # With 3 of 4 the first milestone lies in it.
@pytest.mark.parametrize("decay", ["cosine", "steps", "other steps", "constant"])
def test_the_rate_of_every_step_is_the_documented_one(decay, warmup_epochs):
    changes = {"schedule.epochs": 4, "schedule.decay": decay.split()[-1]}
    if decay == "other steps":
        changes |= {"schedule.milestones": (0.5, 0.75), "schedule.factor": 0.5}
    changes |= {"schedule.warmup_epochs": warmup_epochs, "optim.learning_rate": 0.2}
    recipe = SMALL.replace(changes)
    optimizer = recipe_optimizer(recipe, STEPS, network=None)
    schedule = recipe.schedule
    steps = (schedule.milestones, schedule.factor) if "steps" in decay else ()
    rates = []
    for step in range(4 * STEPS):
        optimizer.iterations.assign(step)  # As after a resumption.
        rates.append(float(optimizer.learning_rate))
    whole = 4 * STEPS, warmup_epochs * STEPS, decay.split()[-1]
    expected = [0.2 * formula(t, *whole, *steps) for t in range(4 * STEPS)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-7)
    if warmup_epochs < 3 or "steps" not in decay:  # There the rate has fallen before it has risen.
        assert max(rates) == pytest.approx(0.2)


def test_a_warm_up_survives_saving():
    schedule = WarmUp(keras.optimizers.schedules.CosineDecay(0.1, 50), steps=5, peak=0.1)
    again = WarmUp.from_config(schedule.get_config())
    assert [float(again(s)) for s in (0, 3, 20)] == [float(schedule(s)) for s in (0, 3, 20)]


def small():
    keras.utils.set_random_seed(0)
    return residual_network((8, 8, 1), 4, depth=8, width=0.25, attention=SqueezeExcite(2))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_part_learns_at_its_share_of_the_rate(name):
    """Against three plain optimizers, each of one part at that part's rate."""
    network, twin = small(), small()
    multipliers = lr_multipliers(network, backbone=0.1, attention=0.5, head=2.0)
    random = np.random.default_rng(0)
    gradients = [random.normal(size=v.shape).astype("float32") for v in network.trainable_variables]
    shared = OPTIMIZERS[name](0.01, lr_multipliers=multipliers)
    shared = type(shared).from_config(shared.get_config())
    plain = type(shared).__mro__[2]
    for _ in range(3):
        shared.apply(gradients, network.trainable_variables)
    groups = {}
    for variable, gradient in zip(twin.trainable_variables, gradients, strict=True):
        layer = variable.path.split("/")[0]
        multiplier = 2.0 if layer == "logits" else 0.5 if layer.endswith("_se") else 0.1
        groups.setdefault(multiplier, []).append((gradient, variable))
    for multiplier, pairs in groups.items():
        decay = {"weight_decay": shared.weight_decay / multiplier} if name == "adamw" else {}
        optimizer = plain(0.01 * multiplier, **decay)
        for _ in range(3):
            optimizer.apply([g for g, _ in pairs], [v for _, v in pairs])
    for ours, theirs in zip(network.trainable_variables, twin.trainable_variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_shares_hold_on_two_replicas(two_replicas):
    with two_replicas.scope():
        inputs = keras.Input((2,))
        network = keras.Model(inputs, keras.layers.Dense(3, name="logits")(inputs))
        network.compile(OPTIMIZERS["sgd"](1.0, lr_multipliers={"logits/": 0.0}), "mse")
    before = network.get_weights()
    network.fit(np.ones((4, 2)), np.ones((4, 3)), verbose=0)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_weight_decay_spares_batchnorm_and_biases(name):
    """Without gradient from the task, only what decays moves."""
    decay = {"optim.name": name, "optim.weight_decay": 0.1, "schedule.warmup_epochs": 0}
    model, _, _ = build(SMALL.replace(decay | {"dreal.enabled": False}))
    decayed = {v.path for v in model.network.trainable_variables if v.regularizer is not None}
    if name == "adamw":
        spared = model.optimizer._exclude_from_weight_decay
        decayed = {
            v.path for v in model.network.trainable_variables if model.optimizer._use_weight_decay(v)
        }
        assert not model.losses and spared is not None
    kernels = {v.path for v in model.network.trainable_variables if v.path.endswith("kernel")}
    assert decayed == kernels
