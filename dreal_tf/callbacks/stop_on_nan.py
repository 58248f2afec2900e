"""Training that has gone astray is stopped."""

import keras
import numpy as np

from dreal_tf.errors import DivergedError

EVERY = 20  # Batches between two looks; each look waits for the device.


class StopOnNaN(keras.callbacks.Callback):
    """Stops when the loss is no longer a number, on any replica.

    The loss that Keras logs is a mean over replicas and batches, which one NaN anywhere makes NaN.

    Raises:
        DivergedError: saying what to try. What earlier epochs stored is kept.
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if batch % EVERY == 0:
            self._look(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._look(logs)

    def _look(self, logs):
        loss = float((logs or {}).get("loss", 0.0))
        if not np.isfinite(loss):
            raise DivergedError(
                f"Expected a finite loss. Received: {loss} in epoch {self._epoch}. Lower optim.rate "
                "or dreal.actor_weight, add schedule.warmup_epochs, set optim.clip_norm=1, or use "
                "run.precision=mixed_bfloat16 in place of mixed_float16. Begin anew with --fresh."
            )
