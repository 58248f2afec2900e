"""Runs a search: the recipe without the method, the trials, and the best of them to its end."""

import json
import shutil
import threading
from typing import NamedTuple

import pandas as pd
import tensorflow as tf
from filelock import FileLock
from tensorboard.plugins.hparams import api as hparams

from dreal_tf.errors import DivergedError, InputError, RunError, check_at_least_one
from dreal_tf.experiments.comparison import Table
from dreal_tf.experiments.directory import DAMAGED, SearchDirectory, lock_of, rows_text
from dreal_tf.experiments.search import Choice, Objective, own_role
from dreal_tf.experiments.tuner import RunTuner, oracle_named
from dreal_tf.experiments.worker import run_job
from dreal_tf.storage import read_json, reading, remove_whole, scratch, write_json, write_whole
from dreal_tf.training.callbacks import read_history
from dreal_tf.training.recipe import Recipe
from dreal_tf.training.run_directory import RunDirectory

# Columns of `trials.csv`; the searched fields follow.
COLUMNS = ("trial", "status", "score", "best_epoch", "epochs", "seconds")
RESULT_FIELDS = (*COLUMNS, "values")  # Kept of each trial in the results.
TITLES = {"baseline": "without the method", "best_baseline": "best, without the method"}


class SearchResult(NamedTuple):
    """The results of a search.

    Attributes:
        objective, direction, tuner: str.
        exhausted: bool. Whether the space had no more values to try.
        trials: list of dicts with `trial`, `status`, `score`, `best_epoch`, `epochs`, `seconds`, `values`.
        best, baseline, best_baseline: dicts with `score`, `best_epoch`, `epochs`, `seconds`,
            `validation_accuracy`, and `accuracy` and `loss` of the test split; `best` also has `trial`,
            `values`, `recipe`, the path that replays it, and `method`, the line that says what the
            method did; `best_baseline` is None if the space changes the method alone.
        improvement: dict: how much better the best is in `score` (validation) and `accuracy` (test) than
            `baseline` and `best_baseline`.
    """

    objective: str
    direction: str
    tuner: str
    exhausted: bool
    trials: list
    best: dict
    baseline: dict
    best_baseline: dict | None
    improvement: dict

    def to_pandas(self):
        """`pandas.DataFrame` with a row for each trial and a column for each searched field."""
        return pd.DataFrame([_flat(trial) for trial in self.trials])

    def to_json(self):
        """The dict that `dreal-tf tune --json` prints and `results.json` holds."""
        return self._asdict()

    def rows_text(self):
        """The trials as the text of a CSV file, the recipe without the method first."""
        baseline = self.baseline | {"trial": "baseline", "status": "completed", "values": {}}
        return rows_text([_flat(row) for row in (baseline, *self.trials)], COLUMNS)

    def runs_table(self):
        """`Table` of the best run and of those without the method."""
        best = self.best
        cells = [["run", self.objective, "test accuracy", "improvement", "on test"]]
        scores = _number(best["score"]), _number(best["accuracy"])
        cells.append([f"best, trial {best['trial']}", *scores, "", ""])
        for name, better in self.improvement.items():
            run = getattr(self, name)
            scores = _number(run["score"]), _number(run["accuracy"])
            differences = _number(better["score"], "+"), _number(better["accuracy"], "+")
            cells.append([TITLES[name], *scores, *differences])
        return Table(cells)

    def trials_table(self, narrow=False):
        """`Table` of all trials.

        Args:
            narrow: bool. All values of a trial in one column, for a terminal.
        """
        paths = list(self.best["values"])
        headings = ["values"] if narrow else paths
        cells = [["trial", self.objective, "epoch", "epochs", "seconds", *headings]]
        for trial in self.trials:
            score = _number(trial["score"]) if trial["status"] == "completed" else trial["status"]
            best_epoch = "-" if trial["best_epoch"] is None else str(trial["best_epoch"])
            values = [_value_text(trial["values"][path]) for path in paths]
            if narrow:
                values = [", ".join(f"{p}={value}" for p, value in zip(paths, values, strict=True))]
            seconds = f"{trial['seconds']:.0f}"
            cells.append([trial["trial"], score, best_epoch, str(trial["epochs"]), seconds, *values])
        return Table(cells)

    def title(self, recipe_name):
        """Str: the title of the tables."""
        return f"{recipe_name}: {len(self.trials)} trials by {self.tuner} search"

    def note(self):
        """Str: what the method did in the best trial, and how to read the improvement."""
        method = self.best.get("method")  # Searches of earlier versions do not say.
        summary = f"{method} " if method else ""
        count = len(self.trials)
        scores = [trial["score"] for trial in self.trials if trial["score"] is not None]
        equal = scores.count((max if self.direction == "max" else min)(scores))
        shared = f" {equal} trials have the best score; the first of them counts." if equal > 1 else ""
        return (
            f"{summary}Improvement: of the best over that row. In {self.objective} it is too optimistic, as it "
            f"chose the best of {count}; the test split was read once for each row, and chose nothing. "
            f"One seed.{shared}"
        )


