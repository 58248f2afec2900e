import inspect
import itertools
import json
import re
import typing

import pytest

import dreal_tf
from dreal_tf import Recipe
from dreal_tf.data.sections import Data, Section
from dreal_tf.errors import InputError
from dreal_tf.layers import ACTORS
from dreal_tf.training.recipe import (
    KINDS,
    SCHEMA,
    Attention,
    Backbone,
    Dreal,
    Optim,
    PluginAttention,
    Schedule,
)

ATTENTION = [kind for kind in KINDS["attention"][2] if kind]


def test_fields_are_replaced_by_path_and_typed():
    recipe = Recipe().replace(
        {
            "dreal.actor_weight": "0.25",
            "schedule.epochs": 7,
            "dreal.enabled": "false",
            "attention.stages": "conv3,conv4",
            "schedule.decay": "steps",
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
            "sasa", heads=2, kernel_size=5, blocks="last", stages=("conv2",), pruned=("conv2_1",)
        )
    )
    assert old.replace({"attention.kind": "se"}).attention == Attention("se")
    assert old.replace({"attention.kind": "sasa"}) == old
    together = [("attention.kind", "cbam"), ("attention.reduction", 4), ("attention.stages", "conv3")]
    for changes in itertools.permutations(together):
        expected = Attention("cbam", reduction=4, stages=("conv3",))
        assert old.replace(dict(changes)).attention == expected


def test_modules_of_another_kind_still_start_as_identity_if_they_can():
    old = Recipe(attention=Attention("se", identity_start=True))
    changed = {kind: old.replace({"attention.kind": kind}).attention for kind in ATTENTION}
    kept = {kind for kind, attention in changed.items() if getattr(attention, "identity_start", False)}
    assert kept == set(ATTENTION) - {"none", "aa", "sasa"}
    with pytest.raises(InputError, match="no attention.identity_start with attention.kind='aa'"):
        old.replace({"attention.kind": "aa", "attention.identity_start": True})


def test_another_backbone_optimizer_schedule_or_critic_keeps_what_all_kinds_share():
    old = Recipe(
        backbone=Backbone("resnet", depth=56, shortcut="projection", bnneck=True, frozen=("conv1",)),
        optim=Optim("sgd", learning_rate=0.3, momentum=0.5, clip_norm=1.0),
        schedule=Schedule("steps", epochs=7, milestones=(0.9,)),
        dreal=Dreal("comparative", noise=0.1, actor_weight=0.7),
    )
    changes = {"backbone.name": "imagenet_resnet", "optim.name": "adamw", "schedule.decay": "constant"}
    new = old.replace(changes | {"dreal.critic": "paper"})
    assert new.backbone == Backbone("imagenet_resnet", bnneck=True, frozen=("conv1",))
    assert new.optim == Optim("adamw", learning_rate=0.3, clip_norm=1.0)
    assert new.schedule == Schedule("constant", epochs=7)
    assert new.dreal == Dreal("paper", actor_weight=0.7)


def test_the_kinds_of_attention_are_the_layers_and_their_fields_the_layers_arguments():
    placement = {"kind", "stages", "blocks", "pruned", "gates", "insert_after", "identity_start"}
    assert set(ATTENTION) == {"none", *ACTORS}
    for kind, actor in ACTORS.items():
        model = KINDS["attention"][2][kind]
        arguments = set(inspect.signature(actor).parameters)
        assert set(model.model_fields) - placement <= arguments, kind
        # A kind that takes the place of a convolution can neither be inserted nor start as identity.
        assert ("identity_start" in model.model_fields) == (actor.placement.where != "convolution")


def test_every_field_is_described_and_every_number_has_a_unit():
    models = [m for name, (_, _, kinds) in KINDS.items() for m in dict.fromkeys(kinds.values())]
    plain = [Recipe.model_fields[name].annotation for name in ("data", "augment", "run")]
    for model in models + plain:
        assert issubclass(model, Section) and model.__doc__, model
        for name, field in model.model_fields.items():
            text = field.description
            assert text and text.endswith("."), (model, name)
            parts = typing.get_args(field.annotation) or (field.annotation,)
            number = {int, float} & {*parts, *(type(part) for part in parts)}
            if number and name not in ("blocks", "shape"):
                assert re.search(r"\([\w ,%]+\)\.$", text), (model.__name__, name, text)


def test_the_schema_is_json_schema_and_names_every_field():
    schema = json.dumps(Recipe.model_json_schema())
    assert all(f'"{path.partition(".")[2]}"' in schema for path in Recipe.paths() if "." in path)


