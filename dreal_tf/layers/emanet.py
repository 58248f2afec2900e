"""Expectation-maximization attention."""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.layers.attention_actor import (
    AttentionActor,
    Placement,
    Regularizer,
    attends,
    maps_of,
    row_stochastic,
    rows_of,
)

# Added to divisors (sums and norms), as in the authors' code.
EPSILON = 1e-6


def unit_length(bases):
    """Bases divided by their length across channels plus `EPSILON`, as in the authors' code.

    Args:
        bases: float tensor (..., channels, bases).
    Returns:
        Tensor shaped like `bases`.
    Example:
        >>> unit_length(np.float32([[0.0, 5.0], [2.0, 0.0]])).numpy().round(4).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    length = ops.sqrt(ops.sum(ops.square(bases), axis=-2, keepdims=True))
    return bases / (EPSILON + length)


def maximization(rows, responsibilities):
    """The M-step: each base becomes the direction of the weighted mean of the positions.

    Args:
        rows: float tensor (batch, positions, channels).
        responsibilities: float tensor (batch, positions, bases), the weights.
    Returns:
        Float tensor (batch, channels, bases).
    """
    total = ops.sum(responsibilities, axis=1, keepdims=True)
    weights = responsibilities / (EPSILON + total)
    return unit_length(ops.matmul(ops.transpose(rows, (0, 2, 1)), weights))


@keras.saving.register_keras_serializable("dreal_tf")
class ExpectationMaximization(AttentionActor):
    """Reconstructs each position from a few bases fitted to its image: y = F + BN(W relu(Z μᵀ)).

    X = w(F) + b has one row per position. EM starts from bases that all images share, and alternates
    between the E-step and the M-step. The E-step computes the responsibilities Z = softmax over bases
    of X μ. The M-step computes μ, the mean of X weighted by Z, normalized to length 1 over the
    channels. The action is the Z of the last E-step. The layer reconstructs the map from this action
    and the μ of the last M-step. A given action replaces Z in the reconstruction only; μ stays the
    layer's own.

    EM runs in float32 and without gradient, except for the last E-step: through it the gradient of
    the action reaches w and b. μ is a constant there and in the reconstruction.

    In training, if the layer is trainable, it then moves the shared bases to momentum · bases +
    (1 - momentum) · (mean of μ over the images of all replicas). As in the authors' code, it does not
    normalize them again.

    Args:
        bases: int >= 1, the number of bases. Paper: 64. Defaults to 64.
        iterations: int >= 1, pairs of an E-step and an M-step. Paper: 3. Defaults to 3.
        momentum: float from 0 to 1, the fraction of the shared bases that a training step keeps.
            Paper: 0.9. Defaults to 0.9.
        synchronized: bool. Whether BatchNorm computes its statistics over all replicas.
        kernel_regularizer: Keras regularizer of both kernels, or None.
    Call arguments:
        state: float tensor (batch, height, width, channels).
        action: float tensor (batch, positions, bases) to apply instead of the layer's own, or None.
            If the action of an image is all zeros, its state passes unchanged.
    Returns:
        Tensor shaped like `state`; with `return_action=True`, also the action, whose rows sum to 1.
    Raises:
        ValueError: if `bases` or `iterations` is below 1, or `momentum` is outside 0 to 1.
    Example:
        >>> layer = ExpectationMaximization(bases=6)
        >>> refined, action = layer(np.ones((2, 4, 5, 16)), return_action=True)
        >>> tuple(refined.shape), tuple(action.shape)
        ((2, 4, 5, 16), (2, 20, 6))
    Source: Li, Zhong, Wu, Yang, Lin, Liu, "Expectation-Maximization Attention Networks for Semantic
    Segmentation", ICCV 2019, arXiv 1907.13426, the EMA unit, and the authors' code
    (XiaLiPKU/EMANet). Differences from the authors' code: (1) the last E-step has a gradient; without
    it w and b never learn. (2) There is no relu after the sum, so that a state with values below 0 can
    pass unchanged. (3) BatchNorm keeps 0.9 of its averages (authors: 0.9997). (4) The layer reads all
    channels of the stage; the authors first reduce them to 512.
    """

    attention = "emanet"
    suffixes = ("emanet",)
    kinds = ("pairwise",)
    axes = (("places", "members"),)
    residual = True
    placement = Placement("stage", slice(-1, None), "last")

    def __init__(
        self,
        bases: int = 64,
        iterations: int = 3,
        momentum: float = 0.9,
        synchronized: bool = False,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least_one(bases=bases, iterations=iterations)
        if not 0 <= momentum <= 1:
            raise InputError(
                "`momentum` must be from 0 to 1, the fraction of the bases that a training step keeps. "
                f"Received: momentum={momentum}. Give the paper's 0.9 if in doubt."
            )
        self.bases = bases
        self.iterations = iterations
        self.momentum = momentum
        self.synchronized = synchronized
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, state_shape):
        channels = state_shape[-1]
        convolution = dict(
            filters=channels,
            kernel_size=1,
            data_format="channels_last",
            kernel_initializer="he_normal",
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
        )
        self.project = keras.layers.Conv2D(name="project", **convolution)
        self.restore = keras.layers.Conv2D(use_bias=False, name="restore", **convolution)
        self.norm = keras.layers.BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            synchronized=self.synchronized,
            dtype=self.dtype_policy,
            name="norm",
        )
        for layer in (self.project, self.restore, self.norm):
            layer.build(state_shape)

        normal = keras.initializers.RandomNormal(stddev=math.sqrt(2.0 / self.bases))
        self.shared_bases = self.add_weight(
            shape=(channels, self.bases),
            initializer=lambda shape, dtype=None: unit_length(normal(shape, dtype)),
            trainable=False,
            autocast=False,  # EM runs in float32 under mixed precision too.
            name="shared_bases",
        )

    def propose(self, state, index=0, training=None):
        return self._fitted(state)[0]

    def walk(self, state, decide, training=None):
        proposed, bases = self._fitted(state)
        action = decide(0, state, proposed=proposed)
        mixed = ops.matmul(action, ops.transpose(ops.cast(bases, action.dtype), (0, 2, 1)))
        branch = self.restore(ops.relu(maps_of(mixed, like=state)))
        branch = self.norm(branch, training=training)
        if training and self.trainable:
            self._move(bases)
        return state + branch * attends(action)

    def _fitted(self, state):
        """The action, with a gradient to the first convolution, and the bases of each image."""
        rows = ops.cast(rows_of(self.project(state)), "float32")
        constant = ops.stop_gradient(rows)
        bases = ops.stop_gradient(ops.cast(self.shared_bases, "float32"))
        for _ in range(self.iterations - 1):
            bases = maximization(constant, row_stochastic(ops.matmul(constant, bases), "float32"))
        action = row_stochastic(ops.matmul(rows, bases), "float32")
        bases = maximization(constant, ops.stop_gradient(action))
        return ops.cast(action, self.compute_dtype), bases

    def _move(self, bases):
        total, images = ops.sum(bases, axis=0), ops.cast(ops.shape(bases)[0], "float32")
        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            # Not a mean of means, since replicas may hold different numbers of images.
            total, images = replica.all_reduce(tf.distribute.ReduceOp.SUM, [total, images])
        kept = self.momentum * ops.cast(self.shared_bases, "float32")
        self.shared_bases.assign(kept + (1.0 - self.momentum) * (total / images))

    def get_config(self):
        return super().get_config() | {
            "bases": self.bases,
            "iterations": self.iterations,
            "momentum": self.momentum,
            "synchronized": self.synchronized,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
