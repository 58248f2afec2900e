"""Stops a training that has diverged."""

import keras
import numpy as np

from dreal_tf.errors import DivergedError

EVERY = 20  # Batches between two checks; each waits for the device.
LOSSES = ("loss", "critic_loss", "actor_loss")


class StopOnNaN(keras.callbacks.Callback):
    """Stops when a loss is not finite, on any replica.

    Keras logs means over replicas and batches, so one NaN anywhere makes them NaN.

    Raises:
        DivergedError: saying what to try. What earlier epochs stored is kept.
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if batch % EVERY == 0:
            self._check(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._check(logs)

    def _check(self, logs):
        for name in LOSSES:
            loss = float((logs or {}).get(name, 0.0))
            if not np.isfinite(loss):
                raise DivergedError(
                    f"Expected a finite loss. Received: {loss} as {name} in epoch {self._epoch}. Lower "
                    "optim.learning_rate or dreal.actor_weight, add schedule.warmup_epochs, set "
                    "optim.clip_norm=1, or use run.precision=mixed_bfloat16 instead of mixed_float16. "
                    "Begin anew with --fresh."
                )
