"""One replica and two, with the same global batch."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import SqueezeExcite, TwoModules, compiled, precision, small_data, small_network, values

from dreal_tf import replicas

STEPS, BATCH = 20, 16


def run(attention, **settings):
    keras.utils.set_random_seed(0)
    network = small_network(attention, synchronized=True)
    model = compiled(network, rate=0.05, critic_rate=0.05, **settings)
    images, labels = small_data(STEPS * BATCH)
    history = model.fit(
        images,
        labels,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        validation_data=(images[:37], labels[:37]),
    ).history
    return history, values(model.network.variables + model.critic.variables)


@pytest.mark.parametrize("attention", [SqueezeExcite(2)], ids=["se"])
@pytest.mark.parametrize("update", ["simultaneous", "alternating"])
def test_losses_and_weights_agree_after_twenty_steps(two_replicas, attention, update):
    settings = dict(
        actor_weight=0.5, estimator="exact", reward_fraction=1.0, validation_fraction=1.0, update=update
    )
    one_history, one = run(attention, **settings)
    with two_replicas.scope():
        two_history, two = run(attention, **settings)
    # The validation batches of 16, 16 and 5 images are cut in two, unevenly.
    for name, value in one_history.items():
        # Averages over batches weigh a short batch by its images, over replicas by their share.
        assert two_history[name][0] == pytest.approx(value[0], rel=2e-3, abs=2e-4), name
    for ours, theirs in zip(one, two, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-4)


def test_the_sampled_estimator_runs_on_two_replicas(two_replicas):
    with two_replicas.scope():
        model = compiled(small_network(TwoModules(), dropout=0.3), actor_weight=0.5)
    images, labels = small_data(64)
    history = model.fit(images, labels, batch_size=16, verbose=0).history
    assert all(np.isfinite(value[0]) for value in history.values())
    assert history["reward_measured"][0] == 16


def test_replicas_sample_differently_and_a_repeated_step_the_same(two_replicas):
    """All replicas have the same images here, so only the seed tells their samples apart."""
    with two_replicas.scope():
        model = compiled(small_network(), reward_fraction=0.5)
    batch = tuple(map(tf.constant, small_data(16)))

    @tf.function
    def sample():
        samples = model.estimate_rewards(model.factual_pass(batch))
        return tf.stack([samples.images, samples.modules])

    def sampled(step):
        model.optimizer.iterations.assign(step)
        local = two_replicas.experimental_local_results(two_replicas.run(sample))
        return [part.numpy().tolist() for part in local]

    first, second, again = sampled(0), sampled(1), sampled(0)
    assert first == again
    samples = [*first, *second]  # Two steps of two replicas.
    assert all(one[0] != other[0] for one, other in itertools.combinations(samples, 2))


@pytest.mark.parametrize("count", [1, 3])
def test_a_validation_batch_smaller_than_the_replicas(two_replicas, count):
    """One replica gets no image at all."""
    with two_replicas.scope():
        model = compiled(small_network(), validation_fraction=1.0)
    images, labels = small_data(count)
    logs = model.evaluate(images, labels, batch_size=4, verbose=0, return_dict=True)
    alone = model.network(images)
    expected = keras.losses.sparse_categorical_crossentropy(labels, alone, from_logits=True)
    assert logs["loss"] == pytest.approx(float(np.mean(expected)), rel=1e-5)
    assert logs["accuracy"] == pytest.approx(np.mean(np.argmax(alone, axis=1) == labels))
    assert logs["reward_measured"] == count
    assert all(np.isfinite(value) for value in logs.values())


@pytest.mark.parametrize(
    ("optimizer", "arguments", "named"),
    [
        (dict(gradient_accumulation_steps=2), {}, "gradient_accumulation_steps=2"),
        (dict(use_ema=True, ema_overwrite_frequency=5), {}, "ema_overwrite_frequency=5"),
        (dict(global_clipnorm=1.0), {}, "global_clipnorm=1.0"),
        (dict(clipvalue=0.5), {}, "clipvalue=0.5"),
        ({}, dict(jit_compile=True), "jit_compile=True"),
        ({}, dict(steps_per_execution=4), "steps_per_execution=4"),
    ],
)
def test_what_fails_under_replicas_is_refused(two_replicas, optimizer, arguments, named):
    with two_replicas.scope(), pytest.raises(ValueError, match=f"under 2 replicas. Received: {named}"):
        from dreal_tf import DREAL

        DREAL(small_network()).compile(
            keras.optimizers.SGD(0.1, **optimizer),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            **arguments,
        )


def test_gradients_are_divided_by_the_replicas(two_replicas):
    def loss():
        return replicas.per_replica(tf.constant(3.0))

    per_replica = two_replicas.experimental_local_results(two_replicas.run(loss))
    assert [float(value) for value in per_replica] == [1.5, 1.5]


@pytest.mark.parametrize("critic", ["paper", None])
def test_replicas_agree_before_they_are_judged_and_kept(two_replicas, critic, tmp_path):
    """Each replica's BatchNorm has seen other images: in training, at its end, and after it."""
    images, labels = small_data(48)
    images[labels == 0] *= 3
    with two_replicas.scope():
        model = compiled(small_network(), critic=critic)
    norms = [model.network.get_layer(name) for name in ("conv2_1_bn", "conv3_1_bn")]
    variables = [v for norm in norms for v in (norm.moving_mean, norm.moving_variance)]

    def held():
        """The statistics of each replica."""
        local = [two_replicas.experimental_local_results(v.value) for v in variables]
        return np.array([[part.numpy() for part in parts] for parts in zip(*local, strict=True)])

    def assert_means(kept, first, second):
        assert np.abs(first - second).max(axis=1).min() > 1e-4
        np.testing.assert_allclose(kept, (first + second) / 2, rtol=1e-6, atol=1e-7)

    during = {}

    class Save(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            during[batch] = held()
            if batch == 1:
                model.save_weights(tmp_path / "of.weights.h5")
            if batch == 2:
                model.save(tmp_path / "model.keras")

    model.fit(images, labels, batch_size=8, shuffle=False, verbose=0, callbacks=[Save()])
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    with_weights = compiled(small_network(), critic=critic)
    with_weights.load_weights(tmp_path / "of.weights.h5")
    for batch, other in ((1, with_weights), (2, loaded)):
        layers = [other.network.get_layer(norm.name) for norm in norms]
        assert_means([v for n in layers for v in (n.moving_mean, n.moving_variance)], *during[batch])
    for kept in held():  # At the end of `fit`.
        assert_means(kept, *during[5])

    def disturb():
        """Moves the second replica's statistics alone, as a batch of its own would."""
        for variable in variables:
            part = two_replicas.experimental_local_results(variable.value)[1]
            part.assign_add(np.linspace(0.5, 1, 4))
        return held()

    apart = disturb()
    under = model.evaluate(images, labels, batch_size=8, verbose=0, return_dict=True)
    for kept in held():
        assert_means(kept, *apart)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    after = loaded.evaluate(images, labels, batch_size=8, verbose=0, return_dict=True)
    assert under["loss"] == pytest.approx(after["loss"], rel=1e-5)
    assert under["accuracy"] == pytest.approx(after["accuracy"])
    apart = disturb()
    model.export(tmp_path / "exported", verbose=False)
    for kept in held():
        assert_means(kept, *apart)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(exported.serve(images), model.network(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("critic", ["paper", None])
def test_a_training_batch_without_images_for_a_replica_is_said(two_replicas, critic):
    with two_replicas.scope():
        model = compiled(small_network(), critic=critic)
    images, labels = small_data(17)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Drop the incomplete batch"):
        model.fit(images, labels, batch_size=16, shuffle=False, verbose=0)


def test_clipping_is_still_set_after_replicas_have_stepped(two_replicas):
    from dreal_tf.model.gradients import clipping_of, clipping_off

    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=1.0)
    settings = clipping_of(optimizer)
    contexts = [clipping_off(optimizer, settings) for _ in range(2)]
    for context in contexts:  # In turns, as replicas pass.
        context.__enter__()
    for context in contexts:
        context.__exit__(None, None, None)
    assert optimizer.global_clipnorm == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("critic", ["paper", None])
def test_a_step_that_overflows_on_one_replica_is_left_out_on_all(two_replicas, critic):
    with precision("mixed_float16"), two_replicas.scope():
        model = compiled(small_network(), critic=critic, actor_weight=0.5)
    images, labels = small_data(16)
    batches = {"good": images, "bad": images.copy()}
    batches["bad"][8:] = 6e4  # The second replica's share.

    def held():
        moved = model.network.trainable_variables + (model.critic.trainable_variables if critic else [])
        local = [two_replicas.experimental_local_results(v.value) for v in moved]
        return [part.numpy() for parts in local for part in parts]

    def train(which):
        scale, before = float(model.optimizer.dynamic_scale.numpy()), held()
        model.fit(batches[which], labels, batch_size=16, shuffle=False, verbose=0)
        return float(model.optimizer.dynamic_scale.numpy()) / scale, before, held()

    halved, before, after = train("bad")
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)
    while halved == 0.5:  # Until the scale fits what can be scaled.
        halved, before, after = train("good")
    assert any(np.abs(new - old).max() > 0 for old, new in zip(before, after, strict=True))
    assert all(np.isfinite(value).all() for value in after)
    for one, two in zip(after[::2], after[1::2], strict=True):
        np.testing.assert_array_equal(one, two)


def test_keras_own_loss_scaling_is_refused_under_replicas(two_replicas):
    from dreal_tf import DREAL

    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    with two_replicas.scope(), pytest.raises(ValueError, match="which looks at one replica"):
        DREAL(small_network()).compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(True))
