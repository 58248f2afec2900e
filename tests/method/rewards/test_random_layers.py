"""Layers that are random in training: the estimator finds them and keeps their noise out of rewards."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import SqueezeExcite, all_modules_of, small_data, targets_of

from dreal_tf.method.rewards import RewardEstimator
from dreal_tf.networks.backbones import Trajectory, Wiring


class StochasticDepth(keras.layers.Layer):
    """As users write it: it keeps no seed, and drops half of the images' maps in training."""

    def call(self, maps, training=None):
        if not training:
            return maps
        kept = tf.random.uniform([tf.shape(maps)[0], 1, 1, 1]) < 0.5
        return 2 * maps * tf.cast(kept, maps.dtype)


class Doubled(keras.layers.Layer):
    """Does the same in training and at inference."""

    def call(self, maps):
        return 2 * maps


class Block(keras.layers.Layer):
    """A layer that holds another."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, maps, training=None):
        return self.inner(maps, training=training)


def estimator_of(layer):
    """The estimator of a network with the layer between two attention modules."""
    images, wiring = keras.Input((6, 6, 2)), Wiring(SqueezeExcite(2))
    maps = wiring.attend(keras.layers.Conv2D(4, 3, padding="same")(images), "conv2_1")
    maps = wiring.attend(layer(keras.layers.ReLU()(maps)), "conv3_1")
    logits = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(maps))
    network = wiring.network(images, logits)
    return RewardEstimator(network, Trajectory(network))


@pytest.mark.parametrize(
    ("layer", "random"),
    [
        (StochasticDepth, True),
        (lambda: Block(StochasticDepth()), True),
        (lambda: keras.Sequential([StochasticDepth()]), True),
        (lambda: keras.layers.Dropout(0.5), True),
        (lambda: keras.layers.GaussianNoise(0.5), True),
        (keras.layers.BatchNormalization, False),
        (Doubled, False),
    ],
    ids=["own", "own inside a layer", "own inside a model", "Dropout", "noise", "BatchNorm", "Doubled"],
)
def test_the_meter_recognises_random_layers_of_keras_and_of_users(layer, random):
    estimator, (images, _) = estimator_of(layer()), small_data(4)
    assert estimator.stochastic == random
    assert ("cached_activations" in estimator.factual(images, training=True)) == (not random)


@pytest.mark.parametrize("layer", [StochasticDepth, lambda: Block(StochasticDepth())])
def test_rewards_do_not_contain_the_noise_of_a_users_own_layer(layer):
    """Both arms run at inference, whatever the factual pass drew."""
    estimator, (images, labels) = estimator_of(layer()), small_data(12)
    targets, plan = targets_of(labels), all_modules_of(12)
    training, inference = (estimator.factual(images, training=t) for t in (True, False))
    assert np.abs(training["logits"] - inference["logits"]).max() > 1e-3
    expected = estimator.estimate_all(images, targets, inference, plan)
    measured = estimator.estimate_all(images, targets, training, plan)
    np.testing.assert_allclose(measured.difference, expected.difference, atol=1e-5)
    assert np.ptp(expected.difference) > 1e-3
