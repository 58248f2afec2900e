"""Keras Tuner asked what to try next; each trial is a run of a recipe in a process of its own."""

import contextlib
import io
import json
import time
import warnings
from pathlib import Path

import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from sklearn.exceptions import ConvergenceWarning

from dreal_tf.errors import DivergedError
from dreal_tf.keras_internals import (
    is_worker,
    random_response,
    reseed,
    retry_queue,
    run_and_update_trial,
    was_tried,
)
from dreal_tf.training.run_directory import write_whole

FACTOR = 3  # Of Hyperband: one in so many trials of a round goes on to the next.
RANDOM_SHARE = 3  # Of the Bayesian search: one in so many trials is drawn at random, the first ones.
PAUSE = 0.1  # Seconds between two questions for a trial, where none was ready.
RUNNING = "RUNNING"


class _Whole:
    """An oracle whose files are there whole at every moment, and that loses no trial with them.

    Attributes:
        folder: path, where Keras Tuner keeps its own files and the trials.
    """

    def save(self):
        write_whole(self.folder / "oracle.json", json.dumps(self.get_state()))

    def _save_trial(self, trial):
        path = self.folder / f"trial_{trial.trial_id}" / "trial.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(trial.get_state()))

    def reload(self):
        super().reload()
        # In the order of their beginning, on which sums depend; files come in any.
        self.trials = dict(sorted(self.trials.items(), key=lambda item: int(item[0])))
        # Killed between the two files, a trial is begun and in no queue.
        for number, trial in self.trials.items():
            queue = retry_queue(self)
            if trial.status == RUNNING and number not in queue:
                queue.append(number)


class _RandomSearch(_Whole, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Bayesian(_Whole, keras_tuner.oracles.BayesianOptimizationOracle):
    def populate_space(self, trial_id):
        # Keras Tuner stores no state of it: gone on with, a search would draw once more what it had.
        reseed(self, [self.seed, len(self.trials)])
        response = super().populate_space(trial_id)
        if response["values"] is not None and was_tried(self, response["values"]):
            return random_response(self)
        return response


class _Hyperband(_Whole, keras_tuner.oracles.HyperbandOracle):
    pass


def oracle_named(name, space, objective, trials, epochs, seed):
    """What decides which values are tried next.

    Args:
        name: str: "random", "bayesian" or "hyperband".
        space: `dreal_tf.experiments.tuning.Space`.
        objective: `dreal_tf.experiments.tuning.scores.Objective`.
        trials: int. How many there may be.
        epochs: int. Of the recipe; Hyperband gives most trials fewer.
        seed: int.
    Returns:
        `keras_tuner.Oracle`.
    """
    hp = keras_tuner.HyperParameters()
    space.declare(hp)
    shared = {
        "objective": keras_tuner.Objective(objective.name, objective.direction),
        "hyperparameters": hp,
        "seed": seed + 1,  # Keras Tuner takes 0 for none.
        "max_consecutive_failed_trials": trials + 1,  # What diverges says something, too.
    }
    if name == "hyperband":
        # As many sweeps as there are trials for.
        oracle = _Hyperband(max_epochs=epochs, factor=FACTOR, hyperband_iterations=0, **shared)
        oracle.max_trials = trials
        return oracle
    if name == "bayesian":
        # Keras Tuner's own choice, three for each field, would leave most searches random throughout.
        shared["num_initial_points"] = max(3, trials // RANDOM_SHARE)
        return _Bayesian(max_trials=trials, **shared)
    return _RandomSearch(max_trials=trials, **shared)


class RunTuner(BaseTuner):
    """Keras Tuner's loop around runs.

    Args:
        oracle: see `oracle_named`.
        run: callable that takes the trial's number (str) and its values (dict), and returns what
            `dreal_tf.experiments.tuning.directory.Trial.read` does. A `DivergedError` of it marks the trial as
            failed; anything else that it raises ends the search, and the trial is tried again by the
            next one.
        folder: path, where Keras Tuner keeps its own files and the trials.
    """

    def __init__(self, oracle, run, folder):
        self._run = run
        self._asked = None
        oracle.verbose, oracle.folder = 0, folder
        said = io.StringIO()  # Standard output is for results.
        with contextlib.redirect_stdout(said):
            super().__init__(oracle, directory=str(folder.parent), project_name=folder.name)
        if not is_worker(self):
            self.save()  # Or a search that is killed in its first trial would begin anew.

    def save(self):
        if not is_worker(self):
            self.oracle.save()
        write_whole(Path(self.project_dir) / f"{self.tuner_id}.json", json.dumps(self.get_state()))

    def pre_create_trial(self):
        if self._asked is not None and time.monotonic() - self._asked < PAUSE:
            time.sleep(PAUSE)
        self._asked = time.monotonic()

    def run_trial(self, trial):
        """Carries out one trial, see `BaseTuner`."""
        return {
            self.oracle.objective.name: self._run(trial.trial_id, trial.hyperparameters.values)["score"]
        }

    def _try_run_and_update_trial(self, trial):
        """Keras Tuner's own takes whatever goes wrong for a bad choice of values, and goes on."""
        try:
            run_and_update_trial(self, trial)
            trial.status = "COMPLETED"
        except DivergedError as error:
            trial.status, trial.message = "FAILED", str(error)

    def search(self):
        """Runs trials until there are enough."""
        with warnings.catch_warnings():
            # The Gaussian process says so of a field that makes no difference.
            warnings.simplefilter("ignore", ConvergenceWarning)
            super().search()
