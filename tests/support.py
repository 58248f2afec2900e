"""Shared pieces of the tests: small networks, and one actor of every form the contract allows."""

import contextlib

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from dreal_tf import DREAL
from dreal_tf.layers import AttentionActor, SqueezeExcite
from dreal_tf.method.formulas import Targets
from dreal_tf.method.rewards import RewardEstimator, SamplingPlan
from dreal_tf.networks.backbones import Trajectory, Wiring, actors_of


@keras.saving.register_keras_serializable("tests")
class SpatialGate(AttentionActor):
    """A spatial action: one gate per position."""

    attention, suffixes, kinds = "gate", ("gate",), ("spatial",)

    def build(self, state_shape):
        self.map = keras.layers.Conv2D(1, 1, activation="sigmoid", name="map")
        self.map.build(state_shape)

    def propose(self, state, index=0, training=None):
        return self.map(state)


@keras.saving.register_keras_serializable("tests")
class TwoModules(AttentionActor):
    """A channel action, then a spatial one with BatchNorm inside: a module with state of its own."""

    attention, suffixes, kinds = "two", ("two_channel", "two_spatial"), ("channel", "spatial")

    def build(self, state_shape):
        self.excite = keras.layers.Dense(state_shape[-1], activation="sigmoid", name="excite")
        self.excite.build((None, 1, 1, state_shape[-1]))
        self.map = keras.layers.Conv2D(1, 3, padding="same", name="map")
        self.map.build((*state_shape[:-1], 1))
        self.norm = keras.layers.BatchNormalization(name="norm")
        self.norm.build((*state_shape[:-1], 1))

    def propose(self, state, index=0, training=None):
        if index == 0:
            return self.excite(ops.mean(state, axis=(1, 2), keepdims=True))
        pooled = ops.mean(state, axis=3, keepdims=True)
        return ops.sigmoid(self.norm(self.map(pooled), training=training))


@keras.saving.register_keras_serializable("tests")
class Pairwise(AttentionActor):
    """A pairwise action (batch, positions, positions) whose rows sum to 1, beside a residual path."""

    attention, suffixes, kinds = "pair", ("pair",), ("pairwise",)
    axes, residual = (("places", "places"),), True

    def build(self, state_shape):
        self.query = keras.layers.Dense(4, name="query")
        self.key = keras.layers.Dense(4, name="key")
        self.query.build(state_shape)
        self.key.build(state_shape)

    def _rows(self, state):
        return ops.reshape(state, (ops.shape(state)[0], -1, state.shape[-1]))

    def propose(self, state, index=0, training=None):
        query, key = self._rows(self.query(state)), self._rows(self.key(state))
        return ops.softmax(ops.matmul(query, ops.transpose(key, (0, 2, 1))))

    def refine(self, state, action, index=0, training=None):
        mixed = ops.matmul(ops.cast(action, state.dtype), self._rows(state))
        return state + ops.reshape(mixed, ops.shape(state))


ACTORS = {
    "channel": SqueezeExcite(2),
    "spatial": SpatialGate(),
    "two steps": TwoModules(),
    "pairwise": Pairwise(),
}


def small_network(attention=None, image_shape=(6, 6, 2), classes=3, blocks=2, dropout=0.0, **options):
    """Blocks of convolution, BatchNorm, attention and a skip path; 4 channels, conv2_1, conv3_1, ...

    The blocks take the actors of a list in turns.
    """
    kinds = attention if isinstance(attention, list) else [attention or SqueezeExcite(2)]
    wiring = Wiring()
    images = keras.Input(image_shape)
    hidden = keras.layers.Conv2D(4, 3, padding="same", name="conv1")(images)
    for block in range(2, 2 + blocks):
        branch = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name=f"conv{block}_1")(
            hidden
        )
        branch = keras.layers.BatchNormalization(momentum=0.9, name=f"conv{block}_1_bn", **options)(
            branch
        )
        wiring.attention = kinds[block % len(kinds)]
        branch = wiring.attend(branch, f"conv{block}_1")
        hidden = keras.layers.ReLU()(keras.layers.Add()([hidden, branch]))
    hidden = keras.layers.GlobalAveragePooling2D()(hidden)
    if dropout:
        hidden = keras.layers.Dropout(dropout, seed=7)(hidden)
    network = wiring.network(images, keras.layers.Dense(classes, name="logits")(hidden))
    for actor in actors_of(network):
        if isinstance(actor, SqueezeExcite):  # So narrow, all its hidden units may be dead by chance.
            actor.squeeze.bias.assign(np.full(actor.squeeze.bias.shape, 4.0))
    return network


@contextlib.contextmanager
def precision(policy):
    """Layers made inside have this dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def with_float32_logits(network):
    """The same network, its logits in float32 as mixed precision needs them."""
    logits = keras.layers.Activation("linear", dtype="float32")(network.output["logits"])
    return keras.Model(network.input, network.output | {"logits": logits})


def small_data(count=16, image_shape=(6, 6, 2), classes=3, seed=0):
    """Images and labels that a small network can tell apart."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = random.normal(size=(count, *image_shape)) + labels[:, None, None, None]
    return images.astype("float32"), labels.astype("int32")


def logits_loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def compiled(
    network=None, rate=0.05, critic_rate=0.05, optimizer=None, loss=None, eager=False, **settings
):
    """A compiled `DREAL` on a small network; other critics and the instruments have their own tests.

    `eager` runs without a graph: tracing takes longer than one or two steps.
    """
    settings = dict(critic="paper", instrument_fraction=0.0) | settings
    model = DREAL(network or small_network(), **settings)
    model.compile(
        optimizer or keras.optimizers.SGD(rate, momentum=0.9),
        keras.optimizers.SGD(critic_rate),
        loss=loss or logits_loss(),
        metrics=["accuracy"],
        run_eagerly=eager,
    )
    return model


def with_estimator(attention=None, exploration=("reference",), noise=1.0, **options):
    """A small network, its trajectory and its reward estimator."""
    network = small_network(attention, **(dict(blocks=3) | options))
    trajectory = Trajectory(network)
    reward_estimator = RewardEstimator(network, trajectory, exploration=exploration, noise=noise)
    return network, trajectory, reward_estimator


def all_modules_of(count):
    """A plan that measures every module of the first images."""
    return SamplingPlan(tf.range(count), None)


def targets_of(labels, weights=None):
    ones = tf.ones(len(labels))
    return Targets(tf.constant(labels), ones, ones if weights is None else tf.constant(weights))


def log_softmax(logits):
    """In float64, by NumPy."""
    logits = np.float64(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def randomized(layer, seed=0, scale=0.5):
    """The same layer with normal weights, also where they start at zero."""
    random = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign(scale * random.normal(size=variable.shape))
    return layer


def values(variables):
    return [variable.numpy() for variable in variables]


def moved(before, variables):
    """Names of the variables that are no longer what they were."""
    return {v.path for old, v in zip(before, variables, strict=True) if not np.array_equal(old, v)}
