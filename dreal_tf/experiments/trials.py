"""The trials of a search: runs in processes of their own, of which only the best keep checkpoints."""

import contextlib
import shutil

import tensorflow as tf
from filelock import FileLock
from tensorboard.plugins.hparams import api as hparams

from dreal_tf.errors import DivergedError
from dreal_tf.experiments.directory import write_json
from dreal_tf.experiments.search import Objective
from dreal_tf.experiments.space import Choice
from dreal_tf.experiments.worker import run_job
from dreal_tf.training.callbacks import read_history
from dreal_tf.training.run_directory import write_whole

# Trials that keep their checkpoints. Hyperband continues some of its trials, so that more keep them; a
# trial to continue that has none left is trained from its start, with the same curve.
KEPT = {"random": 1, "bayesian": 1, "hyperband": 9}
SCORE = "score"  # The best value of the objective, in TensorBoard.


class Trials:
    """Runs trials and keeps their results.

    Args:
        search: `dreal_tf.Search`.
        folder: `SearchDirectory`.
        count: int. Number of trials of the whole search.
        say: callable that takes a line of progress.
    """

    def __init__(self, search, folder, count, say):
        self.search = search
        self.folder = folder
        self.count = count
        self.say = say
        self.objective = Objective(search.objective)

    def recipe(self, number, values):
        """The recipe of a trial.

        Args:
            number: str, of the trial.
            values: dict from path to the value that Keras Tuner has sampled.
        Returns:
            `dreal_tf.Recipe`, named after the trial.
        """
        base = self.search.recipe
        changed = base.replace(base.applicable(self.search.space.changes(values)))
        return changed.replace({"name": f"{base.name}_trial_{number}"})

    def run(self, number, values):
        """Runs one trial to its end, or reads the result of one that has ended.

        Args:
            number: str.
            values: dict, as Keras Tuner has sampled them; Hyperband adds its own.
        Returns:
            Dict, see `Trial.read`.
        Raises:
            DivergedError: if its loss or its objective is not finite.
            InputError, RunError: if it cannot be run; nothing is recorded.
        """
        trial = self.folder.trial(number)
        trial.path.mkdir(parents=True, exist_ok=True)
        with FileLock(trial.path / "lock"):  # A restarted chief may give it to a second worker.
            if not trial.result.is_file():
                self._run(trial, values)
        result = trial.read()
        folder = self.folder.tensorboard / f"trial_{number}"
        log_trial(folder, self.search.space, self.objective, result)
        self._trim()
        if result["status"] == "diverged":
            raise DivergedError(result["message"])
        return result

    def ranked(self, ended):
        """Trials with a score, best first; of equal ones, the earlier first.

        Args:
            ended: sequence of `Trial`, in their order.
        Returns:
            List of `Trial`.
        """
        scores = {trial.number: trial.read()["score"] for trial in ended}
        scored = [trial for trial in ended if scores[trial.number] is not None]
        sign = -1 if self.objective.direction == "max" else 1
        return sorted(scored, key=lambda trial: sign * scores[trial.number])

    def _run(self, trial, values):
        recipe = self.recipe(trial.number, values)
        changes = self.search.space.changes(values)
        self.say(
            f"trial {trial.number}, of {self.count}: "
            + ", ".join(f"{path}={value}" for path, value in changes.items())
        )
        past = values.get("tuner/trial_id")
        if past is not None and not trial.run.started:
            self._take_over(self.folder.trial(past), trial, recipe)
        status, message = "completed", None
        try:
            epochs = values.get("tuner/epochs")
            train_run(self.search, self.folder, f"trial_{trial.number}", recipe, trial.run, epochs)
        except DivergedError as error:
            status, message = "diverged", str(error)
        curve = self.objective.curve(trial.run.history)
        best_epoch, score = self.objective.best(curve)
        if status == "completed" and score is None:
            status = "diverged"
            message = f"Expected a finite {self.objective.name}. Received: {curve}. Narrow the space."
        if status == "diverged":
            best_epoch = score = None
        result = {
            "trial": trial.number,
            "status": status,
            "score": score,
            "best_epoch": best_epoch,
            "epochs": len(curve),
            "seconds": seconds_of(trial.run),
            "values": changes,
            "curve": curve,
            "message": message,
            "recipe": recipe.to_json(),
        }
        write_json(trial.result, result)
        self._say_result(result)

    def _say_result(self, result):
        ended = self.folder.ended_trials()
        line = f"trial {result['trial']}: "
        if result["status"] == "diverged":
            line += f"diverged after {result['epochs']} epochs"
        else:
            line += f"{self.objective.name} {result['score']:.4f} in epoch {result['best_epoch']}"
            line += f" of {result['epochs']}, {result['seconds']:.0f} s of training"
        if ranked := self.ranked(ended):
            line += f"; best so far {ranked[0].read()['score']:.4f} (trial {ranked[0].number})"
        self.say(f"{line}; {len(ended)} of {self.count} done")

    def _take_over(self, past, trial, recipe):
        """Starts a run from what another trial of the same values has trained."""
        partial = trial.path / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        with FileLock(self.folder.path / "lock_trim"):
            if not any(past.run.checkpoints.glob("epoch-*.index")):
                return
            shutil.copytree(past.run.path, partial, ignore=shutil.ignore_patterns("tensorboard"))
        write_whole(partial / "recipe.json", recipe.to_json())
        partial.rename(trial.run.path)

    def _trim(self):
        """Deletes the checkpoints and logs of all ended trials but the best."""
        with FileLock(self.folder.path / "lock_trim"):
            ended = self.folder.ended_trials()
            kept = {trial.number for trial in self.ranked(ended)[: KEPT[self.search.tuner]]}
            for trial in ended:
                if trial.number not in kept:
                    for path in (trial.run.checkpoints, trial.run.tensorboard):
                        with contextlib.suppress(FileNotFoundError):
                            shutil.rmtree(path)


