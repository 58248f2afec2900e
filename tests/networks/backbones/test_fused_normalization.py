"""The fused BatchNorm against Keras's own, and against NumPy."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import values

from dreal_tf.method.rewards import DeferredUpdates
from dreal_tf.networks.backbones import FusedBatchNormalization

SHAPES = [(8, 5, 7, 4), (2, 1, 3, 4), (1, 1, 1, 4), (16, 8, 8, 4)]
PRECISIONS = {"float32": 3e-4, "mixed_bfloat16": 1e-2, "mixed_float16": 2e-3}


def normalization(kind, shape, **options):
    layer = kind(momentum=0.9, epsilon=1e-3, name="norm", **options)
    layer.build(shape)
    layer.gamma.assign([0.5, 1.0, 2.0, -1.0])
    layer.beta.assign([0.0, 1.0, -2.0, 3.0])
    layer.moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    return layer


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(3.0, 2.0, shape).astype("float32")


def passed(layer, maps, training=True):
    """Outputs, gradients with respect to maps and weights, and the averages after the pass."""
    maps = tf.cast(maps, layer.compute_dtype)
    weights = [layer.gamma.value, layer.beta.value]
    with tf.GradientTape() as tape:
        tape.watch(maps)
        outputs = layer(maps, training=training)
        total = tf.reduce_sum(tf.cast(outputs, "float32") * normal(maps.shape, seed=1))
    results = [outputs, *tape.gradient(total, [maps, *weights]), *layer.non_trainable_variables]
    return [np.float64(tf.cast(tf.convert_to_tensor(part), "float32")) for part in results]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_keras_own_up_to_rounding(shape, precision):
    ours, keras_own = (
        normalization(kind, shape, dtype=keras.DTypePolicy(precision))
        for kind in (FusedBatchNormalization, keras.layers.BatchNormalization)
    )
    tolerance = PRECISIONS[precision]
    for training in (True, False):
        results = [passed(layer, normal(shape), training) for layer in (ours, keras_own)]
        for one, other in zip(*results, strict=True):
            scale = max(np.abs(other).max(), 1.0)  # Sums over a map lose what its largest terms lose.
            np.testing.assert_allclose(one / scale, other / scale, atol=tolerance)


def test_it_is_the_formula():
    maps = normal((8, 5, 7, 4))
    layer = normalization(FusedBatchNormalization, maps.shape)
    outputs, *_, mean, variance = passed(layer, maps)
    now, spread = np.float64(maps).mean((0, 1, 2)), np.float64(maps).var((0, 1, 2))
    expected = (maps - now) / np.sqrt(spread + 1e-3) * values([layer.gamma])[0] + values([layer.beta])[
        0
    ]
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean, 0.9 * np.array([1.0, 2, 3, 4]) + 0.1 * now, rtol=1e-5)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * spread, rtol=1e-5)


def test_a_second_pass_can_share_its_statistics():
    maps = normal((8, 5, 7, 4))
    inputs = keras.Input(maps.shape[1:])
    network = keras.Model(inputs, FusedBatchNormalization(momentum=0.99, name="norm")(inputs))
    with DeferredUpdates(network) as held:
        first = network(maps, training=True)
    with keras.StatelessScope(held.batch_statistics()):
        again = network(maps, training=False)
    np.testing.assert_allclose(again, first, atol=1e-5)


def test_frozen_it_stays_as_it_is():
    maps = normal((4, 3, 3, 4))
    layer = normalization(FusedBatchNormalization, maps.shape)
    layer.trainable = False
    before = values(layer.variables)
    np.testing.assert_array_equal(layer(maps, training=True), layer(maps, training=False))
    for old, new in zip(before, values(layer.variables), strict=True):
        np.testing.assert_array_equal(old, new)


HAS_RENORM = "renorm" in inspect.signature(keras.layers.BatchNormalization).parameters


@pytest.mark.parametrize(
    "options",
    [
        dict(synchronized=True),
        pytest.param(
            dict(renorm=True), marks=pytest.mark.skipif(not HAS_RENORM, reason="this Keras has none")
        ),
    ],
)
def test_what_the_operation_does_not_do_is_left_to_keras(options):
    maps = normal((4, 3, 3, 4))
    ours, keras_own = (
        normalization(kind, maps.shape, **options)
        for kind in (FusedBatchNormalization, keras.layers.BatchNormalization)
    )
    for one, other in zip(passed(ours, maps), passed(keras_own, maps), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((6, 4), "float32"), ((6, 5, 4), "float32"), ((4, 3, 3, 4), "float64")]
)
@pytest.mark.parametrize("training", [True, False])
def test_rows_and_wider_weights_are_left_to_keras(shape, dtype, training):
    ours, keras_own = (
        normalization(kind, shape, dtype=dtype)
        for kind in (FusedBatchNormalization, keras.layers.BatchNormalization)
    )
    results = [passed(layer, normal(shape), training) for layer in (ours, keras_own)]
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
