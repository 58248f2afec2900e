"""Everything needed to go on after an interruption."""

import json
import logging
from pathlib import Path

import keras
import tensorflow as tf

import dreal_tf
from dreal_tf.errors import InputError, RunError
from dreal_tf.keras_internals import start_from_epoch

KEPT = 2  # Checkpoints: the last, and one to fall back on.
SCHEMA = 2  # Of the variables that a checkpoint holds, and their order.

log = logging.getLogger(__name__)


class Checkpoint(keras.callbacks.Callback):
    """Stores network, critic, trust, centres and both optimizers after each epoch; restores them at
    the start.

    What is stored becomes visible in one step, so an interruption at any moment leaves either the
    epoch before or the epoch after. A damaged checkpoint is passed over for the one before. Several
    workers, which each store their own, go on from the last epoch that all of them have. Put it last
    in the list.

    Args:
        folder: where to write.
        best: `BestNetwork` whose state is stored too.
    Raises:
        RunError: if there are checkpoints and none can be read.
        InputError: if another version of the package wrote them in another schema.
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
        self._stored = tf.train.Checkpoint(state=_state(self.model), extra=self._extra)
        found = _found(self.folder)
        several = isinstance(self.model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)
        if several:
            found = self._shared(found)
        for path in found:
            try:
                extra = _extra(path)
                _check_schema(extra, path)
                self._stored.read(str(path)).assert_existing_objects_matched()
            except InputError:
                raise
            except Exception as error:  # Damage shows in errors of many kinds.
                reason = str(error).splitlines()[0]
                log.warning("The checkpoint %s is damaged (%s); trying the one before.", path, reason)
                continue
            self.epochs_done = extra["epochs_done"]
            self.best.state = extra["best"]
            start_from_epoch(self.model, self.epochs_done)
            return
        if found:
            raise RunError(
                f"Expected a checkpoint that can be read. Received: {len(found)} damaged ones in "
                f"{self.folder}. Begin anew with --fresh."
            )

    def _shared(self, found):
        """The checkpoint that all workers go on from, as a list; empty where one has none."""
        own = _epoch(found[0]) if found else 0
        strategy = self.model.distribute_strategy
        values = strategy.experimental_distribute_values_from_function(lambda _: tf.constant([own]))
        epoch = int(tf.reduce_min(strategy.gather(values, axis=0)))
        if epoch == 0:
            return []
        shared = [path for path in found if _epoch(path) == epoch]
        if not shared:
            raise RunError(
                f"Expected a checkpoint of epoch {epoch}, the last that all workers have. Received: "
                f"{', '.join(path.name for path in found)} in {self.folder}. Begin anew with --fresh "
                "on every worker."
            )
        return shared

    def on_train_end(self, logs=None):
        start_from_epoch(self.model, None)  # Or a second `fit` would start where this one did.

    def on_epoch_end(self, epoch, logs=None):
        self.epochs_done = epoch + 1
        extra = {"schema": SCHEMA, "dreal_tf": dreal_tf.__version__}
        extra |= {"epochs_done": self.epochs_done, "best": self.best.state}
        self._extra.assign(json.dumps(extra))
        self._stored.write(str(self.folder / f"epoch-{self.epochs_done}"))
        for old in _found(self.folder)[KEPT:]:
            for file in self.folder.glob(f"{old.name}.*"):
                file.unlink()
        self.best.forget_but(KEPT)


def restore_last(folder, model):
    """Gives a model what the last checkpoint holds: a network and the critic that goes with it.

    Args:
        folder: str or path, the `checkpoints` of a run.
        model: compiled `DREAL` of the run's recipe.
    Returns:
        int, the number of epochs that had been trained.
    Raises:
        InputError: if there is no checkpoint, or the last one cannot be read into the model or has
            another schema.
    """
    found = _found(Path(folder))
    if not found:
        raise InputError(
            f"Expected the checkpoints of a run. Received: {str(folder)!r}, which holds none. Train "
            "the recipe again with `dreal-tf train`, or bring them back."
        )
    try:
        _check_schema(_extra(found[0]), found[0])
        stored = tf.train.Checkpoint(state=_state(model)).read(str(found[0])).expect_partial()
        stored.assert_existing_objects_matched()
    except InputError:
        raise
    except Exception as error:  # Damage shows in errors of many kinds.
        raise InputError(
            f"Expected a checkpoint of the run's recipe. Received: {str(found[0])!r}, which is damaged "
            f"or holds other variables ({str(error).splitlines()[0]}). Train the recipe again with "
            "`dreal-tf train --fresh`."
        ) from error
    return _epoch(found[0])


def _state(model):
    """All variables, by owner. A model as a whole would leave out the states of its seeds."""
    owners = [model.network, model.optimizer]
    owners += [model.embedding_losses] if model.embedding_losses is not None else []
    if model.critic is not None:
        owners += [model.critic, model.critic_optimizer]
        owners += [model.trust] if model.trust is not None else []
    return [[variable.value for variable in owner.variables] for owner in owners]


def _extra(path):
    """What a checkpoint holds beside variables, a dict."""
    stored = tf.train.load_checkpoint(str(path)).get_tensor("extra/.ATTRIBUTES/VARIABLE_VALUE")
    return json.loads(stored.decode())


def _check_schema(extra, path):
    schema, version = extra.get("schema", 1), extra.get("dreal_tf", "0.1.0")
    if schema != SCHEMA:
        raise InputError(
            f"Expected a checkpoint of schema {SCHEMA}. Received: {str(path)!r} of schema {schema}, "
            f"written by dreal_tf {version}. Continue it with that version, or begin anew with --fresh."
        )


def _found(folder):
    """Paths of the checkpoints, the last one first. The index of each is written last."""
    paths = [index.with_suffix("") for index in folder.glob("epoch-*.index")]
    return sorted(paths, key=_epoch, reverse=True)


def _epoch(path):
    return int(path.name.split("-")[1])
