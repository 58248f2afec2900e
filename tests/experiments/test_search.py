"""Search spaces, objectives, and the role of a process."""

import math

import keras_tuner
import pytest

from dreal_tf import Choice, Range, Search, Space, load_recipe
from dreal_tf.errors import InputError
from dreal_tf.experiments.search import Objective, bundled_spaces, load_space, own_role
from dreal_tf.training.recipe_files import bundled_recipes

ACCURACY, LOSS = Objective("val_accuracy"), Objective("val_loss")
NOTHING = float("nan")


@pytest.mark.parametrize(
    ("objective", "curve", "best"),
    [
        (ACCURACY, [0.5, 0.75, 0.75, 0.25], (2, 0.75)),
        (LOSS, [2.0, 0.5, 0.5, 1.0], (2, 0.5)),
        (LOSS, [NOTHING, 3.0, -math.inf], (2, 3.0)),
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
    ("fields", "message"),
    [
        ({"dreal.actor_weight": Range(-1.0, 1.0)}, "greater than or equal to 0.*actor_weight=-1.0"),
        ({"dreal.critic": Choice("papr", "direct")}, "Received: 'papr'. Did you mean 'paper'"),
        (
            {"attention.reduction": Choice(2, 4), "attention.kind": Choice("se", "seq")},
            "Received: 'seq'",
        ),
        (
            {"attention.kind": Choice(["se", "cbam"]), "attention.reduction": Choice(2, 4)},
            "'se', 'cbam'",
        ),
    ],
)
def test_a_space_that_the_recipe_does_not_take_is_refused_by_its_field(fields, message):
    with pytest.raises(InputError, match=message + ".*of the search space") as caught:
        Space(fields).check(load_recipe("digits_resnet8_se"))
    assert "Expected" in str(caught.value)


def test_a_space_may_choose_among_parts_of_other_libraries_and_of_plugins():
    names = Choice("resnet", "keras.applications.MobileNetV3Small")
    Space({"backbone.name": names, "backbone.width": Choice(0.5, 1.0)}).check(
        load_recipe("digits_resnet8_se", smoke=True)
    )


def test_an_error_in_a_space_file_names_the_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from dreal_tf import Space\n\n\ndef space(smoke=False):\n    return Space({})\n")
    with pytest.raises(InputError, match="at least one field by dotted path.*mine.py"):
        load_space(file)


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


@pytest.mark.parametrize("name", ["a/b", "../x", "a\\b", "x" * 200, "a\nb", "."])
@pytest.mark.parametrize("others", [{}, {"ORACLE_IP": "127.0.0.1", "ORACLE_PORT": "8000"}])
def test_a_name_that_is_no_file_is_refused(monkeypatch, name, others):
    for variable, value in (others | {"TUNER_ID": name}).items():
        monkeypatch.setenv(f"KERASTUNER_{variable}", value)
    with pytest.raises(
        InputError, match="Expected KERASTUNER_TUNER_ID to be chief, or a worker's name"
    ):
        own_role()


EVERY_KIND = {
    "dreal.actor_weight": Range(0.01, 1.0, log=True),
    "dreal.critic_units": Range(8, 64),
    "dreal.reference_action": Choice("mean", "static"),
    "optim.momentum": Choice(0.8, 0.9),
    "dreal.trust": Choice(True, False),
    "dreal.stages": Choice(None, ("conv4",), ("conv3", "conv4")),
    "attention.reduction": Choice(None, 2),
}


def sampled(space, seed):
    hp = keras_tuner.HyperParameters()
    space.declare(hp)
    return {field.name: field.random_sample(seed) for field in hp.space}


@pytest.mark.parametrize("recipe", bundled_recipes())
@pytest.mark.parametrize("name", bundled_spaces())
def test_every_recipe_takes_every_bundled_space(name, recipe):
    load_space(name).check(load_recipe(recipe))
    load_space(name, smoke=True).check(load_recipe(recipe, smoke=True))


def test_the_issue_s_settings_can_be_searched():
    wanted = [
        "actor_weight",
        "penalty",
        "reference_action",
        "critic",
        "critic_units",
        "reward_fraction",
        "stages",
    ]
    assert {f"dreal.{field}" for field in wanted} | {"optim.critic_learning_rate"} <= set(
        load_space("method").fields
    )
    assert "attention.kind" in load_space("attention").fields
    assert {"optim.learning_rate", "optim.weight_decay"} <= set(load_space("optimizer").fields)


def test_what_is_sampled_is_what_the_recipe_gets():
    space, recipe = Space(EVERY_KIND), load_recipe("digits_resnet8_se")
    seen = {path: set() for path in EVERY_KIND}
    for seed in range(20):
        changes = space.changes(sampled(space, seed))
        tree = recipe.replace(changes).model_dump()
        for path, value in changes.items():
            section, field = path.split(".")
            assert tree[section][field] == value and type(tree[section][field]) is type(value)
            seen[path].add(value)
    assert seen["dreal.stages"] == {None, ("conv4",), ("conv3", "conv4")}
    assert seen["dreal.trust"] == {True, False} and seen["attention.reduction"] == {None, 2}
    assert all(0.01 <= value <= 1 for value in seen["dreal.actor_weight"])
    assert all(8 <= value <= 64 for value in seen["dreal.critic_units"])


def test_on_its_way_between_processes_a_value_stays_what_it_is():
    space = Space(EVERY_KIND)
    for seed in range(20):
        hp = keras_tuner.HyperParameters()
        space.declare(hp)
        hp.values = sampled(space, seed)
        there = keras_tuner.HyperParameters.from_proto(hp.to_proto())
        assert space.changes(there.values) == space.changes(hp.values)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "at least one field"),
        (
            {"dreal.actor_wait": Range(0.0, 1.0)},
            "'dreal.actor_wait'. Did you mean 'dreal.actor_weight'",
        ),
        ({"dreal.enabled": Choice(True, False)}, "'dreal.enabled'; the recipe without the method is"),
        ({"name": Choice("a", "b")}, "'name'; a search names its trials itself"),
        (
            {"dreal.penalty": (0.0, 1.0)},
            r"a Choice or a Range for dreal.penalty. Received: \(0.0, 1.0\)",
        ),
        ({"dreal.penalty": Range(1.0, 1.0)}, "two rising numbers for dreal.penalty"),
        ({"dreal.penalty": Range("0", 1)}, "two rising numbers for dreal.penalty"),
        ({"dreal.penalty": Range(0.0, 1.0, log=True)}, "two rising numbers above 0"),
    ],
)
def test_what_is_no_space_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Space(fields)


