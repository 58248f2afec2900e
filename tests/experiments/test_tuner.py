"""Keras Tuner's loop: it goes on after any interruption, and what is wrong ends it."""

import json

import keras_tuner
import pytest

from dreal_tf import Choice, Range, RecipeHyperModel, Space, load_recipe
from dreal_tf.errors import DivergedError, InputError
from dreal_tf.experiments.search import Objective
from dreal_tf.experiments.tuner import RunTuner, oracle_named

PATH = "dreal.actor_weight"
SPACE = Space({PATH: Range(0.0, 1.0)})


class Runs:
    """Runs whose score is a parabola with its top at 0.25; one of them may end otherwise."""

    def __init__(self, fails_at=None, error=None):
        self.done = {}
        self.fails_at, self.error = fails_at, error

    def __call__(self, number, values):
        if len(self.done) == self.fails_at:
            self.fails_at = None
            raise self.error
        self.done[number] = values
        return {"score": -((values[PATH] - 0.25) ** 2)}


def tuner(folder, runs, name="random", trials=6, space=SPACE, epochs=9):
    oracle = oracle_named(name, space, Objective(), trials, epochs, seed=0)
    return RunTuner(oracle, runs, folder / "trials")


@pytest.mark.parametrize(("name", "trials"), [("random", 4), ("bayesian", 4), ("hyperband", 14)])
def test_every_tuner_runs_as_many_trials_as_were_asked_for(tmp_path, name, trials):
    runs = Runs()
    tuner(tmp_path, runs, name, trials).search()
    assert len(runs.done) == trials
    rounds = {values.get("tuner/epochs") for values in runs.done.values()}
    assert rounds == ({1, 3, 9} if name == "hyperband" else {None})


def test_the_bayesian_search_finds_the_top_of_a_parabola(tmp_path):
    runs = Runs()
    tuner(tmp_path, runs, "bayesian", trials=9).search()
    assert min(abs(values[PATH] - 0.25) for values in runs.done.values()) < 0.02


@pytest.mark.parametrize("name", ["random", "bayesian", "hyperband"])
@pytest.mark.parametrize("moment", [0, 4])
def test_interrupted_it_tries_the_same_as_one_that_was_not(tmp_path, name, moment):
    whole, first, second = Runs(), Runs(moment, KeyboardInterrupt()), Runs()
    tuner(tmp_path / "whole", whole, name).search()
    with pytest.raises(KeyboardInterrupt):
        tuner(tmp_path / "killed", first, name).search()
    tuner(tmp_path / "killed", second, name).search()
    assert first.done | second.done == whole.done
    assert not first.done.keys() & second.done.keys()


@pytest.mark.parametrize("name", ["random", "bayesian"])
def test_nothing_is_tried_twice_where_scores_say_nothing(tmp_path, name):
    def flat(number, values):
        tried.append(values[PATH])
        return {"score": 0.5}

    tried = []
    tuner(tmp_path, flat, name, trials=5, space=Space({PATH: Choice(*range(5))})).search()
    assert sorted(tried) == list(range(5))


def test_a_trial_that_was_begun_and_not_yet_noted_is_run(tmp_path):
    first, second = Runs(2, KeyboardInterrupt()), Runs()
    with pytest.raises(KeyboardInterrupt):
        tuner(tmp_path, first).search()
    noted = tmp_path / "trials" / "oracle.json"
    state = json.loads(noted.read_text())
    state |= {"ongoing_trials": {}, "start_order": state["start_order"][:2]}
    noted.write_text(json.dumps(state))
    tuner(tmp_path, second).search()
    assert sorted([*first.done, *second.done]) == ["0", "1", "2", "3", "4", "5"]


