"""Counts by hand, of every operation that counts."""

import keras
import pytest
import tensorflow as tf
from keras import layers

from dreal_tf.errors import InputError
from dreal_tf.networks.flops import multiply_adds


def multiply_adds_of(outputs_of, shape=(7, 5, 4)):
    images = keras.Input(shape)
    return multiply_adds(keras.Model(images, outputs_of(images)))


def test_a_convolution_counts_each_product_at_each_place():
    assert multiply_adds_of(layers.Conv2D(6, 3, padding="same")) == 7 * 5 * 6 * 3 * 3 * 4
    assert multiply_adds_of(layers.Conv2D(6, 3, strides=2, padding="valid")) == 3 * 2 * 6 * 3 * 3 * 4
    assert multiply_adds_of(layers.Conv2D(6, 3, groups=2, padding="same")) == 7 * 5 * 6 * 3 * 3 * 2


def test_a_depthwise_convolution_counts_its_own_channel_alone():
    assert multiply_adds_of(layers.DepthwiseConv2D(3, padding="same")) == 7 * 5 * 4 * 3 * 3
    assert (
        multiply_adds_of(layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")) == 7 * 5 * 8 * 9
    )


def test_a_dense_layer_counts_its_kernel():
    assert multiply_adds_of(layers.Dense(3), (8,)) == 8 * 3
    assert multiply_adds_of(layers.Dense(3)) == 7 * 5 * 4 * 3


@pytest.mark.parametrize(
    ("equation", "count"),
    [("bhwc,bhwc->bhw", 7 * 5 * 4), ("bhwc,bhvc->bhwv", 7 * 5 * 5 * 4), ("...c,...c->...", 7 * 5 * 4)],
)
def test_an_einsum_counts_every_combination_of_its_indices(equation, count):
    assert multiply_adds_of(layers.Lambda(lambda x: tf.einsum(equation, x, x))) == count


def test_matrix_products_count_what_they_sum_over():
    product = layers.Lambda(lambda x: tf.matmul(x, x, transpose_b=True))
    assert multiply_adds_of(product) == 7 * 5 * 5 * 4
    assert multiply_adds_of(layers.Lambda(lambda x: tf.matmul(x, x, transpose_a=True))) == 7 * 4 * 4 * 5


def test_what_is_element_wise_does_not_count():
    assert multiply_adds_of(lambda x: layers.BatchNormalization()(layers.ReLU()(x * 2.0))) == 0


def test_a_network_of_no_fixed_size_needs_one():
    images = keras.Input((None, None, 2))
    network = keras.Model(images, layers.Conv2D(3, 1)(images))
    with pytest.raises(InputError, match=r"Expected the size of the images. Received: \(None"):
        multiply_adds(network)
    assert multiply_adds(network, (4, 6, 2)) == 4 * 6 * 2 * 3


def test_a_loop_is_refused():
    loop = layers.Lambda(lambda x: tf.map_fn(lambda row: row * 2, x))
    with pytest.raises(InputError, match="Expected a network without loops"):
        multiply_adds_of(loop)