def test_plugins_are_named_by_module_and_attribute():
    recipe = Recipe().replace({"attention.kind": "mine:Gate", "attention.arguments": '{"width": 3}'})
    assert recipe.attention == PluginAttention(kind="mine:Gate", arguments={"width": 3})
    assert Recipe.from_json(recipe.to_json()) == recipe
    with pytest.raises(InputError, match="attention.kind, one of: .*module:name.*Received: 'mine:'"):
        Recipe().replace({"attention.kind": "mine:"})


@pytest.mark.parametrize("name", ["keras.applications.EfficientNetB0", "keras_hub.models.MiTBackbone"])
def test_any_keras_backbone_can_be_named(name):
    recipe = Recipe().replace({"backbone.name": name, "attention.insert_after": "a_*,b"})
    assert recipe.backbone.name == name and recipe.attention.insert_after == ("a_*", "b")
    assert recipe.replace({"attention.kind": "eca"}).attention.insert_after == ("a_*", "b")


def test_without_attention_the_method_is_off_unless_it_is_asked_for():
    none = Recipe().replace({"attention.kind": "none"})
    assert not none.dreal.enabled and none.attention == Attention("none")
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
        (
            {"schedule.decay": "steps", "schedule.milestones": [0.9, 0.1]},
            "schedule.milestones to be a rising sequence",
        ),
        (
            {"schedule.milestones": [0.9]},
            "no schedule.milestones with schedule.decay='cosine'.*'steps'",
        ),
        ({"optim.name": "adam", "optim.momentum": 0.5}, "no optim.momentum with optim.name='adam'"),
        ({"dreal.critic": "paper", "dreal.noise": 1}, "no dreal.noise with dreal.critic='paper'"),
        ({"attention.kind": "srm", "attention.reduction": 4}, "choose attention.kind='se' or 'cbam'"),
        ({"attention.kind": "eca", "attention.kernel_size": 4}, "attention.kernel_size to be an odd"),
        ({"run.seed": 5_000_000_000}, "run.seed=5000000000"),
        ({"name": "../../elsewhere"}, "name="),
        ({"name": "a\0b"}, "name to be a folder's name"),
        ({"name": "a" * 101}, "name to be a folder's name.*at most 100 characters"),
        ({"data.folder": "a\0b"}, "data.folder to be text without NUL"),
        ({"run.plugins": ["a\0b"]}, "run.plugins to be text without NUL"),
        ({"data.folder": "x" * 10**6}, "data.folder to have at most 4096 characters"),
        ({"data.images": 1e12}, "data.images to be less than"),
        ({"data.batch_size": "9" * 5000}, "data.batch_size"),
        ({"run.seed": 10**5000}, "Received: run.seed=an int that cannot be shown"),
        ({"data.shape": "[" * 10**5}, "data.shape to be a valid tuple"),
        ({"augment.resized_crop": 1e-300}, "augment.resized_crop to be greater than"),
        ({"data.validation_fraction": 1e-300}, "data.validation_fraction to be greater than"),
        ({"augment.rand_augment": 10**9}, "augment.rand_augment to be less than"),
        ({"dreal.critic_units": 10**9}, "dreal.critic_units to be less than"),
        ({"backbone.width": 1e9}, "backbone.width to be less than"),
        ({"backbone.depth": 6 * 10**6 + 2}, "up to the 1202 of the paper"),
        ({"data.image_size": 10**6}, "data.image_size to be less than"),
        ({"optim.learning_rate": 1e300}, "optim.learning_rate to be less than"),
        ({"attention.kind": "a:B", "attention.arguments": {"x": float("inf")}}, "that JSON can hold"),
        ({"attention.kind": "a:B", "attention.arguments": {"x": 10**5000}}, "that JSON can hold"),
        ({"attention.arguments": {}}, "no attention.arguments with .*'se'.*'module:name'"),
        ({5: 1}, "Expected a recipe path.*Received: 5"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Recipe().replace(changes)


def test_json_gives_back_the_same_recipe():
    recipe = Recipe(
        name="mine", data=Data(batch_size=32), schedule=Schedule("steps", epochs=3, milestones=(0.2,))
    ).replace({"dreal.stages": ["conv4"]})
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_json_says_its_schema_and_who_wrote_it():
    written = json.loads(Recipe().to_json())
    assert written["schema"] == SCHEMA and written["dreal_tf"] == dreal_tf.__version__
    later = json.dumps(written | {"schema": SCHEMA + 1, "dreal_tf": "9.1"})
    with pytest.raises(
        InputError, match=f"of schema {SCHEMA + 1}, written by dreal_tf 9.1. Install that version"
    ):
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


@pytest.mark.parametrize("dreal", [None, {}, {"actor_weight": 0.3}])
def test_weights_of_the_third_schema_are_absolute(dreal):
    third = {"schema": 3} | ({} if dreal is None else {"dreal": dreal})
    recipe = Recipe.from_json(json.dumps(third))
    assert recipe.dreal.actor_weight_mode == "absolute"
    assert recipe.dreal.actor_weight == (dreal or {}).get("actor_weight", 0.1)
    assert Recipe().dreal.actor_weight_mode == "relative"


@pytest.mark.parametrize(("schema", "start"), [(1, 1), (4, 1), (5, 0)])
def test_epochs_were_counted_from_0_until_the_fourth_schema(schema, start):
    recipe = json.loads(Recipe().replace({"dreal.start_epoch": 2}).to_json())
    recipe["dreal"]["start_epoch"] = start
    if schema < 5:
        assert Recipe.from_json(json.dumps(recipe | {"schema": schema})).dreal.start_epoch == 2
    else:
        with pytest.raises(InputError, match="dreal.start_epoch"):
            Recipe.from_json(json.dumps(recipe))


def test_an_old_name_is_refused_with_the_new_one():
    with pytest.raises(InputError, match="'optim.rate', the old name of 'optim.learning_rate'"):
        Recipe().replace({"optim.rate": 0.1})


def test_a_recipe_of_the_second_schema_loses_the_fields_of_other_kinds():
    """Schema 2 wrote the fields of all kinds into each section; those of others had no effect."""
    second = json.loads(Recipe().to_json()) | {"schema": 2}
    second["attention"] = {"kind": "srm", "stages": ["conv3"], "reduction": None, "heads": 4}
    second["backbone"] |= {"zero_gamma": False, "weights": None, "depth": 14}
    second["schedule"] |= {"milestones": [0.5], "factor": 0.1}
    second["optim"] |= {"name": "adam", "momentum": 0.9, "learning_rate": 0.2}
    second["dreal"] |= {"critic": "paper", "exploration": None, "noise": None, "start_epoch": 0}
    del second["optim"]["nesterov"]
    recipe = Recipe.from_json(json.dumps(second))
    assert recipe.attention == Attention("srm", stages=("conv3",))
    assert recipe.backbone == Backbone("resnet", depth=14) and recipe.schedule == Schedule()
    assert recipe.optim == Optim("adam", learning_rate=0.2) and recipe.dreal == Dreal(
        "paper", actor_weight_mode="absolute"
    )
    second["attention"]["redaction"] = 1
    with pytest.raises(InputError, match="attention.redaction"):
        Recipe.from_json(json.dumps(second))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json", "Expected a recipe as JSON. Received: the text, which is not JSON"),
        (json.dumps({"dreal": {"wait": 1}}), "dreal.wait"),
        (json.dumps([1]), "Expected"),
        ("[" * 10**5, "Expected a recipe as JSON"),
        ('{"run": {"seed": ' + "9" * 5000 + "}}", "Expected a recipe as JSON"),
        (b'{"name": "\xff"}', "Expected a recipe as JSON"),
        (json.dumps({"schema": 1, "dreal": 3}), "Expected a dreal.critic.*Received: 3"),
        (json.dumps({"schema": 1, "dreal": {"exploration": 5}}), "dreal.exploration"),
        (json.dumps({"schema": {"a": 1}}), "of schema {'a': 1}"),
        (json.dumps({"data": None}), "data to be a valid"),
        (json.dumps({"nothing": 1}), "Expected a recipe path, .*Received: 'nothing'"),
        (json.dumps({"name": "a\0b"}), "name to be a folder's name"),
    ],
)
def test_json_that_is_no_recipe_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        Recipe.from_json(text)


def test_an_argument_of_a_plugins_class_has_a_path_of_its_own():
    recipe = Recipe().replace({"attention.kind": "mine:Gate", "attention.arguments": {"reduction": 4}})
    changed = recipe.replace({"attention.arguments.reduction": "8", "attention.arguments.bias": True})
    assert changed.attention.arguments == {"reduction": 8, "bias": True}
    assert recipe.attention.arguments == {"reduction": 4}
    with pytest.raises(InputError, match="attention.arguments"):
        Recipe().replace({"attention.kind": "se", "attention.arguments.reduction": 8})
    with pytest.raises(InputError, match="Expected a recipe path"):
        Recipe().replace({"optim.arguments.reduction": 8})
    assert recipe.applicable({"attention.kind": "se", "attention.arguments.reduction": 8}) == {
        "attention.kind": "se"
    }
