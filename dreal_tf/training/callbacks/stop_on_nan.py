"""Stops a training that has diverged."""

import keras
import numpy as np

from dreal_tf.errors import DivergedError
from dreal_tf.method.finite import nonfinite_weight

EVERY = 20  # Batches between two checks; each waits for the device.
LOSSES = ("loss", "critic_loss", "actor_loss")


class StopOnNaN(keras.callbacks.Callback):
    """Stops when a loss or a weight is not finite, on any replica, and names the first such batch.

    It watches `fit`, its validation, and `evaluate`. Keras logs means over replicas and batches, so one
    NaN anywhere makes them NaN from that batch on.

    Raises:
        DivergedError: saying what to try. What earlier epochs stored is kept.
    """

    def __init__(self):
        super().__init__()
        self._epoch = None  # None in `evaluate`.
        self._unread = []  # (batch, losses): reading them waits for the device.

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._unread = epoch, []

    def on_train_batch_end(self, batch, logs=None):
        self._watch(batch, logs, "training")

    def on_test_begin(self, logs=None):
        self._read("training")

    def on_test_batch_end(self, batch, logs=None):
        self._watch(batch, logs, self._testing())

    def on_test_end(self, logs=None):
        self._read(self._testing())

    def on_epoch_end(self, epoch, logs=None):
        self._read("training")
        weight = nonfinite_weight(self.model)
        if weight is not None:
            self._stop(f"{weight} after epoch {epoch}", "finite weights")

    def on_train_end(self, logs=None):
        self._epoch = None

    def _testing(self):
        return "evaluation" if self._epoch is None else "validation"

    def _watch(self, batch, logs, phase):
        losses = {name: value for name, value in (logs or {}).items() if name in LOSSES}
        self._unread.append((batch, losses))
        if batch % EVERY == 0:
            self._read(phase)

    def _read(self, phase):
        """Reads what was logged since the last check; the latest batch first, which is one wait."""
        unread, self._unread = self._unread, []
        if not unread or not _nonfinite(unread[-1][1]):
            return
        batch, (name, value) = next((b, bad[0]) for b, logs in unread if (bad := _nonfinite(logs)))
        epoch = "" if self._epoch is None else f" of epoch {self._epoch}"
        self._stop(f"{value} as {name} in {phase} batch {batch}{epoch}", "a finite loss")

    def _stop(self, received, expected):
        if self._epoch is None:
            cure = "Check the images of that batch."
        else:
            cure = (
                "Check the images. Lower optim.learning_rate or dreal.actor_weight, add "
                "schedule.warmup_epochs, set optim.clip_norm=1, or use run.precision=mixed_bfloat16 "
                "instead of mixed_float16. Begin anew with --fresh."
            )
        raise DivergedError(f"Expected {expected}. Received: {received}. {cure}")


def _nonfinite(losses):
    """The (name, value) pairs of losses that are not finite."""
    values = [(name, float(value)) for name, value in losses.items()]
    return [(name, value) for name, value in values if not np.isfinite(value)]
