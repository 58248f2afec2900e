"""The recipe's sections `data` and `augment`, and what they become."""

import pytest

from dreal_tf.cli.train import resolve
from dreal_tf.data.sections import Augment, Data, Options
from dreal_tf.errors import InputError
from dreal_tf.training.builder import build_data
from dreal_tf.training.recipe import Recipe


def test_options_and_recipe_agree():
    fields = Data().model_dump() | Augment().model_dump()
    defaults = Options().model_dump()
    assert fields == {name: defaults[name] for name in fields}
    assert set(defaults) - set(fields) == {
        "seed",
        "soft_labels",
        "shard",
        "replicas",
        "recorded",
        "checked",
    }


def test_a_recipe_builds_its_data():
    changes = {"data.name": "generated", "data.shape": "[8, 8, 1]", "data.classes": "4"}
    changes |= {"data.images": 80, "data.batch_size": 16, "augment.mix_up": "0.2"}
    recipe = Recipe().replace(changes)
    assert Recipe.from_json(recipe.to_json()) == recipe
    data = build_data(recipe)
    assert data.image_shape == (8, 8, 1)
    assert data.soft_labels
    assert next(iter(data.train))[1].shape == (16, 4)
    assert next(iter(data.validation))[1].shape == (8, 4)
    assert next(iter(data.test))[1].shape == (16,)


def test_the_data_folder_reaches_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = resolve("digits_resnet8_se", changes=["data.name=cifar10"], data_dir="there")
    assert recipe.data.folder == str(tmp_path / "there")
    with pytest.raises(InputError, match=rf"the folder '{tmp_path}/there', which does not exist"):
        build_data(recipe)


@pytest.mark.parametrize(
    "change", ["data.shape=[8,8,2]", "augment.cut_mix=2", "data.on_bad_image=weep"]
)
def test_values_out_of_range_are_refused(change):
    with pytest.raises(InputError, match=change.split("=")[0]):
        resolve("digits_resnet8_se", changes=[change])
