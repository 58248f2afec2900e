"""Everything needed to go on after an interruption."""

import json
import logging
from pathlib import Path

import keras
import tensorflow as tf

from dreal_tf.errors import RunError

log = logging.getLogger("dreal_tf")


class Checkpoint(keras.callbacks.Callback):
    """Stores the model with both optimizers after each epoch, and restores it when training begins.

    What is stored becomes visible in one step, so an interruption at any moment leaves either the
    epoch before or the epoch after. Put it last in the list.

    Args:
        folder: where to write.
        best: `BestNetwork` whose state is stored too.
    Example:
        >>> Checkpoint("checkpoints", BestNetwork("best.weights.h5")).epochs_done
        0
    """

    def __init__(self, folder, best):
        super().__init__()
        self.folder = Path(folder)
        self.best = best
        self.epochs_done = 0

    def on_train_begin(self, logs=None):
        self._extra = tf.Variable("{}", trainable=False, dtype=tf.string)
        stored = tf.train.Checkpoint(state=self._state(), extra=self._extra)
        self._manager = tf.train.CheckpointManager(stored, str(self.folder), max_to_keep=2)
        for path in reversed(self._manager.checkpoints):
            try:
                stored.restore(path).assert_existing_objects_matched()
            except (tf.errors.OpError, ValueError) as error:
                log.warning("The checkpoint %s is damaged (%s); trying the one before.", path, error)
                continue
            extra = json.loads(self._extra.numpy().decode())
            self.epochs_done = extra["epochs_done"]
            self.best.state = extra["best"]
            self.model._initial_epoch = self.epochs_done  # As Keras's BackupAndRestore does.
            return
        if self._manager.checkpoints:
            raise RunError(
                f"Expected a checkpoint that can be read. Received: {len(self._manager.checkpoints)} "
                f"damaged ones in {self.folder}. Begin anew with --fresh."
            )

    def _state(self):
        """All variables, by owner. A model as a whole would leave out the states of its seeds."""
        owners = [self.model.network, self.model.optimizer]
        if self.model.critic is not None:
            owners += [self.model.critic, self.model.critic_optimizer]
        return [[variable.value for variable in owner.variables] for owner in owners]

    def on_train_end(self, logs=None):
        self.model._initial_epoch = None  # Or a second `fit` would start where this one did.

    def on_epoch_end(self, epoch, logs=None):
        self.epochs_done = epoch + 1
        extra = {"epochs_done": self.epochs_done, "best": self.best.state}
        self._extra.assign(json.dumps(extra))
        self._manager.save(checkpoint_number=self.epochs_done)
