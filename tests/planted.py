"""A network whose modules help or harm by construction, as their names say; the same in NumPy.

An image is a map of 2×2 positions. Two channels hold a signal of the label's sign and a distractor
three times as strong, in either order; two more hold another such pair; the last two hold chance.
`helps` opens the signal's channel of the first pair, `harms` the distractor's of the second, `noise`
opens both by chance, of which the network takes one's side, and `nothing` does the same always.
"""

import keras
import numpy as np
from keras import ops

from dreal_tf.data.arrays import from_arrays
from dreal_tf.layers import AttentionActor

OPEN, SHUT = 0.9, 0.1
PUSH = 0.45  # The noise adds this to the logit or subtracts it.


class Selecting(AttentionActor):
    """Opens the fainter channel of two (the signal), or the stronger."""

    fainter = True

    def propose(self, state, index=0, training=None):
        strength = ops.mean(ops.abs(state), axis=(1, 2), keepdims=True)
        chosen = (strength < 2.0) if self.fainter else (strength > 2.0)
        return ops.where(chosen, OPEN, SHUT)


@keras.saving.register_keras_serializable("tests")
class Helping(Selecting):
    attention, suffixes, kinds = "helps", ("helps",), ("channel",)


@keras.saving.register_keras_serializable("tests")
class Harming(Selecting):
    attention, suffixes, kinds, fainter = "harms", ("harms",), ("channel",), False


@keras.saving.register_keras_serializable("tests")
class Chance(AttentionActor):
    """Opens each channel as far as chance has it, which lies in the image; one opening pushes."""

    attention, suffixes, kinds = "noise", ("noise",), ("channel",)

    def propose(self, state, index=0, training=None):
        return ops.mean(state, axis=(1, 2), keepdims=True) / 10.0

    def refine(self, state, action, index=0, training=None):
        return PUSH * ops.sign(action[..., :1] - 0.5)


@keras.saving.register_keras_serializable("tests")
class Idle(AttentionActor):
    attention, suffixes, kinds = "nothing", ("nothing",), ("channel",)

    def propose(self, state, index=0, training=None):
        return 0.0 * state[:, :1, :1] + 0.7


def planted_network(softmax=False):
    """From images (2, 2, 6) to two logits that are each other's negative, or to probabilities."""
    images = keras.Input((2, 2, 6), name="images")
    plain = Idle(name="conv2_1_nothing")(images)
    harms = Harming(name="conv3_1_harms")(plain[..., 2:4])
    helps = Helping(name="conv3_2_helps")(plain[..., 0:2])
    noise = Chance(name="conv4_1_noise")(images[..., 4:6])
    sums = [ops.sum(ops.mean(part, axis=(1, 2)), axis=-1, keepdims=True) for part in (harms, helps)]
    logit = ops.mean(noise, axis=(1, 2)) + (sums[1] + 0.45 * sums[0])
    rows = ops.concatenate([-logit / 2, logit / 2], axis=-1)
    return keras.Model(images, keras.layers.Softmax()(rows) if softmax else rows, name="planted")


def planted_images(count, seed=0):
    """Images and labels 0 and 1."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % 2)
    images = np.empty((count, 2, 2, 6), "float32")
    for first in (0, 2):
        pair = [2.0 * labels - 1.0, random.choice([-3.0, 3.0], count)]
        swapped = random.random(count) < 0.5
        images[..., first] = np.where(swapped, *pair[::-1])[:, None, None]
        images[..., first + 1] = np.where(swapped, *pair)[:, None, None]
    images[..., 4:] = 10.0 * random.random((count, 1, 1, 2))
    return images, labels.astype("int32")


def planted_data(train=512, test=600, seed=0):
    """`Splits` that leave the images as they are: those for testing follow from `seed`."""
    return from_arrays(
        planted_images(train, seed=1000), planted_images(test, seed), ["down", "up"], batch_size=64
    )


def actions_of(images):
    """The action (n, 2 or 6) of every module, by NumPy."""
    pairs = images[:, 0, 0, 0:2] * np.float32(0.7), images[:, 0, 0, 2:4] * np.float32(0.7)
    return {
        "conv2_1/nothing": np.full((len(images), 6), np.float32(0.7)),
        "conv3_1/harms": np.where(np.abs(pairs[1]) > 2, OPEN, SHUT),
        "conv3_2/helps": np.where(np.abs(pairs[0]) < 2, OPEN, SHUT),
        "conv4_1/noise": np.float64(images[:, 0, 0, 4:]) / 10,
    }


def log_p_of(images, labels, actions):
    """Log p of the label and whether the prediction is correct, given all actions, by NumPy in float64."""
    plain = np.float64(images[:, 0, 0]) * actions["conv2_1/nothing"]
    logit = (plain[:, 0:2] * actions["conv3_2/helps"]).sum(axis=1)
    logit += 0.45 * (plain[:, 2:4] * actions["conv3_1/harms"]).sum(axis=1)
    logit += PUSH * np.sign(actions["conv4_1/noise"][:, 0] - 0.5)
    signed = np.where(labels == 1, logit, -logit)
    return -np.log1p(np.exp(-signed)), signed > 0
