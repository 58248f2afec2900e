"""Keras Tuner chooses the values to try next; each trial is a run of a recipe in a process of its own."""

import contextlib
import io
import json
import time
import warnings
from pathlib import Path

import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from sklearn.exceptions import ConvergenceWarning

from dreal_tf.errors import DivergedError, InputError
from dreal_tf.experiments.directory import DAMAGED
from dreal_tf.keras_internals import (
    is_worker,
    random_response,
    reseed,
    retry_queue,
    run_and_update_trial,
    was_tried,
)
from dreal_tf.storage import read_json, reading, write_whole
from dreal_tf.training.builder import build

FACTOR = 3  # Hyperband: one in so many trials of a round goes on to the next.
RANDOM_ONE_IN = 3  # Bayesian search: one in so many trials is random, the first ones.
PAUSE = 0.1  # Seconds before a trial is requested again when none was ready.
RUNNING = "RUNNING"


class _Whole:
    """An oracle whose files are whole at every moment, so that a kill loses no trial.

    Attributes:
        folder: path of Keras Tuner's own files and the trials.
    """

    def save(self):
        write_whole(self.folder / "oracle.json", json.dumps(self.get_state()))

    def _save_trial(self, trial):
        path = self.folder / f"trial_{trial.trial_id}" / "trial.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(trial.get_state()))

    def reload(self):
        super().reload()
        if missing := {*self.start_order, *self.end_order} - set(self.trials):
            raise ValueError(f"it lacks trial.json of the trials {', '.join(sorted(missing))}")
        # In the order of their start, on which sums depend; files come in any order.
        self.trials = dict(sorted(self.trials.items(), key=lambda item: int(item[0])))
        # A command that was killed between the two files leaves a started trial that is in no queue.
        for number, trial in self.trials.items():
            queue = retry_queue(self)
            if trial.status == RUNNING and number not in queue:
                queue.append(number)


