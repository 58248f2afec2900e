"""Which epoch and which trial is the better one, and when a trial ends."""

import math

import pytest

from dreal_tf import Search, load_recipe
from dreal_tf.errors import InputError
from dreal_tf.experiments.search import Objective, load_space, own_role

ACCURACY, LOSS = Objective("val_accuracy"), Objective("val_loss")
NOTHING = float("nan")


@pytest.mark.parametrize(
    ("objective", "curve", "best"),
    [
        (ACCURACY, [0.5, 0.75, 0.75, 0.25], (1, 0.75)),
        (LOSS, [2.0, 0.5, 0.5, 1.0], (1, 0.5)),
        (LOSS, [NOTHING, 3.0, -math.inf], (1, 3.0)),
        (ACCURACY, [NOTHING], (None, None)),
        (ACCURACY, [], (None, None)),
    ],
)
def test_the_best_of_a_curve_is_its_first(objective, curve, best):
    assert objective.best(curve) == best


@pytest.mark.parametrize(
    ("curve", "epochs", "patience", "ended"),
    [
        ([], None, 1, False),
        ([0.5], 1, None, True),
        ([0.5, 0.4], None, None, False),
        ([0.5, 0.4], None, 1, True),
        ([0.5, 0.5, 0.6], None, 2, False),
        ([0.6, 0.5, 0.6], None, 2, True),
        ([NOTHING, NOTHING], None, 2, True),
        ([NOTHING], None, 2, False),
    ],
)
def test_a_trial_ends_by_its_epochs_or_for_lack_of_patience(curve, epochs, patience, ended):
    assert ACCURACY.ended(curve, epochs, patience) is ended


def test_improvement_has_the_sign_of_better():
    assert ACCURACY.improvement(0.75, over=0.5) == 0.25 == LOSS.improvement(0.5, over=0.75)
    assert ACCURACY.improvement(None, over=0.5) is None


@pytest.mark.parametrize("name", ["val_accuracy", "val_loss", "val_alignment/conv2_1/se"])
def test_what_is_logged_can_be_an_objective(name):
    Objective(name).check()
    Objective(name).check_logged()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tuner": "grid"}, "Expected a tuner, one of: bayesian, hyperband, random. Received: 'grid'"),
        ({"objective": "accuracy"}, "on validation data, such as val_accuracy.*Put val_ before"),
        ({"objective": "val_acuracy"}, "logged objective.*Did you mean 'val_accuracy'"),
        ({"strategy": "both"}, "Expected a strategy, one of: auto"),
        ({"strategy": "multi_worker"}, "trials of one machine each.*chief and workers"),
        ({"patience": 0}, "`patience` must be at least 1"),
    ],
)
def test_a_search_that_cannot_be_is_refused(fields, message):
    search = Search(load_recipe("digits_resnet8_se"), load_space("method"), **fields)
    with pytest.raises(InputError, match=message):
        search.check()
        search.check_names()


@pytest.mark.parametrize(
    ("variables", "serves", "works"),
    [
        ({}, False, False),
        ({"TUNER_ID": "one"}, False, False),
        ({"TUNER_ID": "chief", "ORACLE_IP": "127.0.0.1", "ORACLE_PORT": "8000"}, True, False),
        ({"TUNER_ID": "worker1", "ORACLE_IP": "127.0.0.1", "ORACLE_PORT": "8000"}, False, True),
    ],
)
def test_the_environment_says_who_serves(monkeypatch, variables, serves, works):
    for name, value in variables.items():
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    role = own_role()
    assert (role.serves, role.works_for_another) == (serves, works)


@pytest.mark.parametrize(
    "variables",
    [
        {"ORACLE_IP": "127.0.0.1"},
        {"ORACLE_PORT": "8000"},
        {"TUNER_ID": "w", "ORACLE_IP": "127.0.0.1", "ORACLE_PORT": "x"},
    ],
)
def test_a_role_given_by_half_is_refused(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    with pytest.raises(InputError, match="Expected KERASTUNER_TUNER_ID.*Set all three, or none"):
        own_role()
