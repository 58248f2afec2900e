"""The trials of a search: each a run of a recipe, of which only the best keeps its network."""

import contextlib
import shutil

from filelock import FileLock

from dreal_tf.errors import DivergedError
from dreal_tf.experiments.job import run_job
from dreal_tf.experiments.tuning.directory import write_json
from dreal_tf.experiments.tuning.scores import Objective
from dreal_tf.experiments.tuning.tensorboard import log_trial
from dreal_tf.training.callbacks.history_file import read_history
from dreal_tf.training.run_directory import write_whole

# Trials that keep their checkpoints. Of Hyperband more, as it goes on with some; one that it goes on
# with and that has none left is trained from its start, with the same curve.
KEPT = {"random": 1, "bayesian": 1, "hyperband": 9}


class Trials:
    """Carries out trials and keeps what they came to.

    Args:
        search: `dreal_tf.experiments.tuning.Search`.
        folder: `SearchDirectory`.
        count: int. How many there are to be.
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
            values: dict from path to what Keras Tuner has drawn.
        Returns:
            `dreal_tf.Recipe`, named after the trial.
        """
        base = self.search.recipe
        changed = base.replace(self.search.space.changes(values))
        return changed.replace({"name": f"{base.name}_trial_{number}"})

    def run(self, number, values):
        """Carries out one trial, goes on with it, or tells what it came to.

        Args:
            number: str.
            values: dict, as Keras Tuner has drawn them; Hyperband adds its own.
        Returns:
            Dict, see `Trial.read`.
        Raises:
            DivergedError: if its loss, or its objective, became no number.
            InputError, RunError: if it cannot be run; nothing of it is recorded.
        """
        trial = self.folder.trial(number)
        trial.path.mkdir(parents=True, exist_ok=True)
        with FileLock(trial.path / "lock"):  # A chief begun anew may give it to a second worker.
            if not trial.result.is_file():
                self._run(trial, values)
        result = trial.read()
        folder = self.folder.tensorboard / f"trial_{number}"
        log_trial(folder, self.search.space, self.objective, result)
        self._trim()
        if result["status"] == "diverged":
            raise DivergedError(result["message"])
        return result

    def best(self, ended):
        """The best of some trials; the first, where several are equal.

        Args:
            ended: sequence of `Trial`, in their order.
        Returns:
            `Trial`, or None where none has a score.
        """
        ranked = self._ranked(ended)
        return ranked[0] if ranked else None

    def _ranked(self, ended):
        results = {trial.number: trial.read() for trial in ended}
        scored = [trial for trial in ended if results[trial.number]["score"] is not None]
        sign = -1 if self.objective.direction == "max" else 1
        return sorted(scored, key=lambda trial: sign * results[trial.number]["score"])

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
            carry_out(self.search, self.folder, f"trial_{trial.number}", recipe, trial.run, epochs)
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
        best = self.best(ended)
        said = f"trial {result['trial']}: "
        if result["status"] == "diverged":
            said += f"diverged after {result['epochs']} epochs"
        else:
            said += f"{self.objective.name} {result['score']:.4f} in epoch {result['best_epoch']}"
            said += f" of {result['epochs']}, {result['seconds']:.0f} s of training"
        if best is not None:
            said += f"; best so far {best.read()['score']:.4f} (trial {best.number})"
        self.say(f"{said}; {len(ended)} of {self.count} done")

    def _take_over(self, past, trial, recipe):
        """Begins a run with what another trial of the same values has trained."""
        partial = trial.path / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        with FileLock(self.folder.path / "lock_trim"):
            if not any(past.run.checkpoints.glob("epoch-*.index")):
                return
            shutil.copytree(past.run.path, partial, ignore=shutil.ignore_patterns("tensorboard"))
        write_whole(partial / "recipe.json", recipe.to_json())
        partial.rename(trial.run.path)

    def _trim(self):
        """Takes checkpoints and logs from all ended trials but the best."""
        with FileLock(self.folder.path / "lock_trim"):
            ended = self.folder.ended_trials()
            kept = {trial.number for trial in self._ranked(ended)[: KEPT[self.search.tuner]]}
            for trial in ended:
                if trial.number not in kept:
                    for path in (trial.run.checkpoints, trial.run.tensorboard):
                        with contextlib.suppress(FileNotFoundError):
                            shutil.rmtree(path)


def carry_out(search, folder, name, recipe, run, epochs=None, conclude=False):
    """Has a run trained in a process of its own.

    Args:
        search: `dreal_tf.experiments.tuning.Search`.
        folder: `SearchDirectory`.
        name: str, of the run's log.
        recipe: `dreal_tf.Recipe`.
        run: `RunDirectory`.
        epochs: int or None. Where to leave it; None: where its recipe or the search's patience ends.
        conclude: bool. Train it to its end, save its network and read the test split.
    Returns:
        Dict: the final metrics; None where it is not concluded.
    Raises:
        InputError, DivergedError, RunError: see `dreal_tf.experiments.job.run_job`.
    """
    job = {
        "recipe": recipe.to_json(),
        "run": str(run.path),
        "strategy": search.strategy,
        "objective": search.objective,
        "epochs": epochs,
        "patience": search.patience,
        "conclude": conclude,
    }
    answer, log = folder.logs / f"{name}.answer.json", folder.logs / f"{name}.log"
    return run_job("dreal_tf.experiments.tuning.worker", job, answer, log)


def seconds_of(run):
    """Seconds that a run was trained, validation included.

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
