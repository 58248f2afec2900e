"""Random edits of recipes: a valid recipe, or an error in three parts; never anything else.

The environment variable RANDOM_RECIPES is the number of edits of each kind.
"""

import functools
import json
import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dreal_tf import Recipe, load_recipe
from dreal_tf.cli.train import resolve
from dreal_tf.errors import InputError
from dreal_tf.training.recipe_files import bundled_recipes

PATHS = Recipe.paths()
WORDS = ("", "all", "none", "null", "true", "conv4", "conv2,conv3", "se", "cosine", "exact", "auto")
WORDS += ("[1,", "1e400", "'", "NaN", "-Infinity", "{}", '{"a": [1]}', "a:B", "keras.applications.X")
WORDS += ("a\0b", "\udcff", "\u202e", "9" * 5000, "[" * 5000, "x" * 10**5, "../..", "~", "CON")
HUGE = (10**400, 1e308, -1e308, 5e-324, 2**63, 10**12, -0.0)
NUMBERS = st.one_of(st.integers(-5, 1000), st.floats(), st.sampled_from(HUGE))
TEXTS = st.one_of(st.sampled_from(WORDS), st.text(max_size=12))
PLAIN = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, st.binary(max_size=4))
NESTED = st.recursive(
    PLAIN,
    lambda part: st.one_of(st.lists(part), st.tuples(part), st.dictionaries(TEXTS, part)),
    max_leaves=4,
)
ANY_PATH = st.one_of(st.sampled_from(PATHS), st.sampled_from(PATHS).map(lambda p: p[:-1]), TEXTS)
EDITS = settings(
    max_examples=int(os.environ.get("RANDOM_RECIPES", "60")),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
bundled = functools.cache(load_recipe)


def deep():
    value = 1
    for _ in range(3000):
        value = [value]
    return value


def long():
    return 10**5000  # Hypothesis cannot show it.


def check(edit):
    """Calls an edit, which gives a recipe that its JSON gives back, or an error in three parts."""
    try:
        recipe = edit()
    except InputError as error:
        text = str(error)
        assert "xpected" in text or "must be" in text, text
        assert "Received:" in text and text.rstrip()[-1] in ".?", text
        assert len(text) < 4000
    else:
        assert Recipe.from_json(recipe.to_json()) == recipe == recipe.replace({})


@EDITS
@given(
    name=st.sampled_from(bundled_recipes()),
    changes=st.dictionaries(ANY_PATH, st.one_of(NESTED, st.builds(deep), st.builds(long)), max_size=4),
)
def test_edits_in_python(name, changes):
    check(lambda: bundled(name).replace(changes))


@EDITS
@given(changes=st.lists(st.tuples(ANY_PATH, st.one_of(TEXTS, st.floats().map(str))), max_size=3))
def test_edits_on_the_command_line(changes):
    written = [f"{path}={value}" for path, value in changes]
    check(lambda: resolve(bundled("digits_resnet8_se"), changes=written))


@EDITS
@given(
    section=st.sampled_from(list(Recipe.model_fields)),
    value=NESTED,
    field=ANY_PATH,
    whole=st.booleans(),
)
def test_edits_of_a_file(section, value, field, whole):
    tree = json.loads(Recipe().to_json())
    if whole or section == "name":
        tree[section] = value
    else:
        tree[section][field.partition(".")[2]] = value
    try:
        text = json.dumps(tree)
    except (ValueError, TypeError):  # JSON holds no bytes and no number of 5,000 digits.
        return
    for schema in (1, 2, 3):
        of_schema = text.replace('"schema": 3', f'"schema": {schema}')
        check(functools.partial(Recipe.from_json, of_schema))
