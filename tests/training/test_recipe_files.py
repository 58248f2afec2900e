import pytest

from dreal_tf.errors import InputError
from dreal_tf.training.recipe_files import bundled_recipes, describe_recipe, load_recipe

GOOD = "from dreal_tf.recipe import *\ndef recipe(smoke=False):\n    return Recipe()\n"


@pytest.mark.parametrize("name", bundled_recipes())
def test_every_bundled_recipe_loads_both_ways_and_says_what_to_expect(name):
    whole, small = load_recipe(name), load_recipe(name, smoke=True)
    assert whole.name == name and small.name == f"{name}_smoke"
    assert whole.attention.kind == small.attention.kind and whole.dreal.enabled
    assert all(text != "not stated" for text in describe_recipe(name).values())


def test_a_file_and_a_json_are_recipes_too(tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    recipe = load_recipe(tmp_path / "mine.py")
    assert recipe.name == "mine"
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    assert load_recipe(tmp_path / "recipe.json") == recipe


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.py", None, "Expected a recipe file. Received: .*none.py.*No such file"),
        ("empty.py", "", r"Expected a function `recipe\(smoke=False\)`"),
        ("broken.py", "def recipe(smoke:", "recipe file that runs.*ends in SyntaxError"),
        ("asks.py", "import nothing_such", "ends in ModuleNotFoundError"),
        ("takes.py", "def recipe():\n    return 1\n", "ends in TypeError"),
        (
            "value.py",
            "from dreal_tf.recipe import Optim\ndef recipe(smoke=False):\n    return Optim(learning_rate=-1)\n",
            "Expected optim.learning_rate to be greater than 0",
        ),
        ("wrong.py", "def recipe(smoke=False):\n    return 3\n", "Expected a `Recipe` .*int"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        load_recipe(tmp_path / name)


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'digits_resnet8_se'"):
        load_recipe("digits_resnet8_see")


def test_a_json_cannot_be_shrunk(tmp_path):
    with pytest.raises(InputError, match="Remove --smoke"):
        load_recipe(tmp_path / "recipe.json", smoke=True)
