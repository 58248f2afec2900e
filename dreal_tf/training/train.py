"""Trains a recipe into a run directory, or continues an interrupted run."""

import contextlib
import logging
import math
import warnings
from pathlib import Path

import keras
import tensorflow as tf

from dreal_tf.data.files import UNUSED, list_files, read_record
from dreal_tf.errors import InputError
from dreal_tf.storage import locked, replacing, reporting_disk_errors, write_json, write_whole
from dreal_tf.training.builder import build, reference_action_of
from dreal_tf.training.callbacks import BestNetwork, Checkpoint, HistoryFile, StopOnNaN
from dreal_tf.training.evaluation import evaluate_splits
from dreal_tf.training.fine_tuning import describe_auto, resolve_auto
from dreal_tf.training.run_directory import RESTORE, RunDirectory, read_history
from dreal_tf.training.strategies import cluster_of, naming_lost_workers, strategy_named
from dreal_tf.training.tensorboard import TensorBoardFigures, TensorBoardLog
from dreal_tf.training.trained_run import trained_network

HISTOGRAM_IMAGES = 64  # Images whose actions TensorBoard shows as histograms.

log = logging.getLogger(__name__)


def train(recipe, out, strategy="auto", fresh=False, callbacks=(), conclude=True, checked=None):
    """Trains a recipe; continues an interrupted run in `out`, and leaves a finished one as it is.

    If several workers train together, the chief keeps the run; each other worker keeps its checkpoints
    in a folder of its own beside it, `<out>_worker<N>`.

    Args:
        recipe: `dreal_tf.Recipe`.
        out: str or path, the run directory.
        strategy: str, see `dreal_tf.training.strategies.strategy_named`.
        fresh: bool. Move a run in `out` aside and begin anew.
        callbacks: sequence of further Keras callbacks.
        conclude: bool. If false, the run ends after its last epoch without saving the network and
            without reading the test split; a later call with True does both.
        checked: path of the splits.csv of another run on the same files, which are then not checked
            again; None: that of the newest run beside `out` on the same folder, if there is one.
    Returns:
        Dict: the final metrics, as in `metrics.json`; None if the run is not concluded, and in a
        worker that is not the chief.
    Raises:
        InputError: if the recipe cannot be built, `out` contains something else, or another command
            writes into it.
        RunError: if another worker is lost.
    """
    run, cluster = RunDirectory(out), cluster_of(strategy)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(run_of_worker(out, cluster).path))
        except InputError:
            if fresh or not run.finished:  # A finished run is only read.
                raise
        return _train(recipe, run, cluster, strategy, fresh, callbacks, conclude, checked)


def _train(recipe, run, cluster, strategy, fresh, callbacks, conclude, checked):
    resolved = resolve_auto(recipe, run.read_recipe() if run.started and not fresh else None)
    if resolved is not recipe:
        log.info(describe_auto(recipe, resolved))
    recipe = resolved
    if not fresh:
        _check_images(run, recipe)
    if run.finished and not fresh:
        run.check(recipe)
        return run.read_metrics()
    run = run_of_worker(run.path, cluster)
    run.check(recipe, fresh)
    with naming_lost_workers(cluster):
        recorded, record = None if fresh else run.recorded_splits, None
        if recorded is None:
            record = read_record(checked) if checked else _record_beside(run, recipe.data.folder)
        with strategy_named(strategy).scope():
            model, data, required = build(recipe, recorded=recorded, checked=record)
        if recorded is not None:
            data.files.check_unchanged()
        for note in data.notes:
            log.info(note)
        sizes = (data.sizes[split] for split in ("train", "validation", "test"))
        log.info("Images: %s to train on, %s to validate, %s to test.", *(f"{n:,}" for n in sizes))
        if recipe.attention.kind == "none":
            log.info("attention.kind='none': no attention module, hence no critic; training is plain.")
        run.begin(recipe, fresh)  # Only after all input has been checked.
        with reporting_disk_errors(run.path):
            if data.files is not None and recorded is None:
                write_whole(run.splits, data.files.to_csv())
            best = _fit(recipe, run, model, data, [*required, *callbacks], cluster)
            if not conclude or (cluster is not None and not cluster.is_chief):
                return None
            return _conclude(recipe, run, model, data, best)


def _record_beside(run, folder):
    """The `FileRecord` of the newest other run beside a run on the same folder; None if there is none."""
    paths = run.path.parent.glob("*/splits.csv") if folder else ()
    beside = [RunDirectory(path.parent) for path in paths if path.parent != run.path]
    with contextlib.suppress(OSError):  # A run may be removed just now.
        for other in sorted(beside, key=lambda other: other.splits.stat().st_mtime, reverse=True):
            with contextlib.suppress(InputError):  # It may be damaged.
                if other.read_recipe().data.folder == folder:
                    return read_record(other.splits)
    return None


