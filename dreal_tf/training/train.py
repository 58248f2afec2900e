"""Carries out a recipe into a run directory, or goes on where an interruption left it."""

import json
import logging
import os
import warnings
from pathlib import Path

import keras
import tensorflow as tf

from dreal_tf.data.files import UNUSED, list_files, read_record
from dreal_tf.errors import InputError
from dreal_tf.training.builder import build
from dreal_tf.training.callbacks.best_network import BestNetwork
from dreal_tf.training.callbacks.checkpoint import Checkpoint
from dreal_tf.training.callbacks.history_file import HistoryFile, read_history
from dreal_tf.training.callbacks.stop_on_nan import StopOnNaN
from dreal_tf.training.callbacks.tensorboard import TensorBoardFigures, TensorBoardLog
from dreal_tf.training.cluster import cluster_of, lost_peers_said
from dreal_tf.training.evaluation import evaluate_splits
from dreal_tf.training.fine_tuning import found_line, settled
from dreal_tf.training.run_directory import RunDirectory, full_disk_said, write_whole
from dreal_tf.training.strategies import strategy_named
from dreal_tf.training.trained_run import trained_network

NO_ATTENTION = (
    "attention.kind='none': no attention module, hence no critic; the plain network is trained."
)
HISTOGRAM_IMAGES = 64  # Images whose actions TensorBoard shows.

log = logging.getLogger(__name__)


def train(recipe, out, strategy="auto", fresh=False, callbacks=(), conclude=True):
    """Trains a recipe; an interrupted run found in `out` goes on, a finished one is left alone.

    Of several workers the chief keeps the run; each other one keeps what it needs to go on in a
    folder of its own beside it, `<out>_worker<N>`.

    Args:
        recipe: `dreal_tf.Recipe`.
        out: str or path, the run directory.
        strategy: str, see `dreal_tf.training.strategies.strategy_named`.
        fresh: bool. Move a run found in `out` aside and begin anew.
        callbacks: sequence of further Keras callbacks.
        conclude: bool. False: leave the run where its last epoch left it, its network not saved and
            the test split not read; a later call with True does that.
    Returns:
        Dict: the final metrics, as in `metrics.json`; None where the run is not concluded, and in a
        worker that is not the chief.
    Raises:
        InputError: if the recipe cannot be built, or `out` holds something else.
        RunError: if another worker is lost.
    """
    run, cluster = RunDirectory(out), cluster_of(strategy)
    found = settled(recipe, run.read_recipe() if run.started and not fresh else None)
    if found is not recipe:
        log.info(found_line(recipe, found))
    recipe = found
    if not fresh:
        _check_images(run, recipe)
    if run.finished and not fresh:
        run.check(recipe)
        return run.read_metrics()
    run = run_of_worker(out, cluster)
    run.check(recipe, fresh)
    with lost_peers_said(cluster):
        recorded = None if fresh else run.recorded_splits
        with strategy_named(strategy).scope():
            model, data, needed = build(recipe, recorded=recorded)
        if recorded is not None:
            data.files.check_unchanged()
        for note in data.notes:
            log.info(note)
        if recipe.attention.kind == "none":
            log.info(NO_ATTENTION)
        run.begin(recipe, fresh)  # Not before all the input has been found good.
        with full_disk_said(run.path):
            if data.files is not None and recorded is None:
                write_whole(run.splits, data.files.to_csv())
            best = _fit(recipe, run, model, data, [*needed, *callbacks], cluster)
            if not conclude or (cluster is not None and not cluster.is_chief):
                return None
            return _conclude(recipe, run, model, data, best)


def _check_images(run, recipe):
    """Refuses to take the run of one folder's images for that of another's."""
    folder = recipe.data.folder
    if run.recorded_splits is None or recipe.data.name != "folder" or not Path(folder or "").is_dir():
        return
    recorded = {row.path for row in read_record(run.splits).rows if row.split != UNUSED}
    missing = recorded - set(list_files(folder).files)
    if missing:
        raise InputError(
            f"Expected the images of the run in {str(run.path)!r}. Received: {folder!r}, which lacks "
            f"{len(missing)} of them, such as {min(missing)!r}. Choose another --out, or begin anew "
            "with --fresh, which moves the old run aside."
        )


