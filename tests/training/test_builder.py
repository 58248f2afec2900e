"""The model, schedule and losses that a recipe becomes."""

import keras
import numpy as np
import pytest

from dreal_tf import build, load_recipe
from dreal_tf.errors import InputError
from dreal_tf.training.optimizers import WarmUp

SMALL = load_recipe("digits_resnet8_se", smoke=True)


def rates(changes, epochs=4):
    """The learning rate at every step, and steps per epoch."""
    model, data, _ = build(SMALL.replace({"schedule.epochs": epochs} | changes))
    schedule, steps = model.optimizer._learning_rate, data.steps_per_epoch
    if not callable(schedule):
        return np.full(epochs * steps, float(schedule)), steps
    return np.array([float(schedule(step)) for step in range(epochs * steps)]), steps


def test_cosine_with_warm_up():
    rate, steps = rates(
        {"schedule.decay": "cosine", "schedule.warmup_epochs": 1, "optim.learning_rate": 0.2}
    )
    rise, rest = np.arange(steps), np.arange(3 * steps)
    fall = 0.1 * (1 + np.cos(np.pi * rest / (3 * steps)))  # From the peak itself.
    np.testing.assert_allclose(rate, [*(0.2 * rise / steps), *fall], atol=1e-7)


def test_steps_at_their_milestones():
    changes = {"schedule.decay": "steps", "schedule.milestones": (0.25, 0.75), "schedule.factor": 0.5}
    rate, steps = rates(changes | {"schedule.warmup_epochs": 0, "optim.learning_rate": 0.4})
    assert rate[0] == pytest.approx(0.4) and rate[-1] == pytest.approx(0.1)
    changes_at = np.flatnonzero(np.diff(rate))
    np.testing.assert_array_equal(changes_at + 1, [steps, 3 * steps])  # The first steps of a new rate.


def test_a_constant_rate_stays():
    rate, _ = rates(
        {"schedule.decay": "constant", "schedule.warmup_epochs": 0, "optim.learning_rate": 0.03}
    )
    np.testing.assert_allclose(rate, 0.03)


def test_a_run_whose_critic_is_not_heeded_is_the_baselines_to_the_last_bit():
    trained = []
    for changes in ({"dreal.enabled": False}, {"dreal.critic": "paper", "dreal.actor_weight": 1.0}):
        recipe = load_recipe("digits_resnet8_se").replace({"backbone.width": 0.5} | changes)
        model, data, callbacks = build(recipe)
        history = model.fit(data.train, epochs=1, callbacks=callbacks, verbose=0).history
        trained.append(model.network.get_weights())
    assert not any(np.any(history[f"trust/{module}"]) for module in model.trajectory.modules)
    for ours, plain in zip(*reversed(trained), strict=True):
        np.testing.assert_array_equal(ours, plain)


def test_a_warm_up_as_long_as_the_training_is_refused():
    with pytest.raises(InputError, match="Expected a warm-up shorter than the training.*Shorten it"):
        build(SMALL.replace({"schedule.warmup_epochs": 2}))


def formula(t, total, warmup, decay, milestones=(), factor=0.1):
    """The rate of step t, over its peak, as docs of a recipe's schedule state it."""
    if t < warmup:
        return t / warmup
    if decay == "cosine":
        return (1 + np.cos(np.pi * (t - warmup) / (total - warmup))) / 2
    return factor ** sum(round(milestone * total) <= t for milestone in milestones)


@pytest.mark.parametrize("warmup_epochs", [0, 1, 3])  # With 3 of 4 the first milestone lies in it.
@pytest.mark.parametrize("decay", ["cosine", "steps", "constant"])
def test_the_rate_of_every_step_is_the_documented_one(decay, warmup_epochs):
    changes = {"schedule.epochs": 4, "schedule.decay": decay, "schedule.warmup_epochs": warmup_epochs}
    recipe = SMALL.replace(changes | {"optim.learning_rate": 0.2})
    model, data, _ = build(recipe)
    steps = data.steps_per_epoch
    milestones = recipe.schedule.milestones if decay == "steps" else ()
    rates = []
    for step in range(4 * steps):
        model.optimizer.iterations.assign(step)  # As after a resumption.
        rates.append(float(model.optimizer.learning_rate))
    expected = [
        0.2 * formula(t, 4 * steps, warmup_epochs * steps, decay, milestones) for t in range(4 * steps)
    ]
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-8)
    if warmup_epochs < 3 or decay != "steps":  # There the rate has fallen before it has risen.
        assert max(rates) == pytest.approx(0.2)


