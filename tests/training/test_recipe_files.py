import os

import pytest

from dreal_tf.errors import InputError
from dreal_tf.training.recipe_files import bundled_recipes, describe_recipe, load_recipe

GOOD = "from dreal_tf.training.recipe import *\ndef recipe(smoke=False):\n    return Recipe()\n"


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
            "from dreal_tf.training.recipe import Optim\ndef recipe(smoke=False):\n    return Optim(learning_rate=-1)\n",
            "Expected optim.learning_rate to be greater than 0",
        ),
        ("wrong.py", "def recipe(smoke=False):\n    return 3\n", "Expected a `Recipe` .*int"),
        ("ends.py", "raise SystemExit(0)", "ends in SystemExit: 0"),
        ("ends_later.py", "def recipe(smoke=False):\n    raise SystemExit", "ends in SystemExit"),
        ("endless.py", "def recipe(smoke=False):\n    return recipe()", "ends in RecursionError"),
        ("mute.py", "class Mute(BaseException):\n    __str__ = None\nraise Mute", "ends in Mute"),
        (
            "talks.py",
            "raise ValueError('x' * 10**6)",
            r"ends in ValueError: xxx.*xxx \(line 1 of talks.py\). Fix it",
        ),
        (
            "data.py",
            "from dreal_tf.training.recipe import Data\nData(batch_size=-1)",
            "batch_size Input should be",
        ),
        ("nul.py", "a\0b", "ends in SyntaxError"),
        ("x" * 300 + ".py", None, "Expected a recipe file.*File name too long"),
        ("a\0b.json", None, "Expected a recipe file.*null"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        load_recipe(tmp_path / name)


@pytest.mark.parametrize("name", ["pipe.py", "pipe.json"])
def test_a_file_that_never_ends_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    (tmp_path / f"zero{name}").symlink_to("/dev/zero")
    for file in (name, f"zero{name}"):
        with pytest.raises(InputError, match="Expected a recipe file.*no file of bytes"):
            load_recipe(tmp_path / file)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        b"# -*- coding: latin-1 -*-\nname = '\xe9'\n" + GOOD.encode(),
    ],
)
def test_a_recipe_in_any_encoding_that_python_reads(tmp_path, content):
    (tmp_path / "mine.py").write_bytes(content)
    assert load_recipe(tmp_path / "mine.py").name == "mine"
    (tmp_path / "mine.json").write_bytes(b"\xef\xbb\xbf{}")
    assert load_recipe(tmp_path / "mine.json").name == "unnamed"


def test_a_recipe_that_prints_leaves_standard_output_alone(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        f"print('one')\n{GOOD}".replace("    return", "    print('two')\n    return")
    )
    load_recipe(tmp_path / "mine.py")
    output = capsys.readouterr()
    assert output.out == "" and output.err == "one\ntwo\n"


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'digits_resnet8_se'"):
        load_recipe("digits_resnet8_see")


def test_a_json_cannot_be_shrunk(tmp_path):
    with pytest.raises(InputError, match="Remove --smoke"):
        load_recipe(tmp_path / "recipe.json", smoke=True)