def test_wrong_input_ends_the_search_and_counts_no_failed_trial(tmp_path):
    wrong = InputError("Expected something else. Received: this. Change it.")
    runs = Runs(2, wrong)
    stopped = tuner(tmp_path, runs)
    with pytest.raises(InputError, match="Expected something else"):
        stopped.search()
    statuses = [trial.status for trial in stopped.oracle.trials.values()]
    assert statuses == ["COMPLETED", "COMPLETED", "RUNNING"]
    tuner(tmp_path, runs).search()
    assert len(runs.done) == 6


def test_what_diverges_is_a_failed_trial_and_the_search_goes_on(tmp_path):
    runs = Runs(2, DivergedError("Expected a finite loss."))
    whole = tuner(tmp_path, runs)
    whole.search()
    statuses = [trial.status for trial in whole.oracle.trials.values()]
    assert statuses.count("FAILED") == 1 and statuses.count("COMPLETED") == 5


def test_a_space_that_is_exhausted_ends_the_search(tmp_path):
    runs = Runs()
    tuner(tmp_path, runs, space=Space({PATH: Choice(0.0, 0.5, 1.0)})).search()
    assert sorted(values[PATH] for values in runs.done.values()) == [0.0, 0.5, 1.0]


@pytest.mark.slow
def test_the_hyper_model_serves_keras_tuner_s_own_tuners(tmp_path):
    recipe = load_recipe("digits_resnet8_se", smoke=True).replace({"dreal.instrument_fraction": 0})
    hypermodel = RecipeHyperModel(recipe, Space({PATH: Range(0.1, 1.0, log=True)}))
    search = keras_tuner.RandomSearch(
        hypermodel,
        keras_tuner.Objective("val_accuracy", "max"),
        max_trials=1,
        directory=tmp_path,
        seed=1,
    )
    search.search(epochs=1, verbose=0)
    (best,) = search.get_best_hyperparameters()
    assert 0.1 <= hypermodel.recipe_of(best).dreal.actor_weight <= 1.0
    (trial,) = search.oracle.get_best_trials()
    assert 0 <= trial.score <= 1 and trial.metrics.exists("val_loss")


def test_a_recipe_that_cannot_be_built_stops_keras_tuner_at_once(tmp_path):
    recipe = load_recipe("digits_resnet8_se", smoke=True)
    hypermodel = RecipeHyperModel(recipe, Space({"attention.stages": Choice(("conv8",), ("conv9",))}))
    with pytest.raises(keras_tuner.errors.FatalValueError, match="`attention_stages` must be among"):
        keras_tuner.RandomSearch(hypermodel, "val_accuracy", directory=tmp_path)
    assert not list(tmp_path.rglob("trial.json"))


PICTURE = b"\x89PNG\r\n\x1a\n"
DAMAGED = [
    (file, c) for file in ("oracle.json", "trial_0/trial.json") for c in (b"", b"{}", b"[]", PICTURE)
]
DAMAGED += [
    ("tuner0.json", b""),
    ("tuner0.json", PICTURE),
    ("oracle.json", "half"),
    ("oracle.json", "other"),
]


@pytest.mark.parametrize(("file", "content"), DAMAGED)
def test_a_damaged_state_is_refused_by_name(tmp_path, file, content):
    tuner(tmp_path, Runs(), trials=2).search()
    path = tmp_path / "trials" / file
    whole = path.read_bytes()
    others = {"half": whole[: len(whole) // 2], "other": whole.replace(PATH.encode(), b"dreal.penalty")}
    path.write_bytes(others.get(content, content))
    with pytest.raises(
        InputError, match="Expected the state of a search. Received: .*trials.*Restore the"
    ):
        tuner(tmp_path, Runs(), trials=2)


def test_a_trial_that_is_lost_is_noticed(tmp_path):
    tuner(tmp_path, Runs(), trials=2).search()
    (tmp_path / "trials" / "trial_1" / "trial.json").unlink()
    with pytest.raises(InputError, match="trials'.*lacks trial.json of the trials 1"):
        tuner(tmp_path, Runs(), trials=2)
