"""Callbacks of a run: epochs, history, best weights, checkpoints, and a stop at the first NaN."""

import csv
import io
import json
import logging
import re
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import dreal_tf
from dreal_tf.errors import DivergedError, InputError, RunError
from dreal_tf.keras_internals import start_from_epoch
from dreal_tf.method.finite import nonfinite_weight
from dreal_tf.retrieval.embedding import Embedder, scores_of
from dreal_tf.storage import append, checked_zip, reading, write_whole
from dreal_tf.training.run_directory import read_history

RETRIEVAL_SCORES = ("rank_1", "rank_5", "rank_10", "mAP", "mINP")  # Those logged after each epoch.
LOSSES = ("loss", "critic_loss", "actor_loss")
CHECK_INTERVAL = 20  # Batches between two checks for NaN; each check waits for the device.
KEPT_CHECKPOINTS = 2  # The last one, and the one before in case the last is damaged.
SCHEMA = 2  # Version of the variables in a checkpoint and their order.

ANEW = "Restore the file from a copy, or begin anew with --fresh."

log = logging.getLogger(__name__)


class SetEpoch(keras.callbacks.Callback):
    """Moves the clock of the training data, on which order and augmentation depend.

    Args:
        clock: `dreal_tf.data.splits.EpochClock`.
    Example:
        >>> clock = EpochClock()
        >>> SetEpoch(clock).on_epoch_begin(4)
        >>> clock.epoch
        4
    """

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def on_epoch_begin(self, epoch, logs=None):
        self.clock.epoch = epoch


class DelayedStart(keras.callbacks.Callback):
    """Trains a `DREAL` model as plain Keras does before an epoch, and by the method from there.

    Before it, training measures no reward and the critic does not learn.

    Args:
        epoch: int >= 1. The first epoch of the method.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> model = DREAL(network, critic="paper")
        >>> model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(np.ones((8, 8, 8, 1)), np.arange(8), epochs=2, verbose=0,
        ...                     callbacks=[DelayedStart(2)]).history
        >>> history["reward_measured"]
        [0.0, 2.0]
    """

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        enabled = epoch + 1 >= self.epoch
        if enabled != self.model.method_enabled:
            self.model.method_enabled = enabled
            self.model.make_train_function(force=True)  # The traced step has the other branch.


class HistoryFile(keras.callbacks.Callback):
    """Writes one row of `history.csv` per epoch: `epoch`, from 1, `seconds`, then the logs.

    Put it before `Checkpoint` in the list: a resumed run rewrites rows of epochs without a checkpoint.
    Keras's `CSVLogger` fixes its columns in the first epoch and keeps such rows.

    Args:
        path: where to write.
    Example:
        >>> callback = HistoryFile("history.csv")
        >>> callback.path.name
        'history.csv'
    """

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)
        self.rows = []
        self._columns = ()  # Those of the file, once this callback has written it.

    def on_epoch_begin(self, epoch, logs=None):
        if not self.rows and epoch:
            self.rows = read_history(self.path, epoch)[:epoch]
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = round(time.perf_counter() - self._started, 3)
        row = {"epoch": epoch + 1, "seconds": seconds, **(logs or {})}
        self.rows.append(row)
        if row.keys() <= set(self._columns):
            append(self.path, _csv_lines(self._columns, [row]))
            return
        self._columns = tuple(dict.fromkeys(name for row in self.rows for name in row))
        header = dict(zip(self._columns, self._columns, strict=True))
        write_whole(self.path, _csv_lines(self._columns, [header, *self.rows]))


def _csv_lines(columns, rows):
    text = io.StringIO()
    csv.DictWriter(text, columns).writerows(rows)
    return text.getvalue()


class RetrievalScores(keras.callbacks.Callback):
    """Adds `val_mAP`, `val_rank_1` and the others to the logs of each epoch.

    It computes them when validation ends, with the weights that validation used. Put it before
    callbacks that read the logs, and before `SwapEMAWeights`.

    Args:
        retrieval_set: `dreal_tf.data.identities.RetrievalSet`.
    Attributes:
        scores: dict of the last scores.
    """

    def __init__(self, retrieval_set):
        super().__init__()
        self.retrieval_set = retrieval_set
        self.scores = {}

    def set_model(self, model):
        super().set_model(model)
        self._embedder = Embedder(model.network)

    def on_test_end(self, logs=None):
        scores = scores_of(self._embedder, self.retrieval_set)
        self.scores = {f"val_{name}": scores[name] for name in RETRIEVAL_SCORES}

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs |= self.scores


