"""Everything needed to go on after an interruption."""

import json
import logging
from pathlib import Path

import keras
import tensorflow as tf

from dreal_tf.errors import RunError

KEPT = 2  # Checkpoints: the last, and one to fall back on.

log = logging.getLogger("dreal_tf")


class Checkpoint(keras.callbacks.Callback):
    """Stores the network and critic with both optimizers after each epoch; restores them at the start.

    What is stored becomes visible in one step, so an interruption at any moment leaves either the
    epoch before or the epoch after. A damaged checkpoint is passed over for the one before. Put it
    last in the list.

    Args:
        folder: where to write.
        best: `BestNetwork` whose state is stored too.
    Raises:
        RunError: if there are checkpoints and none can be read.
    Example:
        >>> Checkpoint("checkpoints", BestNetwork("checkpoints")).epochs_done
        0
    """

    def __init__(self, folder, best):
        super().__init__()
        self.folder = Path(folder)
        self.best = best
        self.epochs_done = 0

    def on_train_begin(self, logs=None):
        self._extra = tf.Variable("{}", trainable=False, dtype=tf.string)
        self._stored = tf.train.Checkpoint(state=self._state(), extra=self._extra)
        found = self._found()
        for path in found:
            try:
                self._stored.read(str(path)).assert_existing_objects_matched()
            except Exception as error:  # Damage shows in errors of many kinds.
                reason = str(error).splitlines()[0]
                log.warning("The checkpoint %s is damaged (%s); trying the one before.", path, reason)
                continue
            extra = json.loads(self._extra.numpy().decode())
            self.epochs_done = extra["epochs_done"]
            self.best.state = extra["best"]
            self.model._initial_epoch = self.epochs_done  # As Keras's BackupAndRestore does.
            return
        if found:
            raise RunError(
                f"Expected a checkpoint that can be read. Received: {len(found)} damaged ones in "
                f"{self.folder}. Begin anew with --fresh."
            )

    def _state(self):
        """All variables, by owner. A model as a whole would leave out the states of its seeds."""
        owners = [self.model.network, self.model.optimizer]
        if self.model.critic is not None:
            owners += [self.model.critic, self.model.critic_optimizer]
        return [[variable.value for variable in owner.variables] for owner in owners]

    def _found(self):
        """Paths of the checkpoints, the last one first. The index of each is written last."""
        paths = [index.with_suffix("") for index in self.folder.glob("epoch-*.index")]
        return sorted(paths, key=lambda path: int(path.name.split("-")[1]), reverse=True)

    def on_train_end(self, logs=None):
        self.model._initial_epoch = None  # Or a second `fit` would start where this one did.

    def on_epoch_end(self, epoch, logs=None):
        self.epochs_done = epoch + 1
        extra = {"epochs_done": self.epochs_done, "best": self.best.state}
        self._extra.assign(json.dumps(extra))
        self._stored.write(str(self.folder / f"epoch-{self.epochs_done}"))
        for old in self._found()[KEPT:]:
            for file in self.folder.glob(f"{old.name}.*"):
                file.unlink()
        self.best.forget_but(KEPT)
