"""`DREAL` as a Keras model: data it takes, losses it refuses, what it logs, how it is saved."""

from contextlib import nullcontext as nothing_raised

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import (
    ACTORS,
    compiled,
    logits_loss,
    precision,
    small_data,
    small_network,
    values,
    with_float32_logits,
)

from dreal_tf import DREAL
from dreal_tf.errors import InputError
from dreal_tf.layers import SqueezeExcite
from dreal_tf.networks.backbones import plain_network, residual_network

IMAGES, LABELS = small_data(24)
LOGGED = {"loss", "critic_loss", "actor_loss", "accuracy", "reward", "reward_measured"}


@pytest.mark.parametrize("form", ACTORS)
def test_every_form_of_actor_trains(form):
    eager = form != "pairwise"  # Other tests trace the other forms.
    model = compiled(small_network(ACTORS[form], blocks=3), actor_weight=0.5, eager=eager)
    history = model.fit(IMAGES, LABELS, batch_size=9, verbose=0, validation_split=0.25).history
    modules = model.trajectory.modules
    expected = LOGGED | {f"{q}/{m}" for q in ("reward", "gain", "critique", "trust") for m in modules}
    names = ("actor_grad_ratio", "actor_grad_cosine")  # There are none on validation data.
    of_actors = {*names, *(f"{name}/{module}" for name in names for module in modules)}
    assert set(history) == expected | {f"val_{name}" for name in expected} | of_actors
    assert all(np.isfinite(curve).all() for curve in history.values())


def test_it_learns_what_the_task_asks():
    model = compiled(small_network(blocks=3), rate=0.1, actor_weight=0.1)
    history = model.fit(IMAGES, LABELS, batch_size=8, epochs=15, verbose=0).history
    assert history["accuracy"][-1] > 0.9 and history["loss"][-1] < 0.5 * history["loss"][0]


def test_the_critic_learns_the_reward():
    model = compiled(actor_weight=0.0, critic_rate=0.1, reward_fraction=1.0)
    history = model.fit(IMAGES, LABELS, batch_size=8, epochs=15, verbose=0).history
    assert history["critic_loss"][-1] < 0.5 * history["critic_loss"][0]


def test_actors_climb_their_critic():
    """With a critic that stands still, critiques rise where only the actor loss moves the network."""

    class NoTask(DREAL):
        def compute_loss(self, *args, **kwargs):
            return 0.0 * super().compute_loss(*args, **kwargs)

    settings = dict(critic="paper", actor_weight=1.0, actor_weight_mode="absolute", trust=False)
    model = NoTask(small_network(), **settings)
    model.compile(keras.optimizers.SGD(0.5), keras.optimizers.SGD(0.0), loss=logits_loss())
    history = model.fit(IMAGES, LABELS, batch_size=24, epochs=10, verbose=0).history
    assert (np.diff(history["actor_loss"]) < 0).all()


@pytest.mark.parametrize("width", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_labels_as_columns_and_one_hot_train_alike(width):
    keras.utils.set_random_seed(0)
    plain = compiled(eager=True)
    keras.utils.set_random_seed(0)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True) if width == 3 else logits_loss()
    other = compiled(loss=loss, eager=True)
    labels = np.eye(3, dtype="float32")[LABELS] if width == 3 else LABELS[:, None]
    for model, y in ((plain, LABELS), (other, labels)):
        model.fit(IMAGES, y, batch_size=8, shuffle=False, verbose=0)
    for one, two in zip(values(plain.network.variables), values(other.network.variables), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)


def test_only_clear_soft_labels_are_measured():
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model = compiled(loss=loss, reward_fraction=1.0, eager=True)
    soft = np.float32([[0.9, 0.1, 0], [0.6, 0.4, 0], [0, 0, 1], [0.4, 0.3, 0.3]])
    logs = model.train_on_batch(IMAGES[:4], soft, return_dict=True)
    assert logs["reward_measured"] == 2