class _RandomSearch(_Whole, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Bayesian(_Whole, keras_tuner.oracles.BayesianOptimizationOracle):
    def populate_space(self, trial_id):
        # Keras Tuner does not store its generator: a resumed search would sample the same values again.
        reseed(self, [self.seed, len(self.trials)])
        response = super().populate_space(trial_id)
        if response["values"] is not None and was_tried(self, response["values"]):
            return random_response(self)
        return response


class _Hyperband(_Whole, keras_tuner.oracles.HyperbandOracle):
    pass


def oracle_named(name, space, objective, trials, epochs, seed):
    """The oracle of Keras Tuner that chooses the values to try next.

    Args:
        name: str: "random", "bayesian" or "hyperband".
        space: `dreal_tf.Space`.
        objective: `dreal_tf.experiments.search.Objective`.
        trials: int. Number of trials, at most.
        epochs: int. Epochs of the recipe; Hyperband gives most trials fewer.
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
        "max_consecutive_failed_trials": trials + 1,  # A diverged trial is a result, too.
    }
    if name == "hyperband":
        # No limit of its own: the number of trials is the limit.
        oracle = _Hyperband(max_epochs=epochs, factor=FACTOR, hyperband_iterations=0, **shared)
        oracle.max_trials = trials
        return oracle
    if name == "bayesian":
        # Keras Tuner's default, three for each field, would leave most searches random throughout.
        shared["num_initial_points"] = max(3, trials // RANDOM_ONE_IN)
        return _Bayesian(max_trials=trials, **shared)
    return _RandomSearch(max_trials=trials, **shared)


def _declared(oracle):
    return oracle.seed, {parameter.name for parameter in oracle.hyperparameters.space}


class RunTuner(BaseTuner):
    """Keras Tuner's loop around runs.

    Args:
        oracle: see `oracle_named`.
        run: callable that takes the trial's number (str) and its values (dict), and returns what
            `dreal_tf.experiments.directory.Trial.read` does. Its `DivergedError` marks the trial as
            failed; any other error ends the search, and the next search tries the trial again.
        folder: path of Keras Tuner's own files and the trials.
    """

    def __init__(self, oracle, run, folder):
        self._run = run
        self._requested = None
        oracle.verbose, oracle.folder = 0, folder
        expected, declared = "the state of a search", _declared(oracle)
        for file in (*folder.glob("*.json"), *folder.glob("trial_*/trial.json")):
            read_json(file, expected, DAMAGED)
        silent = contextlib.redirect_stdout(io.StringIO())  # Standard output is for results.
        with silent, reading(folder, expected, DAMAGED):
            super().__init__(oracle, directory=str(folder.parent), project_name=folder.name)
            if _declared(oracle) != declared:
                raise ValueError("its oracle.json is of another search")
        if not is_worker(self):
            self.save()  # Else a search that is killed in its first trial would start again.

    def save(self):
        if not is_worker(self):
            self.oracle.save()
        write_whole(Path(self.project_dir) / f"{self.tuner_id}.json", json.dumps(self.get_state()))

    def pre_create_trial(self):
        if self._requested is not None and time.monotonic() - self._requested < PAUSE:
            time.sleep(PAUSE)
        self._requested = time.monotonic()

    def run_trial(self, trial):
        """Carries out one trial, see `BaseTuner`."""
        return {
            self.oracle.objective.name: self._run(trial.trial_id, trial.hyperparameters.values)["score"]
        }

    def _try_run_and_update_trial(self, trial):
        """Keras Tuner's own method takes every error for a bad choice of values, and goes on."""
        try:
            run_and_update_trial(self, trial)
            trial.status = "COMPLETED"
        except DivergedError as error:
            trial.status, trial.message = "FAILED", str(error)

    def search(self):
        """Runs trials until there are enough."""
        with warnings.catch_warnings():
            # The Gaussian process warns of fields that make no difference.
            warnings.simplefilter("ignore", ConvergenceWarning)
            super().search()


class RecipeHyperModel(keras_tuner.HyperModel):
    """Builds and trains a recipe with the values that a tuner has sampled, for any of Keras Tuner's tuners.

    `tuner.search()` needs no data: the recipe brings it.

    Args:
        recipe: `dreal_tf.Recipe`.
        space: `dreal_tf.Space`.
    Raises:
        InputError: if the recipe does not take a value of the space.
    Example:
        >>> space = Space({"dreal.actor_weight": Range(0.01, 1.0, log=True)})
        >>> hypermodel = RecipeHyperModel(load_recipe("digits_resnet8_se", smoke=True), space)
        >>> type(hypermodel.build(keras_tuner.HyperParameters())).__name__
        'DREAL'
    """

    def __init__(self, recipe, space):
        super().__init__()
        space.check(recipe)
        self.recipe = recipe
        self.space = space

    def recipe_of(self, hp):
        """The recipe with the sampled values.

        Args:
            hp: `keras_tuner.HyperParameters`.
        Returns:
            `dreal_tf.Recipe`.
        """
        changes = self.space.changes(self.space.declare(hp))
        return self.recipe.replace(self.recipe.applicable(changes))

    def build(self, hp):
        """A compiled `DREAL`.

        Raises:
            keras_tuner.errors.FatalValueError: if the recipe cannot be built; the search stops
                and counts no failed trial.
        """
        try:
            model, self._data, self._callbacks = build(self.recipe_of(hp))
        except InputError as error:
            raise keras_tuner.errors.FatalValueError(str(error)) from error
        return model

    def fit(self, hp, model, *args, callbacks=(), **kwargs):
        """Trains on the recipe's data for the recipe's epochs; `fit`'s own arguments win."""
        if not args and "x" not in kwargs:
            kwargs = {"x": self._data.train, "validation_data": self._data.validation} | kwargs
        kwargs = {"epochs": self.recipe_of(hp).schedule.epochs, "shuffle": False} | kwargs
        return model.fit(*args, callbacks=[*self._callbacks, *callbacks], **kwargs)
