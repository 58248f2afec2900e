import itertools
import json
import typing

import pytest

import dreal_tf
from dreal_tf import Recipe
from dreal_tf.errors import InputError
from dreal_tf.recipe import SCHEMA, Attention, AttentionKind, Data, Schedule

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
        ({"optim.learning_rate": "NaN"}, "optim.learning_rate"),
        ({"optim.learning_rate": "Infinity"}, "optim.learning_rate"),
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


def test_json_says_its_schema_and_who_wrote_it():
    written = json.loads(Recipe().to_json())
    assert written["schema"] == SCHEMA and written["dreal_tf"] == dreal_tf.__version__
    later = json.dumps(written | {"schema": SCHEMA + 1, "dreal_tf": "9.1"})
    with pytest.raises(InputError, match="of schema 3, written by dreal_tf 9.1. Install that version"):
        Recipe.from_json(later)


def test_a_recipe_of_the_first_schema_is_converted():
    """Every field that has another name now, as version 0.1.0 wrote it before schemas had numbers."""
    first = json.loads(Recipe().to_json())
    del first["schema"], first["dreal_tf"]
    first["backbone"]["neck"] = first["backbone"].pop("bnneck") or True
    first["dreal"]["baseline"] = "static"
    first["dreal"]["exploration"] = ["baseline", "noise", "permuted"]
    del first["dreal"]["reference_action"]
    for number, (old, new) in enumerate(
        {
            "rate": "learning_rate",
            "critic_rate": "critic_learning_rate",
            "backbone_rate": "backbone_lr_multiplier",
            "attention_rate": "attention_lr_multiplier",
            "head_rate": "head_lr_multiplier",
        }.items(),
        start=2,
    ):
        first["optim"][old] = float(number)
        del first["optim"][new]
    recipe = Recipe.from_json(json.dumps(first))
    optim = recipe.optim
    assert recipe.backbone.bnneck and recipe.dreal.reference_action == "static"
    assert recipe.dreal.exploration == ("reference", "noise", "permuted")
    multipliers = optim.backbone_lr_multiplier, optim.attention_lr_multiplier, optim.head_lr_multiplier
    assert (optim.learning_rate, optim.critic_learning_rate, *multipliers) == (2, 3, 4, 5, 6)
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_an_old_name_is_refused_with_the_new_one():
    with pytest.raises(InputError, match="'optim.rate', the old name of 'optim.learning_rate'"):
        Recipe().replace({"optim.rate": 0.1})


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