def test_images_without_weight_move_nothing_and_do_not_count():
    """Padding: a batch with weightless images trains as the batch of their number without them."""
    weight = np.float32([1, 1, 1, 1, 0, 0, 0, 0])
    settings = dict(estimator="exact", reward_fraction=1.0, actor_weight=0.5, trust=False)
    ours = compiled(eager=True, **settings)
    before = values(ours.network.trainable_variables + ours.critic.trainable_variables)
    other = IMAGES[:8].copy(), LABELS[:8].copy()
    other[1][4:] = (other[1][4:] + 1) % 3
    results = []
    for labels in (LABELS[:8], other[1]):
        for variable, value in zip(
            ours.network.trainable_variables + ours.critic.trainable_variables, before, strict=True
        ):
            variable.assign(value)
        ours.optimizer.momentums[0].assign(np.zeros_like(ours.optimizer.momentums[0]))
        logs = ours.train_on_batch(IMAGES[:8], labels, sample_weight=weight, return_dict=True)
        results.append(
            (logs, values(ours.network.trainable_variables + ours.critic.trainable_variables))
        )
    assert results[0][0]["reward_measured"] == 4
    assert results[0][0]["critic_loss"] == pytest.approx(results[1][0]["critic_loss"], rel=1e-6)


def test_class_weight_reaches_both_losses():
    model = compiled(actor_weight=0.5, reward_fraction=1.0, eager=True)
    history = model.fit(
        IMAGES, LABELS, batch_size=24, class_weight={0: 0.0, 1: 1.0, 2: 0.0}, verbose=0
    ).history
    assert history["reward_measured"][0] == (LABELS == 1).sum()


def test_a_network_that_ends_in_a_softmax_trains_alike():
    logits = compiled(estimator="exact", reward_fraction=1.0, eager=True)
    network = small_network()
    softmax = keras.layers.Softmax()(network.output["logits"])
    with_softmax = keras.Model(network.input, network.output | {"logits": softmax})
    plain_network(with_softmax).set_weights(logits.network.get_weights())
    probabilities = compiled(
        with_softmax,
        loss=keras.losses.SparseCategoricalCrossentropy(),
        estimator="exact",
        reward_fraction=1.0,
        eager=True,
    )
    probabilities.critic.set_weights(logits.critic.get_weights())
    one = logits.train_on_batch(IMAGES, LABELS, return_dict=True)
    two = probabilities.train_on_batch(IMAGES, LABELS, return_dict=True)
    for name in one:
        assert two[name] == pytest.approx(one[name], rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("sparse_categorical_crossentropy", "from_logits=False. Received: a network whose last"),
        (keras.losses.BinaryCrossentropy(), "Sigmoid, multi-label and regression heads"),
        ("mse", "probability of one true class"),
        (None, "Expected a loss over classes that exclude each other"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        DREAL(small_network()).compile("sgd", loss=loss)


@pytest.mark.parametrize("ending", ["softmax", "activation", "linear", "identity", "nested"])
def test_a_softmax_is_found_behind_what_changes_no_value(ending):
    network = small_network()
    softmax = keras.layers.Softmax()
    last = {
        "softmax": softmax,
        "activation": keras.layers.Activation("softmax"),
        "linear": lambda x: keras.layers.Activation("linear", dtype="float32")(softmax(x)),
        "identity": lambda x: keras.layers.Identity()(softmax(x)),
        "nested": keras.Sequential([keras.Input((3,)), softmax]),
    }[ending]
    network = keras.Model(network.input, network.output | {"logits": last(network.output["logits"])})
    with pytest.raises(ValueError, match="Expected logits.*ends in a softmax"):
        DREAL(network).compile("sgd", loss=logits_loss())
    DREAL(network).compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy())


@pytest.mark.parametrize(
    ("fraction", "measured"), [(1.0, 24), (0.75, 18), (0.6, 15), (0.3, 9), (0.01, 3)]
)
def test_validation_measures_its_share_of_every_batch(fraction, measured):
    model = compiled(validation_fraction=fraction, eager=True)
    logs = model.evaluate(IMAGES, LABELS, batch_size=8, verbose=0, return_dict=True)
    assert logs["reward_measured"] == measured


def test_the_logged_loss_is_what_plain_keras_logs():
    """In training and validation, regularisers included, whatever the critic and the actors lose."""
    options = dict(depth=8, width=0.25, attention=SqueezeExcite(2), weight_decay=0.1)
    network = residual_network((6, 6, 2), 3, **options)
    plain = plain_network(residual_network((6, 6, 2), 3, **options))
    plain.set_weights(plain_network(network).get_weights())
    plain.compile(keras.optimizers.SGD(0.0), loss=logits_loss(), run_eagerly=True)
    settings = dict(actor_weight=5.0, reward_fraction=1.0, optimizer=keras.optimizers.SGD(0.0))
    model = compiled(network, eager=True, **settings)
    options = dict(batch_size=24, verbose=0, validation_data=(IMAGES[:8], LABELS[:8]))
    theirs = plain.fit(IMAGES, LABELS, **options).history
    ours = model.fit(IMAGES, LABELS, **options).history
    assert ours["critic_loss"][0] > 0 and ours["actor_loss"][0] != 0
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-6)
    assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-6)