class BestNetwork(keras.callbacks.Callback):
    """Keeps the weights of the plain network of the epoch with the highest validation accuracy.

    Each such epoch has a file of its own, named by the epoch, so that the weights match `state`
    after any interruption. Put it before `Checkpoint` in the list, which stores `state`.

    Args:
        folder: where to write the weights.
        monitor: str, the logged quantity; more is better. The first of equals is kept.
        swap: `keras.callbacks.SwapEMAWeights` to keep averaged weights, or None.
    Attributes:
        state: dict of the best `epoch` and `value` so far.
    Example:
        >>> BestNetwork("checkpoints").state["epoch"]
        -1
    """

    def __init__(self, folder, monitor="val_accuracy", swap=None):
        super().__init__()
        self.folder = Path(folder)
        self.monitor = monitor
        self.swap = swap
        self.state = {"epoch": -1, "value": float("-inf")}

    def on_epoch_end(self, epoch, logs=None):
        value = float(logs[self.monitor])
        if value > self.state["value"]:
            self.state = {"epoch": epoch, "value": value}
            if self.swap:
                self.swap.on_test_begin()  # The weights that validation used.
            # In memory first: the HDF5 library, with which Keras writes weights, dies on a full disk.
            archive = io.BytesIO()
            np.savez(archive, *self.model.network.get_weights())
            write_whole(self._path(epoch), archive.getvalue())
            if self.swap:
                self.swap.on_test_end()

    def _path(self, epoch):
        return self.folder / f"best-{epoch}.npz"

    def restore(self, network):
        """Gives a network the best weights so far.

        Args:
            network: `keras.Model` of the same architecture.
        """
        network.set_weights(self.read(network))

    def read(self, network):
        """The best weights so far, as `network.get_weights` gives them.

        Args:
            network: `keras.Model` of the same architecture.
        Returns:
            List of arrays.
        Raises:
            InputError: if they cannot be read, or are another network's.
        """
        path = self._path(self.state["epoch"])
        with reading(path, "the best weights of a run", ANEW):
            with checked_zip(path), np.load(path) as archive:
                weights = [archive[name] for name in archive.files]
            if [array.shape for array in weights] != [array.shape for array in network.get_weights()]:
                raise ValueError("it is of another network")
        return weights

    def keep_last(self, count):
        """Removes all weights but those of the last `count` best epochs.

        Args:
            count: int >= 1.
        """
        names = (path.stem for path in self.folder.glob("best-*.npz"))
        epochs = sorted(int(name[5:]) for name in names if re.fullmatch(r"best-\d+", name))
        for epoch in epochs[:-count]:
            self._path(epoch).unlink()