def train_run(search, folder, name, recipe, run, epochs=None, conclude=False):
    """Trains a run in a process of its own.

    Args:
        search: `dreal_tf.Search`.
        folder: `SearchDirectory`.
        name: str, of the run's log.
        recipe: `dreal_tf.Recipe`.
        run: `RunDirectory`.
        epochs: int or None. Epochs after which to stop; None: by its recipe or the search's patience.
        conclude: bool. Train it to its end, save its network and read the test split.
    Returns:
        Dict: the final metrics; None if it is not concluded.
    Raises:
        InputError, DivergedError, RunError: see `dreal_tf.experiments.worker.run_job`.
    """
    arguments = {
        "recipe": recipe.to_json(),
        "run": str(run.path),
        "strategy": search.strategy,
        "objective": search.objective,
        "epochs": epochs,
        "patience": search.patience,
        "conclude": conclude,
    }
    answer, log = folder.logs / f"{name}.answer.json", folder.logs / f"{name}.log"
    return run_job("training", arguments, answer, log)


def seconds_of(run):
    """Seconds of a run's training, validation included.

    Args:
        run: `RunDirectory`.
    Returns:
        float.
    Example:
        >>> seconds_of(RunDirectory("none_such"))
        0.0
    """
    rows = read_history(run.history) if run.history.is_file() else []
    return round(sum((row["seconds"] for row in rows), 0.0), 1)


def log_space(folder, space, objective):
    """Writes the searched fields and the compared scores for TensorBoard's HParams.

    Args:
        folder: path, to which TensorBoard's --logdir points.
        space: `dreal_tf.Space`.
        objective: `dreal_tf.experiments.search.Objective`.
    """
    if any(folder.glob("events.*")):
        return
    fields = [hparams.HParam(path, _domain(values)) for path, values in space.fields.items()]
    best = hparams.Metric(SCORE, display_name=f"best {objective.name}")
    with _writer(folder):
        hparams.hparams_config(hparams=fields, metrics=[best, hparams.Metric(objective.name)])


def log_trial(folder, space, objective, result):
    """Writes a trial for TensorBoard: its values, the curve of the objective and its best.

    Args:
        folder: path, whose name becomes the trial's.
        space, objective: see `log_space`.
        result: dict, see `dreal_tf.experiments.directory.Trial.read`.
    """
    if any(folder.glob("events.*")):
        return
    with _writer(folder):
        values = {p: _hparam_value(space.fields[p], value) for p, value in result["values"].items()}
        hparams.hparams(values, trial_id=folder.name)
        for epoch, value in enumerate(result["curve"]):
            tf.summary.scalar(objective.name, value, step=epoch)
        if result["score"] is not None:
            tf.summary.scalar(SCORE, result["score"], step=0)


def _writer(folder):
    return tf.summary.create_file_writer(str(folder)).as_default()


def _domain(values):
    if isinstance(values, Choice):
        return hparams.Discrete([_hparam_value(values, value) for value in values.values])
    if isinstance(values.low, int) and isinstance(values.high, int):
        return hparams.IntInterval(values.low, values.high)
    return hparams.RealInterval(float(values.low), float(values.high))


def _hparam_value(values, value):
    """HParams holds values of one kind; it gets the text of all others."""
    return str(value) if isinstance(values, Choice) and not values.plain else value