def test_a_warm_up_survives_saving():
    schedule = WarmUp(keras.optimizers.schedules.CosineDecay(0.1, 50), steps=5, peak=0.1)
    again = WarmUp.from_config(schedule.get_config())
    assert [float(again(s)) for s in (0, 3, 20)] == [float(schedule(s)) for s in (0, 3, 20)]


def test_label_smoothing_and_mixed_images_come_with_soft_labels():
    for changes in ({"optim.label_smoothing": 0.1}, {"augment.mix_up": 0.2}):
        model, data, callbacks = build(SMALL.replace(changes))
        history = model.fit(
            data.train, validation_data=data.validation, verbose=0, callbacks=callbacks
        ).history
        assert np.isfinite(history["loss"]).all() and 0 < history["accuracy"][0] <= 1
        assert history["val_reward_measured"][0] > 0


def test_smoothing_is_in_the_loss():
    model, data, _ = build(SMALL.replace({"optim.label_smoothing": 0.3, "optim.weight_decay": 0}))
    images, labels = next(iter(data.validation))
    logits = np.float64(model.network(images))
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    smooth = 0.7 * np.array(labels) + 0.3 / labels.shape[1]
    logs = model.test_on_batch(images, labels, return_dict=True)
    assert logs["loss"] == pytest.approx(-(smooth * log_p).sum(axis=1).mean(), rel=1e-5)


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


def test_attention_kind_none_trains_as_a_baseline():
    model, data, _ = build(SMALL.replace({"attention.kind": "none"}))
    assert model.critic is None
    assert np.isfinite(model.fit(data.train, verbose=0).history["loss"]).all()


def test_a_method_without_attention_is_refused():
    with pytest.raises(InputError, match="or train with --baseline"):
        build(SMALL.replace({"attention.kind": "none", "dreal.enabled": True}))


def test_seeds_make_the_weights():
    one, two, other = (build(SMALL.replace({"run.seed": seed}))[0] for seed in (0, 0, 1))
    kernels = [model.network.get_layer("conv1").kernel.numpy() for model in (one, two, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0


def test_the_critic_changes_no_initial_weight_of_the_network():
    ours, baseline = (build(SMALL.replace({"dreal.enabled": on}))[0] for on in (True, False))
    for a, b in zip(ours.network.variables, baseline.network.variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("critic", ["comparative", "shuffled"])
def test_exploration_and_noise_reach_the_critic_and_what_measures(critic):
    changes = {"dreal.critic": critic, "dreal.exploration": "reference,permuted", "dreal.noise": 0.25}
    model, _, _ = build(SMALL.replace(changes))
    for part in (model.critic, model.reward_estimator):
        assert part.exploration == ("reference", "permuted") and part.noise == 0.25


def test_the_critic_chooses_where_nothing_is_said():
    model, _, _ = build(SMALL)
    assert model.critic.exploration.count("noise") == 3 and model.critic.noise == 0.5


def test_a_critic_without_a_choice_refuses_one():
    with pytest.raises(InputError, match="no dreal.noise with dreal.critic='paper'") as error:
        build(SMALL.replace({"dreal.critic": "paper", "dreal.noise": 0.25}))
    assert "choose dreal.critic='comparative' or 'shuffled'" in str(error.value)


def test_a_run_starts_from_weights_that_were_kept(tmp_path):
    model, _, _ = build(SMALL.replace({"run.seed": 3}))
    model.network.save(tmp_path / "start.keras")
    again, _, _ = build(SMALL.replace({"run.start": str(tmp_path / "start.keras")}))
    for ours, kept in zip(again.network.get_weights(), model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, kept)


def test_weights_that_are_not_there_or_anothers_are_refused(tmp_path):
    with pytest.raises(InputError, match="Expected a .keras file with weights.*run.start"):
        build(SMALL.replace({"run.start": str(tmp_path / "none.keras")}))
    model, _, _ = build(SMALL.replace({"attention.pruned": "conv3_1"}))
    model.network.save(tmp_path / "start.keras")
    with pytest.raises(InputError, match="Expected weights of 'resnet8' as the recipe has it"):
        build(SMALL.replace({"run.start": str(tmp_path / "start.keras")}))