def test_frozen_actors_stay_where_they_are():
    model = compiled(actor_weight=1.0)
    actor = model.network.get_layer("conv2_1_se")
    actor.trainable = False
    model.compile(keras.optimizers.SGD(0.1), loss=logits_loss(), run_eagerly=True)
    before = values(actor.weights)
    model.fit(IMAGES, LABELS, batch_size=8, verbose=0)
    for old, now in zip(before, values(actor.weights), strict=True):
        np.testing.assert_array_equal(old, now)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(critic="papper"), "Expected a critic.*Did you mean 'paper'"),
        (dict(critic=3), "Expected a critic's name, a `Critic` or None. Received: 3"),
        (dict(estimator="exakt"), "Did you mean 'exact'"),
        (dict(reference_action="zero"), "Expected a reference action, one of: identity, mean, static"),
        (dict(update="both"), "one of: alternating, simultaneous"),
        (dict(reward_fraction=0.0), "`reward_fraction` must be above 0.*reward_fraction=0.0"),
        (dict(actor_weight=-1), "`actor_weight` must be at least 0. Received: actor_weight=-1"),
        (dict(stages={"conv9"}), "Expected a stage that has attention.*conv2, conv3.*'conv9'"),
        (dict(stages=[]), "must name at least one of conv2, conv3"),
    ],
)
def test_settings_are_checked_at_the_door(settings, message):
    with pytest.raises(ValueError, match=message):
        DREAL(small_network(), **settings)


def test_any_network_is_taken_by_attaching():
    images = keras.Input((8, 8, 3))
    refined = SqueezeExcite(1, name="first_se")(images)
    logits = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(refined))
    plain = keras.Model(images, logits)
    model = DREAL(plain, critic="paper")
    assert model.network is plain and model.trajectory.modules == ["first/se"]


def test_a_network_without_attention_is_refused():
    images = keras.Input((4, 4, 1))
    plain = keras.Model(images, keras.layers.Flatten()(images))
    with pytest.raises(ValueError, match="attention"):
        DREAL(plain)
    with pytest.raises(ValueError, match="Received: int"):
        DREAL(3)


def test_a_critic_needs_attention_to_judge():
    without = keras.Input((4, 4, 1))
    network = keras.Model(
        without, {"logits": keras.layers.Flatten()(without), "states": {}, "actions": {}}
    )
    with pytest.raises(ValueError, match="Received: a network without attention actors"):
        DREAL(network)
    assert DREAL(network, critic=None).critic is None


def test_the_identity_reference_needs_a_way_past_the_actor(monkeypatch):
    DREAL(small_network(ACTORS["pairwise"]), reference_action="identity")
    monkeypatch.setattr(type(ACTORS["pairwise"]), "residual", False)
    with pytest.raises(
        ValueError, match="for the reference action 'identity'. Received: 'conv2_1/pair'"
    ):
        DREAL(small_network(ACTORS["pairwise"]), reference_action="identity")


def test_the_direct_control_knows_the_true_gradient_of_frozen_actors():
    network, gradients = small_network(blocks=2), []
    first = next(layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D))
    for trained in (first.name, "logits"):  # Below the actors, and above them alone.
        for layer in network.layers:
            layer.trainable = layer.name == trained
        model = compiled(network, critic="direct", actor_weight=0.5)
        factual = model.factual_pass((tf.constant(IMAGES[:4]), tf.constant(LABELS[:4])))
        gradients.append(factual.privileged.true_action_gradients)
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
        assert np.abs(one).max() > 0