def run_of_worker(out, cluster):
    """Where this process keeps what it needs to go on.

    Args:
        out: str or path, the run directory.
        cluster: `dreal_tf.training.cluster.Cluster`, or None.
    Returns:
        `RunDirectory`: the run's own for the chief, one beside it for any other worker.
    Example:
        >>> from dreal_tf.training.cluster import Cluster
        >>> print(run_of_worker("runs/mine", Cluster(("one:2222", "two:2222"), 1)).path.as_posix())
        runs/mine_worker1
    """
    if cluster is None or cluster.is_chief:
        return RunDirectory(out)
    path = Path(out)
    return RunDirectory(path.with_name(f"{path.name}_worker{cluster.number}"))


def _fit(recipe, run, model, data, callbacks, cluster):
    """Trains, or goes on, and keeps what a run directory promises."""
    devices = [device.name for device in tf.config.list_logical_devices()]
    run.write_environment(recipe.run.seed, devices)
    swap = keras.callbacks.SwapEMAWeights() if recipe.optim.ema else None
    monitor = "val_mAP" if data.retrieval else "val_accuracy"
    best = BestNetwork(run.checkpoints, monitor, swap)
    history = HistoryFile(run.history)
    kept = [StopOnNaN(), *([swap] if swap else []), history]
    if cluster is None or cluster.is_chief:
        watched = next(iter(data.validation))
        kept.append(TensorBoardLog(run.tensorboard, recipe, watched[0][:HISTOGRAM_IMAGES]))
        if recipe.run.figures:
            settings = data.preprocessing, recipe.run.figures, history
            kept.append(TensorBoardFigures(run.tensorboard, *watched, *settings))
    kept += [best, Checkpoint(run.checkpoints, best)]  # Last: it makes an epoch count.
    with warnings.catch_warnings():
        if cluster is not None:  # An epoch's end is met there, not counted: nothing is missing.
            warnings.filterwarnings("ignore", message="Your input ran out of data")
        model.fit(
            data.train,
            validation_data=data.validation,
            epochs=recipe.schedule.epochs,
            callbacks=[*callbacks, *kept],
            shuffle=False,  # The data does, by its own clock.
            verbose=0,
        )
    return best


def _conclude(recipe, run, model, data, best):
    """Saves the best network and reads the test split, once."""
    best.restore(model.network)
    keep_network(run, model.network, data.preprocessing)
    metrics = _evaluated(recipe, model.trajectory_network, data)
    history = read_history(run.history)
    chosen = next(row for row in history if row["epoch"] == best.state["epoch"])
    if data.retrieval:
        metrics["validation_mAP"] = best.state["value"]
    metrics |= {
        "best_epoch": best.state["epoch"],
        "validation_accuracy": chosen["val_accuracy"],
        "training_seconds": round(sum(row["seconds"] for row in history), 1),
    }
    write_whole(run.metrics, json.dumps(metrics, indent=2) + "\n")
    return metrics


def keep_network(run, network, preprocessing):
    """Writes a run's network, and how images are prepared for it.

    Args:
        run: `RunDirectory`.
        network: `keras.Model`, plain.
        preprocessing: `dreal_tf.data.preprocessing.Preprocessing`.
    """
    write_whole(run.preprocessing, json.dumps(preprocessing._asdict()) + "\n")
    partial = run.path / "partial.keras"
    network.save(partial)
    os.replace(partial, run.network)


def evaluate(run_path, data_dir=None, ranking=None):
    """Metrics of a run's best weights on the test split.

    Args:
        run_path: str or path of a run directory that holds `model.keras`.
        data_dir: str, path or None. Where the data lies now; None for where the run found it.
        ranking: dict, see `dreal_tf.training.evaluation.evaluate_splits`.
    Returns:
        Dict of float, see there.
    Raises:
        InputError: if there is no run, it has no weights yet, or `ranking` is none of its data.
    """
    recipe, data, network = trained_network(run_path, data_dir)
    return _evaluated(recipe, network, data, ranking)


def _evaluated(recipe, network, data, ranking=None):
    return evaluate_splits(network, data, recipe.dreal.reference_action, recipe.dreal.penalty, ranking)
