"""Studies, and how wrong ones are refused."""

import pydantic
import pytest

from dreal_tf import ActorOnly, Directions, Study
from dreal_tf.errors import InputError
from dreal_tf.experiments.study import bundled_studies, check_network, load_study, network_run

GOOD = {
    "what": "actor_only",
    "recipe": "digits_resnet8_se",
    "arms": {"paper": {"dreal.critic": "paper"}},
}


def file_of(folder, **fields):
    path = folder / "mine.py"
    path.write_text(
        "from dreal_tf import ActorOnly, Directions, Study\n"
        f"def study(smoke=False):\n    return Study(**{GOOD | fields!r})\n"
    )
    return path


@pytest.mark.parametrize("name", bundled_studies())
def test_every_bundled_study_loads_both_ways_with_the_same_arms(name):
    whole, small = load_study(name), load_study(name, smoke=True)
    assert whole.name == name and small.name == f"{name}_smoke"
    assert whole.what == small.what and list(whole.arms) == list(small.arms)
    assert len(small.seeds) < len(whole.seeds)
    name = small.recipe_of(next(iter(small.arms)), 0).data.name
    assert name in ("digits", "generated")  # No data has to be brought.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"what": "fly"}, "'train', 'directions' or 'actor_only'. Received: 'fly'"),
        ({"arms": {}}, "Expected arms of a study.*at least 1 item.*Received: {}.*for example arms={'b"),
        ({"seeds": 3}, r"Expected seeds of a study.*Received: 3.*for example seeds=\(0, 1, 2\)"),
        ({"arms": {"a/b": {}}}, "Expected arms.a/b"),
        ({"seeds": ()}, "at least one. Received: seeds=().*Name each once"),
        ({"seeds": (1, 1)}, r"seeds that differ.*seeds=\(1, 1\)"),
        ({"seeds": (-1,)}, "greater than or equal to 0.*Received: -1"),
        ({"sedes": (0,)}, "Received: 'sedes'. Did you mean 'seeds'"),
        ({"actor_only": {"stepps": 3}}, "option of 'actor_only'.*'stepps'. Did you mean 'steps'"),
        ({"actor_only": {"learning_rate": 0}}, "Expected actor_only.learning_rate.*greater than 0"),
        ({"directions": {"steps": 3}}, "Expected options of the experiment 'actor_only' alone"),
        ({"recipe": "digits_resnet8"}, "Expected a recipe.*Did you mean 'digits_resnet8_se'"),
        ({"changes": {"data.nme": 1}}, "recipe path.*'data.nme'"),
        ({"changes": {"optim.learning_rate": -1}}, "Expected optim.learning_rate to be greater than 0"),
        ({"arms": {"a": {"dreal.critic": "oracle"}}}, "Expected a dreal.critic, one of"),
        (
            {"arms": {"a": {"optim.learning_rate": 0.5}}},
            "changes the critic alone.*optim.learning_rate in the arm 'a'",
        ),
        ({"arms": {"a": {"dreal.enabled": False}}}, "Expected a critic in each arm"),
        ({"arms": {"a": {"actor_only.rat": 1}}}, "option of 'actor_only'.*'actor_only|rat'"),
    ],
)
def test_a_study_that_is_none_is_refused_in_three_parts(tmp_path, fields, message):
    with pytest.raises(InputError, match=message) as caught:
        load_study(file_of(tmp_path, **fields))
    message = str(caught.value)
    assert "Expected" in message and "Received" in message and "mine.py" in message


def test_an_option_of_an_arm_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(InputError, match="Expected steps of a study.*greater than 0"):
        load_study(file_of(tmp_path, arms={"a": {"actor_only.steps": 0}}))


def test_what_is_no_study_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="Did you mean 'critic_actor_only'"):
        load_study("critic_actor_onl")
    with pytest.raises(InputError, match="Expected a study file.*No such file"):
        load_study(tmp_path / "none.py")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(InputError, match=r"Expected a function `study\(smoke=False\)`"):
        load_study(tmp_path / "empty.py")
    (tmp_path / "three.py").write_text("def study(smoke=False):\n    return 3\n")
    with pytest.raises(InputError, match="Expected a `Study` from three.py. Received: int"):
        load_study(tmp_path / "three.py")


def test_a_study_cannot_be_changed_but_replaced():
    study = Study(**GOOD)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        study.seeds = (7,)
    with pytest.raises(pydantic.ValidationError, match="seeds that differ"):
        study.replace(seeds=(1, 1))
    assert study.replace(seeds=(7,)).seeds == (7,)


def test_an_arm_changes_the_recipe_after_the_study_and_options_by_their_section():
    study = Study(
        what="actor_only",
        recipe="digits_resnet8_se",
        changes={"dreal.critic": "direct", "data.batch_size": 32},
        arms={"a": {}, "b": {"dreal.critic": "paper", "actor_only.learning_rate": 0.5}},
        actor_only=ActorOnly(steps=7),
    )
    assert study.recipe_of("a", 3).dreal.critic == "direct"
    assert study.recipe_of("b", 3).dreal.critic == "paper"
    assert study.recipe_of("b", 3).data.batch_size == 32 and study.recipe_of("b", 3).run.seed == 3
    assert study.options_of("b") == ActorOnly(steps=7, learning_rate=0.5)
    assert study.options_of("a") == ActorOnly(steps=7)
    assert study.recipe_of("a", 0, "/there").data.folder == "/there"


def test_the_network_is_that_of_the_baseline_whatever_the_method_was_told():
    study = Study(**GOOD, changes={"dreal.actor_weight": 0.7, "data.batch_size": 32})
    network = study.network_recipe(2)
    assert not network.dreal.enabled and network.run.seed == 2 and network.data.batch_size == 32
    assert network == Study(**GOOD, changes={"data.batch_size": 32}).network_recipe(2)


def test_settings_tell_arms_apart_but_not_seeds_nor_where_the_data_lies():
    study = Study(**GOOD | {"arms": {"a": {}, "b": {}, "c": {"actor_only.learning_rate": 0.5}}})
    assert study.settings_of("a") == study.settings_of("b") != study.settings_of("c")
    moved = study.replace(seeds=(9,), changes={"data.folder": "/there"})
    assert moved.settings_of("a") == study.settings_of("a")
    assert study.replace(actor_only=ActorOnly(steps=5)).settings_of("a")["actor_only.steps"] == 5


def test_options_of_another_experiment_may_stay_at_their_defaults():
    assert Study(**GOOD, directions=Directions()).what == "actor_only"


def test_a_network_of_another_recipe_is_not_taken(tmp_path):
    study = Study(**GOOD)
    run = network_run(tmp_path, 0)
    with pytest.raises(InputError, match="Expected a finished run.*leave --networks out"):
        check_network(run, study.network_recipe(0))
    run.begin(study.recipe_of("paper", 0).replace({"optim.learning_rate": 0.3}))
    run.metrics.write_text("{}")
    with pytest.raises(InputError, match="differs in optim.learning_rate, dreal.enabled"):
        check_network(run, study.network_recipe(0))
    with pytest.raises(InputError, match="differs in .*run.seed"):
        check_network(run, study.network_recipe(1))
