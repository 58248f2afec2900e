"""Non-finite values are seen: in images, weights and statistics, in training and after it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import dreal_tf
from dreal_tf import DREAL
from dreal_tf.analysis.audit import measure_differences
from dreal_tf.deployment.export import export
from dreal_tf.deployment.prediction import load_network
from dreal_tf.errors import DivergedError, InputError, RunError
from dreal_tf.layers import SqueezeExcite
from dreal_tf.method.rewards import static_actions
from dreal_tf.networks.backbones import plain_network, residual_network
from dreal_tf.training.callbacks import DelayedStart, StopOnNaN
from dreal_tf.training.evaluation import evaluate_network

CLASSES, BATCH = 4, 4
LABELS = np.arange(24) % CLASSES
IMAGES = np.random.default_rng(0).random((24, 8, 8, 1)).astype("float32")
NAMED = r"Received: nan as loss in {} batch {}"


def network():
    keras.utils.set_random_seed(0)
    return residual_network((8, 8, 1), CLASSES, depth=8, attention=SqueezeExcite(4))


def compiled(critic="comparative", **options):
    model = DREAL(network(), critic)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss=loss, **options)
    return model


def images_with(value, position):
    images = IMAGES.copy()
    images[position, 3, 3, 0] = value
    return images


def fit(model, images, callbacks=(), **options):
    arguments = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    return model.fit(images, LABELS, callbacks=list(callbacks), **(arguments | options)).history


@pytest.mark.parametrize("arm", ["comparative", "paper", None, "delayed"])
def test_one_pixel_makes_the_loss_nan(arm):
    model = compiled("comparative" if arm == "delayed" else arm)
    weights = model.get_weights()
    for value in (np.nan, np.inf, -np.inf):
        model.set_weights(weights)
        callbacks = [DelayedStart(2)] if arm == "delayed" else []
        assert np.isnan(fit(model, images_with(value, 5), callbacks)["loss"]).all(), value


def test_a_weight_makes_the_loss_nan():
    model = compiled()
    kernel = model.network.get_layer("conv2_1_1").kernel
    kernel.assign(tf.fill(kernel.shape, np.nan))
    assert np.isnan(fit(model, IMAGES)["loss"]).all()


def test_a_weight_stops_the_baseline():  # Keras's own step may give a finite loss.
    model = compiled(None)
    kernel = model.network.get_layer("conv2_1_1").kernel
    kernel.assign(tf.fill(kernel.shape, np.nan))
    with pytest.raises(DivergedError):
        fit(model, IMAGES, [StopOnNaN()])


def test_a_statistic_that_overflows_makes_the_loss_nan():
    model = compiled()
    history = fit(model, images_with(1e30, 5), epochs=1)  # Finite; its variance is not.
    assert np.isnan(history["loss"]).all()


@pytest.mark.parametrize("critic", ["comparative", None])
def test_evaluation_gives_nan_and_prediction_gives_it_for_that_image_alone(critic):
    model, images = compiled(critic), images_with(np.nan, 5)
    logs = model.evaluate(images, LABELS, batch_size=BATCH, verbose=0, return_dict=True)
    assert np.isnan(logs["loss"])
    rows = model.predict(images, batch_size=BATCH, verbose=0)
    expected = model.predict(IMAGES, batch_size=BATCH, verbose=0)
    assert np.isnan(rows[5]).all()
    np.testing.assert_array_equal(np.delete(rows, 5, 0), np.delete(expected, 5, 0))


@pytest.mark.parametrize("position", [0, 9, 23])
def test_the_batch_is_named(position):
    message = NAMED.format("training", f"{position // BATCH} of epoch 0")
    with pytest.raises(DivergedError, match=message):
        fit(compiled(), images_with(np.nan, position), [StopOnNaN()])


def test_the_validation_batch_is_named():
    options = {"validation_data": (images_with(np.nan, 14), LABELS), "validation_batch_size": BATCH}
    with pytest.raises(DivergedError, match=NAMED.format("validation", "3 of epoch 0")):
        fit(compiled(), IMAGES, [StopOnNaN()], **options)


def test_a_weight_that_only_the_last_update_spoils_is_named():
    class Spoil(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 5:
                bias = self.model.network.get_layer("logits").bias
                bias.assign(tf.fill(bias.shape, np.inf))

    with pytest.raises(DivergedError, match="Received: inf in .*logits/bias after epoch 0"):
        fit(compiled("paper"), IMAGES, [Spoil(), StopOnNaN()])


def test_evaluate_network_names_the_batch():
    data = tf.data.Dataset.from_tensor_slices((images_with(np.nan, 14), LABELS)).batch(BATCH)
    with pytest.raises(DivergedError, match=NAMED.format("evaluation", "3")):
        evaluate_network(network(), data)


def test_an_audit_names_the_batch():
    plain = plain_network(network())
    images = images_with(np.nan, 14)
    batches = [(images[n : n + BATCH], LABELS[n : n + BATCH]) for n in range(0, 24, BATCH)]
    static = static_actions(plain, IMAGES)
    with pytest.raises(RunError, match="nan or infinite ones in batch 3"):
        measure_differences(plain, batches, static, [("conv2_1/se",)])


def spoilt_network(layer="conv3_1_1"):
    spoilt = network()
    variable = spoilt.get_layer(layer).variables[-1]
    variable.assign(tf.fill(variable.shape, np.nan))
    return spoilt, variable.path


@pytest.mark.parametrize("layer", ["conv3_1_1", "conv1_bn"])
def test_audit_and_export_refuse_a_spoilt_weight(tmp_path, layer):
    spoilt, path = spoilt_network(layer)
    with pytest.raises(InputError, match=f"Received: nan in {path}"):
        dreal_tf.audit(spoilt, data="digits_resnet8_se")
    with pytest.raises(InputError, match=f"Received: nan in {path}"):
        export(spoilt, tmp_path / "served")
    assert not any(tmp_path.iterdir())


def test_prediction_refuses_a_spoilt_file(tmp_path):
    spoilt, path = spoilt_network()
    plain_network(spoilt).save(tmp_path / "model.keras")
    with pytest.raises(InputError, match=f"Received: nan in {path}"):
        load_network(tmp_path / "model.keras", data="digits_resnet8_se")
