import itertools
import json
import typing

import pytest

from dreal_tf import Recipe
from dreal_tf.errors import InputError
from dreal_tf.recipe import Attention, Data, Schedule
from dreal_tf.recipe_sections import AttentionKind

KINDS = typing.get_args(AttentionKind)


def test_fields_are_replaced_by_path_and_typed():
    recipe = Recipe().replace(
        {
            "dreal.actor_weight": "0.25",
            "schedule.epochs": 7,
            "dreal.enabled": "false",
            "attention.stages": "conv3,conv4",
            "schedule.milestones": "[0.3, 0.6]",
            "data.train_limit": "null",
        }
    )
    assert recipe.dreal.actor_weight == 0.25 and recipe.schedule.epochs == 7
    assert recipe.dreal.enabled is False and recipe.attention.stages == ("conv3", "conv4")
    assert recipe.schedule.milestones == (0.3, 0.6) and recipe.data.train_limit is None


def test_all_stages_can_be_named_again():
    recipe = Recipe().replace({"dreal.stages": "conv4"})
    assert recipe.replace({"dreal.stages": "all"}).dreal.stages is None


def test_text_that_looks_like_a_number_stays_text():
    assert Recipe().replace({"data.folder": "2024"}).data.folder == "2024"
    assert Recipe().replace({"data.folder": "null"}).data.folder is None


def test_replacing_leaves_the_old_recipe_as_it_was():
    recipe = Recipe()
    recipe.replace({"run.seed": 5})
    assert recipe.run.seed == 0
    with pytest.raises(Exception, match="frozen"):
        recipe.run.seed = 3


def test_another_kind_drops_the_arguments_of_the_old_one_and_keeps_those_given_with_it():
    old = Recipe(
        attention=Attention(
            kind="sasa", heads=2, kernel_size=5, blocks="last", stages=("conv2",), pruned=("conv2_1",)
        )
    )
    assert old.replace({"attention.kind": "se"}).attention == Attention(kind="se")
    assert old.replace({"attention.kind": "sasa"}) == old
    together = [("attention.kind", "cbam"), ("attention.reduction", 4), ("attention.stages", "conv3")]
    for changes in itertools.permutations(together):
        expected = Attention(kind="cbam", reduction=4, stages=("conv3",))
        assert old.replace(dict(changes)).attention == expected


def test_modules_of_another_kind_still_start_as_identity_unless_they_replace_a_convolution():
    old = Recipe(attention=Attention(kind="se", identity_start=True))
    kept = {kind for kind in KINDS if old.replace({"attention.kind": kind}).attention.identity_start}
    assert kept == set(KINDS) - {"aa", "sasa"}
    given = {"attention.kind": "aa", "attention.identity_start": True}
    assert old.replace(given).attention.identity_start


def test_without_attention_the_method_is_off_unless_it_is_asked_for():
    none = Recipe().replace({"attention.kind": "none"})
    assert not none.dreal.enabled and none.attention == Attention(kind="none")
    contradictory = {"dreal.enabled": "true", "attention.kind": "none"}
    assert Recipe().replace(contradictory).dreal.enabled  # `build` refuses it.
    assert Recipe().replace({"attention.kind": "cbam"}).dreal.enabled


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"dreal.actor_weihgt": 1},
            "Received: 'dreal.actor_weihgt'. Did you mean 'dreal.actor_weight'",
        ),
        ({"schedule": 1}, "Expected a recipe path"),
        ({"schedule.epochs": 0}, "schedule.epochs to be greater than 0. Received: schedule.epochs=0"),
        ({"schedule.epochs": "many"}, "Received: schedule.epochs='many'"),
        ({"dreal.reward_fraction": 1.5}, "less than or equal to 1"),
        ({"optim.rate": "NaN"}, "optim.rate"),
        ({"optim.rate": "Infinity"}, "optim.rate"),
        ({"attention.kind": "see"}, "attention.kind"),
        ({"schedule.milestones": [0.9, 0.1]}, "schedule.milestones to be a rising sequence"),
        ({"run.seed": 5_000_000_000}, "run.seed=5000000000"),
        ({"name": "../../elsewhere"}, "name="),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Recipe().replace(changes)


def test_json_gives_back_the_same_recipe():
    recipe = Recipe(
        name="mine", data=Data(batch_size=32), schedule=Schedule(epochs=3, milestones=(0.2,))
    ).replace({"dreal.stages": ["conv4"]})
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json", "Expected a recipe as JSON. Received: the text, which is not JSON"),
        (json.dumps({"dreal": {"wait": 1}}), "dreal.wait"),
        (json.dumps([1]), "Expected"),
    ],
)
def test_json_that_is_no_recipe_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        Recipe.from_json(text)