def _check_images(run, recipe):
    """Refuses to continue a run with the images of another folder."""
    folder = recipe.data.folder
    if run.recorded_splits is None or recipe.data.name != "folder" or not Path(folder or "").is_dir():
        return
    recorded = {row.path for row in read_record(run.splits).rows if row.split != UNUSED}
    missing = recorded - set(list_files(folder).files)
    if missing:
        raise InputError(
            f"Expected the images of the run in {str(run.path)!r}, as splits.csv there lists them. Received: {folder!r}, which lacks "
            f"{len(missing)} of them, such as {min(missing)!r}. Choose another --out, or begin anew "
            "with --fresh, which moves the old run aside."
        )


def run_of_worker(out, cluster):
    """The run directory of this process.

    Args:
        out: str or path, the run directory.
        cluster: `dreal_tf.training.strategies.Cluster`, or None.
    Returns:
        `RunDirectory`: the run's own for the chief, one beside it for any other worker.
    Example:
        >>> from dreal_tf.training.strategies import Cluster
        >>> print(run_of_worker("runs/mine", Cluster(("one:2222", "two:2222"), 1)).path.as_posix())
        runs/mine_worker1
    """
    if cluster is None or cluster.is_chief:
        return RunDirectory(out)
    path = Path(out)
    return RunDirectory(path.with_name(f"{path.name}_worker{cluster.number}"))


def _fit(recipe, run, model, data, callbacks, cluster):
    """Trains, or continues, and writes the files of the run."""
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
    kept += [best, Checkpoint(run.checkpoints, best)]  # Last: it completes an epoch.
    with warnings.catch_warnings():
        if cluster is not None:  # Expected: with several workers an epoch ends when its data does.
            warnings.filterwarnings("ignore", message="Your input ran out of data")
        model.fit(
            data.train,
            validation_data=data.validation,
            epochs=recipe.schedule.epochs,
            callbacks=[*callbacks, *kept],
            shuffle=False,  # The data shuffles by its own clock.
            verbose=0,
        )
    return best


def _conclude(recipe, run, model, data, best):
    """Saves the best network and evaluates it on the test split, once."""
    best.restore(model.network)
    keep_network(run, model.network, data.preprocessing)
    metrics = _evaluated(recipe, model.trajectory_network, data)
    history = read_history(run.history, best.state["epoch"] + 1)
    chosen = history[best.state["epoch"]]
    if not math.isclose(chosen.get(best.monitor, math.nan), best.state["value"], rel_tol=1e-5):
        raise InputError(
            f"Expected the history of the run, with {best.monitor}={best.state['value']} in epoch "
            f"{best.state['epoch'] + 1}, as its checkpoints say. Received: {str(run.history)!r}, which is another "
            f"run's. {RESTORE}"
        )
    if data.retrieval:
        metrics["validation_mAP"] = best.state["value"]
    metrics |= {
        "best_epoch": best.state["epoch"] + 1,
        "validation_accuracy": chosen["val_accuracy"],
        "training_seconds": round(sum(row["seconds"] for row in history), 1),
    }
    curves = {name: [row.get(name) for row in history] for name in history[-1]}
    metrics["method"] = model.method_summary(curves).to_json()
    run.finish(metrics)
    return metrics


def keep_network(run, network, preprocessing):
    """Saves a run's network and the preprocessing of its images.

    Args:
        run: `RunDirectory`.
        network: `keras.Model`, plain.
        preprocessing: `dreal_tf.data.preprocessing.Preprocessing`.
    """
    write_json(run.preprocessing, preprocessing._asdict())
    with replacing(run.network) as new:
        network.save(new)


def evaluate(run_path, data_dir=None, ranking=None):
    """Metrics of a run's best weights on the test split.

    Args:
        run_path: str or path of a run directory that holds `model.keras`.
        data_dir: str, path or None. Folder of the data; None for the run's.
        ranking: dict, see `dreal_tf.training.evaluation.evaluate_splits`.
    Returns:
        Dict of float, see `dreal_tf.training.evaluation.evaluate_splits`.
    Raises:
        InputError: if there is no run, it has no weights yet, or `ranking` does not apply to its data.
    """
    recipe, data, network = trained_network(run_path, data_dir)
    return _evaluated(recipe, network, data, ranking)


def _evaluated(recipe, network, data, ranking=None):
    return evaluate_splits(network, data, reference_action_of(recipe), recipe.dreal.penalty, ranking)