def test_a_step_that_overflows_reaches_neither_network_nor_critic():
    with precision("mixed_float16"):
        model = compiled(small_network(), actor_weight=0.5, critic_rate=0.1)
    variables = model.network.trainable_variables + model.critic.trainable_variables
    before = values(variables)
    model.train_on_batch(np.full_like(IMAGES, 6e4), LABELS)
    for old, new in zip(before, values(variables), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        (dict(gradient_accumulation_steps=2), "accumulated over steps"),
        (dict(loss_scale_factor=8.0), "or with loss_scale_factor"),
    ],
)
def test_what_scales_gradients_is_refused_with_clipping(scaling, message):
    optimizer = keras.optimizers.SGD(0.1, clipnorm=1.0, **scaling)
    with pytest.raises(ValueError, match=message):
        DREAL(small_network()).compile(optimizer, loss=logits_loss())


def test_loss_scaling_with_clipping_is_refused():
    with precision("mixed_float16"):
        model = DREAL(small_network())
        with pytest.raises(ValueError, match="no gradient clipping under mixed_float16"):
            model.compile(keras.optimizers.SGD(0.1, clipnorm=1.0), loss=logits_loss())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(policy):
    with precision(policy):
        model = compiled(with_float32_logits(small_network()), actor_weight=0.5)
    assert {v.dtype for v in model.critic.trainable_variables} == {"float32"}
    history = model.fit(IMAGES, LABELS, batch_size=8, epochs=3, verbose=0).history
    assert all(np.isfinite(curve).all() for curve in history.values())
    assert history["loss"][-1] < history["loss"][0]


def test_it_predicts_as_the_network_alone():
    model = compiled()
    np.testing.assert_array_equal(
        model.predict(IMAGES, verbose=0), model.network.predict(IMAGES, verbose=0)
    )
    assert model.network.output.shape == (None, 3)


def test_an_uncompiled_model_is_saved_too(tmp_path):
    model = DREAL(small_network(), critic=None)
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").critic is None


def test_the_saved_network_knows_nothing_of_critics(tmp_path):
    model = compiled()
    model.network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert len(loaded.variables) == len(model.network.variables)
    np.testing.assert_array_equal(loaded(IMAGES), model.network(IMAGES))


def test_the_baseline_measures_rewards_in_validation_alone():
    model = compiled(critic=None, eager=True)
    history = model.fit(IMAGES, LABELS, verbose=0, validation_split=0.25).history
    modules = model.trajectory.modules
    measured = {"reward", "reward_measured", *(f"{q}/{m}" for q in ("reward", "gain") for m in modules)}
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"} | {
        f"val_{name}" for name in measured
    }
    assert history["val_reward_measured"] == [2]


@pytest.mark.parametrize("loss", ["mse", None])
def test_a_baseline_may_have_any_loss_or_measure_nothing(loss):
    fraction = 0.25 if loss else 0.0
    settings = dict(critic=None, validation_fraction=fraction)
    model = compiled(loss=loss or logits_loss(), eager=True, **settings)
    labels = np.eye(3, dtype="float32")[LABELS] if loss else LABELS
    history = model.fit(IMAGES, labels, verbose=0, validation_split=0.25).history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}


def test_a_tf_data_pipeline_with_free_sizes_trains():
    network = small_network(image_shape=(None, None, 2))
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(7)
    history = compiled(network).fit(data, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_a_step_that_measures_nothing_logs_no_nan():
    model = compiled(reward_fraction=1.0, eager=True)
    logs = model.train_on_batch(IMAGES[:4], LABELS[:4], sample_weight=np.zeros(4), return_dict=True)
    assert logs["reward_measured"] == 0 and all(np.isfinite(value) for value in logs.values())


@pytest.mark.parametrize("critic", [None, "comparative"])
def test_a_confident_softmax_has_the_loss_of_plain_keras(critic):
    """Keras finds the logits behind a softmax; from probabilities alone the loss ends at -log 1e-7."""
    network = small_network()
    logits = network.output["logits"]
    probabilities = keras.layers.Softmax()(keras.layers.Rescaling(1000.0)(logits))
    network = keras.Model(network.input, network.output | {"logits": probabilities})
    plain = keras.Model(network.input, probabilities)
    losses, weights = [], plain.get_weights()
    for model in (plain, DREAL(network, critic)):
        plain.set_weights(weights)  # The two share them.
        loss = keras.losses.SparseCategoricalCrossentropy()
        model.compile("sgd", loss=loss, run_eagerly=True)
        losses.append(model.evaluate(IMAGES, LABELS, batch_size=8, verbose=0, return_dict=True)["loss"])
        losses.append(model.train_on_batch(IMAGES[:8], LABELS[:8], return_dict=True)["loss"])
    assert losses[0] > 20  # Beyond -log 1e-7.
    assert losses[2:] == pytest.approx(losses[:2], rel=1e-6)


def as_plain(critic):
    """A network with one attention layer as it is, and another of the same weights in a `DREAL`."""
    networks = []
    for _ in range(2):
        images = keras.Input((6, 6, 2), name="image")
        maps = keras.layers.Conv2D(4, 3, name="conv")(images)
        maps = SqueezeExcite(2, name="conv1_1_se")(CountedCalls(name="counted")(maps))
        logits = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(maps))
        networks.append(keras.Model(images, logits))
    networks[1].set_weights(networks[0].get_weights())
    return networks[0], DREAL(networks[1], critic, actor_weight=0.0)


