"""Random edits of recipes: a valid recipe, or an error in three parts; never anything else."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dreal_tf import Recipe, load_recipe
from dreal_tf.cli.train import resolve
from dreal_tf.errors import InputError
from dreal_tf.training.recipe_files import bundled_recipes

PATHS = Recipe.paths()
NUMBERS = st.one_of(st.integers(-5, 1000), st.floats(allow_nan=True, allow_infinity=True))
WORDS = st.sampled_from(
    [
        "",
        "all",
        "none",
        "null",
        "true",
        "conv4",
        "conv2,conv3",
        "se",
        "cosine",
        "exact",
        "[1,",
        "1e400",
        "'",
    ]
)
TEXTS = st.text(max_size=12)
NESTED = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, TEXTS), st.lists, max_leaves=4
)
ANY_PATH = st.one_of(st.sampled_from(PATHS), st.sampled_from(PATHS).map(lambda p: p[:-1]), TEXTS)


def assert_three_parts(error):
    text = str(error)
    assert "xpected" in text or "must be" in text, text
    assert "Received:" in text and text.rstrip()[-1] in ".?", text


@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(bundled_recipes()), changes=st.dictionaries(ANY_PATH, NESTED, max_size=4))
def test_edits_in_python(name, changes):
    try:
        recipe = load_recipe(name).replace(changes)
    except InputError as error:
        assert_three_parts(error)
        return
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.replace({}) == recipe


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.tuples(ANY_PATH, st.one_of(WORDS, TEXTS, NUMBERS.map(str))), max_size=3))
def test_edits_on_the_command_line(changes):
    try:
        recipe = resolve("digits_resnet8_se", changes=[f"{path}={value}" for path, value in changes])
    except InputError as error:
        assert_three_parts(error)
        return
    assert Recipe.from_json(recipe.to_json()) == recipe