@pytest.mark.parametrize("values", [(), (1, 1), (None, None)])
def test_a_choice_has_values_that_differ(values):
    with pytest.raises(InputError, match=r"Received: Choice\(.*Name each once"):
        Choice(*values)


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("dreal.reference_action", Choice("mean", "median"), "dreal.reference_action.*'median'"),
        ("dreal.actor_weight", Range(-1.0, 1.0), "dreal.actor_weight.*-1.0"),
        ("optim.momentum", Range(0.5, 1.0), "optim.momentum.*1.0"),
    ],
)
def test_values_that_a_recipe_refuses_are_reported_before_anything_runs(path, values, message):
    with pytest.raises(InputError, match=message):
        Space({path: values}).check(load_recipe("digits_resnet8_se"))


def test_only_fields_of_a_plain_network_change_it():
    assert not load_space("method").changes_network
    assert load_space("optimizer").changes_network and load_space("attention").changes_network


def test_an_unknown_name_and_a_file_without_a_space_are_refused(tmp_path):
    with pytest.raises(InputError, match="Expected a search space.*Did you mean 'method'"):
        load_space("methd")
    (tmp_path / "mine.py").write_text("def spaces(smoke=False):\n    return None\n")
    with pytest.raises(InputError, match=r"Expected a function `space\(smoke=False\)` in a space file"):
        load_space(tmp_path / "mine.py")