@keras.saving.register_keras_serializable("tests")
class CountedCalls(keras.layers.Layer):
    """Passes maps on, and counts the calls in a metric of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = keras.metrics.Sum(name="calls")

    def call(self, maps):
        self.calls.update_state(1.0)
        return maps


SPARSE, ONE_HOT = logits_loss(), keras.losses.CategoricalCrossentropy(from_logits=True)
TAKEN = {  # Data, and arguments of `compile`.
    "Boolean one-hot": ((IMAGES, np.eye(3)[LABELS] > 0), dict(loss=ONE_HOT)),
    "integer one-hot": ((IMAGES, np.eye(3, dtype="uint8")[LABELS]), dict(loss=[ONE_HOT])),
    "loss in a list": ((IMAGES, LABELS), dict(loss=[SPARSE], loss_weights=[0.5])),
    "loss in a dict": ((IMAGES, LABELS), dict(loss={"logits": SPARSE}, metrics={"logits": "accuracy"})),
    "lists": (([IMAGES], [LABELS], [np.linspace(0, 1, 24)]), dict(loss=(SPARSE,))),
    "dict of images": (
        ({"image": IMAGES}, LABELS[:, None]),
        dict(loss=SPARSE, weighted_metrics=["acc"]),
    ),
    "uint8": (((IMAGES * 9).astype("uint8"), LABELS.astype("uint8")), dict(loss=SPARSE)),
}


@pytest.mark.parametrize("critic", [None, "comparative"])
@pytest.mark.parametrize("form", TAKEN)
def test_it_takes_all_that_a_plain_model_takes(form, critic, recwarn):
    """The same losses and metrics as a plain model, without a warning: one module leaves phi unused."""
    data, arguments = TAKEN[form]
    logs = []
    for model in as_plain(critic):
        model.compile("sgd", run_eagerly=True, **arguments)
        logs.append(model.train_on_batch(*data, return_dict=True))
        logs[-1] |= {f"val_{n}": v for n, v in model.test_on_batch(*data, return_dict=True).items()}
    plain, ours = logs
    assert {name: ours[name] for name in plain} == pytest.approx(plain, rel=1e-5)
    assert plain["calls"] == plain["val_calls"] == 1
    assert not [w for w in recwarn if "Gradients do not exist" in str(w.message)]


@pytest.mark.parametrize("critic", [None, "comparative"])
def test_it_is_a_keras_model_to_look_into(critic):
    plain, model = as_plain(critic)
    assert model.input_shape == plain.input_shape and model.output_shape == plain.output_shape
    assert model.compute_output_shape((None, 6, 6, 2)) == (None, 3)
    assert model.output_names == ["logits"] and model.get_layer(index=1).name == "conv"
    features = keras.Model(model.inputs, model.get_layer("conv").output)
    np.testing.assert_allclose(features(IMAGES), plain.get_layer("conv")(IMAGES), rtol=1e-6)
    parts = [part.name for part in model.layers]
    assert len(parts) == len(set(parts)) == (1 if critic is None else 4)
    assert all(model.get_layer(name) is part for name, part in zip(parts, model.layers, strict=True))


def test_its_summary_shows_actors_and_critic():
    _, model = as_plain("comparative")
    lines = []
    model.summary(120, print_fn=lambda text, **_: lines.append(text))
    text = "\n".join(lines)
    names = ["conv1_1_se (", model.critic.name, "conv (Conv2D)", "trust"]
    assert all(name in text for name in names) and "unbuilt" not in text


@pytest.mark.parametrize("callback", ["EarlyStopping", "ReduceLROnPlateau"])
def test_callbacks_of_keras_without_arguments_do_as_on_the_plain_network(callback):
    histories = []
    for model in as_plain("comparative"):
        model.compile(keras.optimizers.SGD(0.5), loss=SPARSE, metrics=["accuracy"])
        unlike = IMAGES, LABELS[::-1]  # Training does not improve them.
        callbacks = [getattr(keras.callbacks, callback)()]
        options = dict(epochs=40, batch_size=12, shuffle=False, verbose=0, callbacks=callbacks)
        histories.append(model.fit(IMAGES, LABELS, validation_data=unlike, **options).history)
    plain, ours = histories
    assert (
        len(plain["loss"]) < 40 if callback == "EarlyStopping" else len(set(plain["learning_rate"])) > 1
    )
    assert ours["val_loss"] == pytest.approx(plain["val_loss"], rel=1e-3)
    assert ours.get("learning_rate") == plain.get("learning_rate")


@pytest.mark.parametrize("critic", [None, "comparative"])
def test_a_frozen_model_evaluates_and_moves_nothing(critic):
    _, model = as_plain(critic)
    model.trainable = False
    model.compile("adam", SPARSE, run_eagerly=True)
    before = values(model.variables)
    logs = model.train_on_batch(IMAGES, LABELS, return_dict=True)
    assert model.test_on_batch(IMAGES, LABELS, return_dict=True)["loss"] == pytest.approx(logs["loss"])
    names = {v.path for v in model.trainable_variables}
    moved_ = [
        v.path for v, old in zip(model.variables, before, strict=True) if np.any(v.numpy() != old)
    ]
    assert not names and all("trust" in path or "calls" in path for path in moved_)


@pytest.mark.parametrize("critic", [None, "comparative"])
def test_it_exports_and_saves_uncalled_as_keras_models_do(critic, tmp_path):
    _, model = as_plain(critic)
    model.compile("adam", SPARSE)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(IMAGES), model.network(IMAGES), rtol=1e-5, atol=1e-6)
    with pytest.warns(UserWarning, match="new critic optimizer") if critic else nothing_raised():
        model.save(tmp_path / "model.h5")
    loaded = keras.saving.load_model(tmp_path / "model.h5")
    assert type(loaded) is DREAL and loaded.optimizer.name == "adam"
    for variable, same in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(variable, same)


@pytest.mark.parametrize("second", [(), ("sgd",), (keras.optimizers.SGD(),)])
def test_the_order_of_compile_is_that_of_keras(second):
    _, model = as_plain("paper")
    model.compile("adam", *second, SPARSE, None, ["accuracy"])
    assert model.optimizer.name.startswith("adam") and model.loss is SPARSE
    assert model.critic_optimizer.name.lower().startswith("sgd" if second else "adam")


def test_the_baseline_needs_no_attention():
    images = keras.Input((6, 6, 2))
    network = keras.Model(images, keras.layers.Dense(3)(keras.layers.Flatten()(images)))
    model = DREAL(network, critic=None)
    model.compile(None, SPARSE, run_eagerly=True)  # As in plain Keras, to evaluate only.
    assert np.isfinite(model.evaluate(IMAGES, LABELS, verbose=0))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"optimizer": keras.optimizers.SGD}, "an object as `optimizer`.*class SGD.*SGD\\(...\\)"),
        ({"critic_optimizer": keras.optimizers.SGD}, "an object as `critic_optimizer`"),
        ({"loss": [keras.losses.CategoricalCrossentropy]}, "an object as `loss`"),
        ({"loss": SPARSE, "metrics": [keras.metrics.AUC]}, "an object as `metrics`"),
        ({"loss": SPARSE, "optimizer": None}, "an optimizer for the network and one for the critic"),
    ],
)
def test_objects_are_expected_where_classes_are_given(arguments, message):
    _, model = as_plain("paper")
    with pytest.raises(InputError, match=message):
        model.compile(**arguments)


@pytest.mark.parametrize("argument", ["critic", "embedding_losses"])
def test_parts_are_objects_too(argument):
    with pytest.raises(InputError, match=f"an object as `{argument}`"):
        DREAL(small_network(), **{argument: SqueezeExcite})
