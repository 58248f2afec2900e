"""Carries out a search: the recipe without the method, the trials, and the best of them to its end."""

import shutil
import threading

from dreal_tf.errors import RunError, check_at_least_one
from dreal_tf.experiments.tuning.directory import SearchDirectory
from dreal_tf.experiments.tuning.results import results_of, write_results
from dreal_tf.experiments.tuning.scores import Objective
from dreal_tf.experiments.tuning.sharing import own_role
from dreal_tf.experiments.tuning.tensorboard import log_space, log_trial
from dreal_tf.experiments.tuning.trials import Trials, carry_out
from dreal_tf.experiments.tuning.tuner import RunTuner, oracle_named
from dreal_tf.recipe import Recipe


def tune(search, out, trials=20, say=print):
    """Runs what is not done yet of a search, and sums up; a finished one is left alone.

    Args:
        search: `Search`.
        out: str or path, the search's folder.
        trials: int >= 1. Of the tuner; the runs without the method come on top.
        say: callable that takes a line of progress.
    Returns:
        Dict, see `dreal_tf.experiments.tuning.results.results_of`; None in a worker of a search that several share.
    Raises:
        InputError: if something is not what it should be, or `out` holds something else.
        RunError: if a run broke off; finished ones are kept.
    """
    check_at_least_one(trials=trials)
    search.check()
    search.check_names()
    role, folder = own_role(), SearchDirectory(out)
    folder.check(search.settings())
    if folder.finished:
        found = folder.read_results()
        if found["exhausted"] or len(found["trials"]) >= trials:
            return found
    with folder.begin(search.settings(), role.name):
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
    """The steps of a search that is under way."""

    def __init__(self, search, folder, count, say):
        self.asked = search
        self.folder = folder
        self.count = count
        self.say = say
        self.objective = Objective(search.objective)
        self.trials = Trials(search, folder, count, say)

    def baseline(self):
        """The recipe without the method, to its end."""
        log_space(self.folder.tensorboard, self.asked.space, self.objective)
        run = self.folder.baseline
        self._whole_run("baseline", without_method(self.asked.recipe), run)
        curve = self.objective.curve(run.history)
        result = {"values": {}, "curve": curve, "score": self.objective.best(curve)[1]}
        log_trial(self.folder.tensorboard / "baseline", self.asked.space, self.objective, result)

    def search(self):
        """Asks for trials until there are enough."""
        from dreal_tf.training.fine_tuning import settled

        recipe = settled(self.asked.recipe)
        oracle = oracle_named(
            self.asked.tuner,
            self.asked.space,
            self.objective,
            self.count,
            recipe.schedule.epochs,
            recipe.run.seed,
        )
        RunTuner(oracle, self.trials.run, self.folder.trials).search()

    def serve(self):
        """Gives trials to workers, and runs the recipe without the method meanwhile."""
        failed = []

        def answer():
            try:
                self.search()
            except Exception as error:  # Said by the thread that waits.
                failed.append(error)

        self.say("Waiting for workers, which run the trials.")
        server = threading.Thread(target=answer, daemon=True)  # It ends with the command.
        server.start()
        self.baseline()
        server.join()
        if failed:
            raise failed[0]

    def conclude(self):
        """Trains the best trial to its end, measures it, and writes the results."""
        folder, recipe = self.folder, self.asked.recipe
        ended = folder.ended_trials()
        best = self.trials.best(ended)
        if best is None:
            raise RunError(
                f"Expected a trial whose loss is finite. Received: {len(ended)} trials, none of which "
                "is. Narrow the space, lower optim.learning_rate, or set optim.clip_norm=1."
            )
        chosen = Recipe.from_json(best.read()["recipe"]).reading(recipe.data.folder)
        self._move_best(best, chosen)
        self._whole_run("best", chosen, folder.best)
        if self.asked.space.changes_network and recipe.dreal.enabled:
            self._whole_run("best_baseline", without_method(chosen), folder.best_baseline)
        found = results_of(folder, self.asked, self.count, best.number)
        write_results(folder, self.asked, found)
        return found

    def _move_best(self, trial, recipe):
        """The best trial's run becomes the search's; that of an earlier best, of fewer trials, goes."""
        best = self.folder.best
        here = {"data.folder": None}  # Where the data lies may have changed.
        if best.started and best.read_recipe().replace(here) == recipe.replace(here):
            return
        for run in (best, self.folder.best_baseline):
            if run.path.exists():
                shutil.rmtree(run.path)
        if trial.run.started:
            trial.run.path.rename(best.path)

    def _whole_run(self, name, recipe, run):
        if run.finished:
            run.check(recipe)
            return
        self.say(f"{name}: training {recipe.name} to its end")
        metrics = carry_out(self.asked, self.folder, name, recipe, run, conclude=True)
        self.say(
            f"{name}: validation accuracy {metrics['validation_accuracy']:.4f}, "
            f"test accuracy {metrics['accuracy']:.4f}"
        )


def without_method(recipe):
    """The recipe that `dreal-tf train --baseline` makes of one.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        `dreal_tf.Recipe`.
    Example:
        >>> without_method(Recipe()).dreal.enabled
        False
    """
    return recipe.replace({"dreal.enabled": False})