class Checkpoint(keras.callbacks.Callback):
    """Stores a model after each epoch and restores it at the start of training.

    It holds network, critic, trust, centres and both optimizers. A checkpoint becomes visible in one
    step, so an interruption leaves either the epoch before or the epoch after. If the last checkpoint
    is damaged, training continues from the one before. Several workers, each with checkpoints of its
    own, continue from the last epoch that all of them have. Put it last in the list.

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
        self._notes = tf.Variable("{}", trainable=False, dtype=tf.string)
        self._stored = tf.train.Checkpoint(state=_variables(self.model), extra=self._notes)
        paths = _checkpoints(self.folder)
        if isinstance(self.model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            paths = self._common(paths)
        for path in paths:
            try:
                notes = _read(self._stored, path)
            except InputError:
                raise
            except Exception as error:  # Damage raises errors of many kinds.
                reason = str(error).splitlines()[0]
                log.warning("The checkpoint %s is damaged (%s); trying the one before.", path, reason)
                continue
            self.epochs_done = notes["epochs_done"]
            self.best.state = notes["best"]
            if self.best.state["epoch"] >= 0:
                self.best.read(self.model.network)  # Damage must not show at the end alone.
            start_from_epoch(self.model, self.epochs_done)
            return
        if paths:
            raise RunError(
                f"Expected a checkpoint that can be read. Received: {len(paths)} damaged ones in "
                f"{self.folder}. Begin anew with --fresh."
            )

    def _common(self, paths):
        """The last checkpoint that all workers have, as a list; empty if a worker has none."""
        last = _epoch(paths[0]) if paths else 0
        strategy = self.model.distribute_strategy
        values = strategy.experimental_distribute_values_from_function(lambda _: tf.constant([last]))
        epoch = int(tf.reduce_min(strategy.gather(values, axis=0)))
        if epoch == 0:
            return []
        common = [path for path in paths if _epoch(path) == epoch]
        if not common:
            raise RunError(
                f"Expected a checkpoint of epoch {epoch}, the last that all workers have. Received: "
                f"{', '.join(path.name for path in paths)} in {self.folder}. Begin anew with --fresh "
                "on every worker."
            )
        return common

    def on_train_end(self, logs=None):
        start_from_epoch(self.model, None)  # Or a second `fit` would start at the same epoch.

    def on_epoch_end(self, epoch, logs=None):
        self.epochs_done = epoch + 1
        notes = {"schema": SCHEMA, "dreal_tf": dreal_tf.__version__}
        notes |= {"epochs_done": self.epochs_done, "best": self.best.state}
        self._notes.assign(json.dumps(notes))
        self._stored.write(str(self.folder / f"epoch-{self.epochs_done}"))
        for old in _checkpoints(self.folder)[KEPT_CHECKPOINTS:]:
            for file in sorted(self.folder.glob(f"{old.name}.*")):
                file.unlink()  # The index last: it tells of the others.
        self.best.keep_last(KEPT_CHECKPOINTS)


def restore_last(folder, model):
    """Restores a model from the last checkpoint: the network and its critic.

    Args:
        folder: str or path, the `checkpoints` of a run.
        model: compiled `DREAL` of the run's recipe.
    Returns:
        int, the number of epochs that it was trained for.
    Raises:
        InputError: if there is no checkpoint, or the last one is damaged, holds other variables or has
            another schema.
    """
    paths = _checkpoints(Path(folder))
    if not paths:
        raise InputError(
            f"Expected the checkpoints of a run. Received: {str(folder)!r}, which holds none. Train "
            "the recipe again with `dreal-tf train`, or bring them back."
        )
    try:
        _read(tf.train.Checkpoint(state=_variables(model)), paths[0])
    except InputError:
        raise
    except Exception as error:  # Damage raises errors of many kinds.
        raise InputError(
            f"Expected a checkpoint of the run's recipe. Received: {str(paths[0])!r}, which is damaged "
            f"or holds other variables ({str(error).splitlines()[0]}). Train the recipe again with "
            "`dreal-tf train --fresh`."
        ) from error
    return _epoch(paths[0])


def _variables(model):
    """All variables, by owner. A model as a whole would not store the states of its seeds."""
    owners = [model.network, model.optimizer]
    owners += [model.embedding_losses] if model.embedding_losses is not None else []
    if model.critic is not None:
        owners += [model.critic, model.critic_optimizer]
        owners += [part for part in (model.trust, model.relative_weight) if part is not None]
    return [[variable.value for variable in owner.variables] for owner in owners]


def _read(stored, path):
    """Reads a checkpoint of this schema into a `tf.train.Checkpoint`; gives its notes, a dict."""
    notes = tf.train.load_checkpoint(str(path)).get_tensor("extra/.ATTRIBUTES/VARIABLE_VALUE")
    notes = json.loads(notes.decode())
    schema, version = notes.get("schema", 1), notes.get("dreal_tf", "0.1.0")
    if schema != SCHEMA:
        raise InputError(
            f"Expected a checkpoint of schema {SCHEMA}. Received: {str(path)!r} of schema {schema}, "
            f"written by dreal_tf {version}. Continue it with that version, or begin anew with --fresh."
        )
    stored.read(str(path)).expect_partial().assert_existing_objects_matched()
    return notes


def _checkpoints(folder):
    """Paths of the checkpoints, the last one first. The index of each is written last."""
    files = [
        path for path in folder.glob("epoch-*") if re.fullmatch(r"epoch-\d+\.(index|data.*)", path.name)
    ]
    for path in files:
        if not path.is_file():  # The next checkpoint of that name could not replace it.
            raise InputError(
                f"Expected a file of a checkpoint. Received: {str(path)!r}, which is not one. Move it away."
            )
    paths = [path.with_suffix("") for path in files if path.suffix == ".index"]
    return sorted(paths, key=_epoch, reverse=True)


def _epoch(path):
    return int(path.name.split("-")[1])


class StopOnNaN(keras.callbacks.Callback):
    """Stops when a loss or a weight is not finite, on any replica, and names the first such batch.

    It watches `fit`, its validation, and `evaluate`. Keras logs means over replicas and batches, so one
    NaN anywhere makes them NaN from that batch on. Keras's `TerminateOnNaN` watches `loss` alone, ends
    without an error and waits for the device at every batch.

    Raises:
        DivergedError: with what to try. The run keeps what earlier epochs stored.
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
        self._check("training")

    def on_test_batch_end(self, batch, logs=None):
        self._watch(batch, logs, self._testing())

    def on_test_end(self, logs=None):
        self._check(self._testing())

    def on_epoch_end(self, epoch, logs=None):
        self._check("training")
        weight = nonfinite_weight(self.model)
        if weight is not None:
            self._stop(f"{weight} after epoch {epoch}", "finite weights")

    def on_train_end(self, logs=None):
        self._epoch = None

    def _testing(self):
        return "evaluation" if self._epoch is None else "validation"

    def _watch(self, batch, logs, phase):
        # In the order of LOSSES: Keras sorts logs, and processors differ in which losses a NaN reaches.
        losses = {name: logs[name] for name in LOSSES if name in (logs or {})}
        self._unread.append((batch, losses))
        if batch % CHECK_INTERVAL == 0:
            self._check(phase)

    def _check(self, phase):
        """Checks the losses since the last check; the latest batch first, which waits only once."""
        unread, self._unread = self._unread, []
        if not unread or not _nonfinite(unread[-1][1]):
            return
        batch, (name, value) = next((b, bad[0]) for b, logs in unread if (bad := _nonfinite(logs)))
        epoch = "" if self._epoch is None else f" of epoch {self._epoch}"
        self._stop(f"{value} as {name} in {phase} batch {batch}{epoch}", "a finite loss")

    def _stop(self, received, expected):
        cure = "Check the images of that batch."
        if self._epoch is not None:
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
