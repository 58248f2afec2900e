"""The convolution of small maps against Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.networks.backbones import SmallMapConv2D
from dreal_tf.networks.flops import multiply_adds

SETTINGS = [
    ((2, 2), dict(kernel_size=3, padding="same")),
    ((2, 2), dict(kernel_size=1)),
    ((1, 3), dict(kernel_size=3, padding="same", use_bias=True)),
    ((4, 4), dict(kernel_size=3, strides=2, padding="same")),
    ((6, 6), dict(kernel_size=3, strides=2)),
    ((3, 3), dict(kernel_size=3, strides=2, padding="same", activation="relu")),
    ((3, 4), dict(kernel_size=(1, 2), strides=2, padding="same")),
    ((4, 4), dict(kernel_size=1, strides=2)),
    ((3, 3), dict(kernel_size=3)),
    ((2, 1), dict(kernel_size=5, padding="same")),
    ((8, 8), dict(kernel_size=3, padding="same")),  # Keras's own from here on.
    ((2, 2), dict(kernel_size=3, padding="same", groups=2)),
    ((2, 2), dict(kernel_size=2, padding="same", dilation_rate=2)),
]


def passed(layer, maps):
    """Outputs, and the gradients with respect to maps and weights."""
    with tf.GradientTape() as tape:
        tape.watch(maps)
        outputs = layer(maps)
        total = tf.reduce_sum(tf.cast(outputs, "float32") ** 2)
    return [outputs, *tape.gradient(total, [maps, *layer.trainable_variables])]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("size, options", SETTINGS)
def test_it_is_keras_own_up_to_rounding(size, options, precision):
    draws = np.random.default_rng(0)
    maps = draws.normal(size=(3, *size, 4)).astype("float32")
    options = {"use_bias": False, "bias_initializer": "random_normal"} | options
    layers = []
    for kind in (keras.layers.Conv2D, SmallMapConv2D):
        layers.append(kind(6, dtype=keras.DTypePolicy(precision), **options))
        layers[-1].build(maps.shape)
    layers[1].set_weights(layers[0].get_weights())
    maps = tf.cast(maps, layers[0].compute_dtype)
    for theirs, ours in zip(*(passed(layer, maps) for layer in layers), strict=True):
        assert theirs.shape == ours.shape and theirs.dtype == ours.dtype
        theirs, ours = (np.float64(tf.cast(part, "float32")) for part in (theirs, ours))
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(
            ours / scale, theirs / scale, atol=2e-2 if "b" in precision else 1e-6
        )


@pytest.mark.parametrize("kind", [keras.layers.Conv2D, SmallMapConv2D])
def test_it_counts_as_many_multiply_adds(kind):
    images = keras.Input((4, 4, 3))
    network = keras.Model(images, kind(5, 3, strides=2, padding="same")(images))
    assert multiply_adds(network) == 4 * 27 * 5


def test_free_sizes_are_left_to_keras():
    layer = SmallMapConv2D(2, 3, padding="same")
    images = keras.Input((None, None, 3))
    network = keras.Model(images, layer(images))
    assert network(np.ones((1, 2, 2, 3))).shape == (1, 2, 2, 2)