def tune(search, out, trials=20, say=print):
    """Runs the missing trials of a search, and sums up; a finished search is left alone.

    Args:
        search: `Search`.
        out: str or path, the search's folder.
        trials: int >= 1. Number of trials; the runs without the method are not among them.
        say: callable that takes a line of progress.
    Returns:
        `SearchResult`; None in a worker of a search that several share.
    Raises:
        InputError: if a setting is wrong, or `out` holds something else.
        RunError: if a run broke off; finished ones are kept.
    """
    check_at_least_one(trials=trials)
    search.check()
    search.check_names()
    role, folder = own_role(), SearchDirectory(out)
    folder.check(search.settings())
    if folder.finished:
        with reading(folder.results, "the results of a search", DAMAGED):
            result = SearchResult(**read_json(folder.results, "the results of a search", DAMAGED))
        if result.exhausted or len(result.trials) >= trials:
            return result
    with folder.begin(search.settings(), role.name):
        folder.trials.mkdir(exist_ok=True)
        runner = _Runner(search, folder, trials, say)
        if role.works_for_another:
            runner.search()
            return None
        if role.serves:
            runner.serve()
        else:
            runner.baseline()
            runner.search()
        return runner.conclude()


class _Runner:
    """The steps of a search.

    Args:
        search: `dreal_tf.Search`.
        folder: `SearchDirectory`.
        count: int. Number of trials of the whole search.
        say: callable that takes a line of progress.
    """

    def __init__(self, search, folder, count, say):
        self.settings = search
        self.folder = folder
        self.count = count
        self.say = say
        self.objective = Objective(search.objective)

    def baseline(self):
        """Trains the recipe without the method to its end."""
        log_space(self.folder.tensorboard, self.settings.space, self.objective)
        run = self.folder.baseline
        self._whole_run("baseline", disable_method(self.settings.recipe), run)
        curve = self.objective.curve(run.history)
        result = {"values": {}, "curve": curve, "score": self.objective.best(curve)[1]}
        log_trial(self.folder.tensorboard / "baseline", self.settings.space, self.objective, result)

    def search(self):
        """Requests trials until there are enough."""
        from dreal_tf.training.fine_tuning import resolve_auto

        recipe = resolve_auto(self.settings.recipe)
        oracle = oracle_named(
            self.settings.tuner,
            self.settings.space,
            self.objective,
            self.count,
            recipe.schedule.epochs,
            recipe.run.seed,
        )
        RunTuner(oracle, self.run_trial, self.folder.trials).search()

    def serve(self):
        """Gives trials to workers, and trains the recipe without the method meanwhile."""
        errors = []

        def answer():
            try:
                self.search()
            except Exception as error:  # Raised again by the thread that waits.
                errors.append(error)

        self.say("Waiting for workers, which run the trials.")
        server = threading.Thread(target=answer, daemon=True)  # It ends with the command.
        server.start()
        self.baseline()
        server.join()
        if errors:
            raise errors[0]

    def conclude(self):
        """Trains the best trial to its end, measures it, and writes the results."""
        folder, recipe = self.folder, self.settings.recipe
        ended = folder.ended_trials()
        ranked = self._ranked(ended)
        if not ranked:
            raise RunError(
                f"Expected a trial whose loss is finite. Received: {len(ended)} trials, none of which "
                "is. Narrow the space, lower optim.learning_rate, or set optim.clip_norm=1."
            )
        best = ranked[0]
        chosen = Recipe.from_json(best.read()["recipe"]).reading(recipe.data.folder)
        self._move_best(best, chosen)
        self._whole_run("best", chosen, folder.best)
        if self.settings.space.changes_network and recipe.dreal.enabled:
            self._whole_run("best_baseline", disable_method(chosen), folder.best_baseline)
        result = self._result([trial.read() for trial in ended], best.number)
        self._write(result)
        return result

    def _move_best(self, trial, recipe):
        """Moves the run of the best trial to `best`; an earlier best, of fewer trials, makes way."""
        best = self.folder.best
        anywhere = {"data.folder": None}  # The data may have moved.
        if best.started and best.read_recipe().replace(anywhere) == recipe.replace(anywhere):
            return
        for run in (best, self.folder.best_baseline):
            run.remove()
        if trial.run.started:
            trial.run.path.rename(best.path)

    def _whole_run(self, name, recipe, run):
        if run.finished:
            run.check(recipe)
            return
        self.say(f"{name}: training {recipe.name} to its end")
        metrics = self._train(name, recipe, run, conclude=True)
        self.say(
            f"{name}: validation accuracy {metrics['validation_accuracy']:.4f}, "
            f"test accuracy {metrics['accuracy']:.4f}"
        )

    def _result(self, trials, best_number):
        """`SearchResult` of runs that have ended."""
        folder, objective = self.folder, self.objective
        trials = [{field: trial[field] for field in RESULT_FIELDS} for trial in trials]
        chosen = next(trial for trial in trials if trial["trial"] == best_number)
        best = self._measured(folder.best)
        best |= {"trial": best_number, "values": chosen["values"], "recipe": str(folder.best.recipe)}
        method = folder.best.read_metrics().get("method")  # Runs of earlier versions do not say.
        best["method"] = method and method["line"]
        baselines = {"baseline": self._measured(folder.baseline), "best_baseline": None}
        if folder.best_baseline.finished:
            baselines["best_baseline"] = self._measured(folder.best_baseline)
        improvement = {
            name: {
                "score": objective.improvement(best["score"], run["score"]),
                "accuracy": best["accuracy"] - run["accuracy"],
            }
            for name, run in baselines.items()
            if run is not None
        }
        return SearchResult(
            objective=objective.name,
            direction=objective.direction,
            tuner=self.settings.tuner,
            exhausted=len(trials) < self.count,
            trials=trials,
            best=best,
            **baselines,
            improvement=improvement,
        )

    def _measured(self, run):
        """A run that was trained to its end; its score is None if it does not log the objective."""
        metrics = run.read_metrics()
        curve = self.objective.curve(run.history)
        best_epoch, score = self.objective.best(curve)
        values = {"score": score, "best_epoch": best_epoch, "epochs": len(curve)}
        values["seconds"] = seconds_of(run)
        return values | {name: metrics[name] for name in ("validation_accuracy", "accuracy", "loss")}

    def _write(self, result):
        """Writes rows, table and figure, and last the results, which say that the search is finished."""
        from dreal_tf.experiments.figures import search_figure

        folder = self.folder
        title = result.title(self.settings.recipe.name)
        lines = [f"# {title}", "", *result.runs_table().markdown(), ""]
        lines += [result.note(), ""]
        lines += result.trials_table().markdown()
        write_whole(folder.rows, result.rows_text())
        folder.write_summary(lines, search_figure(result, self.settings.space))
        folder.finish(result.to_json())

    def run_trial(self, number, values):
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
        with FileLock(lock_of(trial.path, "run")):  # A restarted chief may give it to a second worker.
            if not trial.result.is_file():
                self._run(trial, values)
        result = trial.read()
        if result["values"] != json.loads(json.dumps(self.settings.space.changes(values))):
            raise InputError(
                f"Expected the result of the values that the tuner chose. Received: {str(trial.result)!r} of "
                f"{result['values']}. {DAMAGED}"
            )
        folder = self.folder.tensorboard / f"trial_{number}"
        log_trial(folder, self.settings.space, self.objective, result)
        self._trim()
        if result["status"] == "diverged":
            raise DivergedError(result["message"])
        return result

    def _ranked(self, ended):
        """The trials that have a score, best first; of equal ones, the earlier first."""
        scores = {trial: trial.read()["score"] for trial in ended}
        scored = [trial for trial in ended if scores[trial] is not None]
        return sorted(scored, key=scores.get, reverse=self.objective.direction == "max")

    def _run(self, trial, values):
        changes, base = self.settings.space.changes(values), self.settings.recipe
        recipe = base.replace(base.applicable(changes))
        recipe = recipe.replace({"name": f"{base.name}_trial_{trial.number}"})
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
            self._train(f"trial_{trial.number}", recipe, trial.run, epochs)
        except DivergedError as error:
            status, message = "diverged", str(error)
        curve = self.objective.curve(trial.run.history)
        best_epoch, score = self.objective.best(curve)
        if status == "completed" and score is None:
            status = "diverged"
            message = f"Expected a finite {self.objective.name}. Received: {curve}. Narrow the space."
        if status == "diverged":
            best_epoch = score = None
        result = {"trial": trial.number, "status": status, "score": score, "best_epoch": best_epoch}
        result |= {"epochs": len(curve), "seconds": seconds_of(trial.run), "values": changes}
        result |= {"curve": curve, "message": message, "recipe": recipe.to_json()}
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
        if ranked := self._ranked(ended):
            line += f"; best so far {ranked[0].read()['score']:.4f} (trial {ranked[0].number})"
        self.say(f"{line}; {len(ended)} of {self.count} done")

    def _take_over(self, past, trial, recipe):
        """Starts a run from what another trial of the same values has trained."""
        remove_whole(trial.run.path)  # A killed command may have made the empty folder.
        with scratch(trial.run.path) as folder:
            run = RunDirectory(folder / "run")
            with FileLock(lock_of(self.folder.path, "trim")):
                if not any(past.run.checkpoints.glob("epoch-*.index")):
                    return
                shutil.copytree(past.run.path, run.path, ignore=shutil.ignore_patterns("tensorboard"))
            write_whole(run.recipe, recipe.to_json())
            run.path.rename(trial.run.path)

    def _trim(self):
        """Deletes the checkpoints and logs of all ended trials but the best."""
        with FileLock(lock_of(self.folder.path, "trim")):
            ended = self.folder.ended_trials()
            kept = {trial.number for trial in self._ranked(ended)[: KEPT[self.settings.tuner]]}
            for trial in ended:
                if trial.number not in kept:
                    for path in (trial.run.checkpoints, trial.run.tensorboard):
                        remove_whole(path)

    def _train(self, name, recipe, run, epochs=None, conclude=False):
        """Trains a run in a process of its own.

        Args:
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
        splits = self.folder.baseline.recorded_splits
        arguments = {
            "recipe": recipe.to_json(),
            "run": str(run.path),
            "strategy": self.settings.strategy,
            "objective": self.settings.objective,
            "epochs": epochs,
            "patience": self.settings.patience,
            "conclude": conclude,
            "checked": splits and str(splits),
        }
        logs = self.folder.logs
        return run_job("training", arguments, logs / f"{name}.answer.json", logs / f"{name}.log")


def disable_method(recipe):
    """The recipe that `dreal-tf train --baseline` makes of one.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        `dreal_tf.Recipe`.
    Example:
        >>> disable_method(Recipe()).dreal.enabled
        False
    """
    return recipe.replace({"dreal.enabled": False})


def _flat(trial):
    """A trial as one row: its values by path beside its other fields."""
    return {field: trial[field] for field in COLUMNS} | trial["values"]


def _number(value, sign=""):
    """Four decimals, with `sign="+"` also the sign of positive numbers; "-" for None."""
    return "-" if value is None else f"{value:{sign}.4f}"


def _value_text(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# Trials that keep their checkpoints. Hyperband continues some of its trials, so that more keep them; a
# trial to continue that has none left is trained from its start, with the same curve.
KEPT = {"random": 1, "bayesian": 1, "hyperband": 9}
SCORE = "score"  # The best value of the objective, in TensorBoard.


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
    rows = read_history(run.history, 0) if run.history.is_file() else []
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
