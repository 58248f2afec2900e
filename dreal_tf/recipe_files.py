"""Finds and loads recipes: bundled ones, `.py` files and the `recipe.json` of earlier runs."""

import inspect
import re
import runpy
from pathlib import Path

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.recipe import Recipe


def recipes_folder():
    """The folder of bundled recipes: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if (folder / "digits_resnet8_se.py").is_file():
            return folder
    raise InputError(
        f"Expected the bundled recipes beside or inside {package}. Received: no such folder. "
        "Install dreal-tf again."
    )


def bundled_recipes():
    """Names of the bundled recipes.

    Example:
        >>> "digits_resnet8_se" in bundled_recipes()
        True
    """
    return sorted(path.stem for path in recipes_folder().glob("[a-z]*.py"))


def load_recipe(recipe, smoke=False):
    """A recipe by name or path.

    Args:
        recipe: str or path: a bundled name, a `.py` file with a function `recipe(smoke=False)`, or
            a `recipe.json`.
        smoke: bool. The recipe shrunk to seconds; only for names and `.py` files.
    Returns:
        `Recipe`.
    Raises:
        InputError: if there is no such recipe, or it is not valid.
    Example:
        >>> load_recipe("digits_resnet8_se").backbone.depth
        8
    """
    path = Path(recipe)
    if path.suffix == ".json":
        if smoke:
            raise InputError(
                "Expected a bundled name or a .py recipe with --smoke. Received: "
                f"{str(recipe)!r}, which says what it says. Leave --smoke out."
            )
        return Recipe.from_json(_read(path), source=str(path))
    if path.suffix == ".py":
        _read(path)
        return _load_python(path, smoke)
    if str(recipe) not in bundled_recipes():
        raise unknown_name("recipe", str(recipe), bundled_recipes())
    return _load_python(recipes_folder() / f"{recipe}.py", smoke)


def describe_recipe(name):
    """What a bundled recipe says of itself.

    Args:
        name: str, a bundled name.
    Returns:
        Dict of str: `title` (the docstring's first line), `expect` and `time`.
    Example:
        >>> sorted(describe_recipe("digits_resnet8_se"))
        ['expect', 'time', 'title']
    """
    text = inspect.getdoc(_recipe_function(recipes_folder() / f"{name}.py")) or ""
    described = {"title": text.partition("\n")[0]}
    for part in ("expect", "time"):
        found = re.search(rf"^{part}: (.+?)(?=\n\w+: |\n\n|\Z)", text, re.M | re.S | re.I)
        described[part] = " ".join(found[1].split()) if found else "not stated"
    return described


def _read(path):
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise InputError(
            f"Expected a recipe file. Received: {str(path)!r} ({reason}). "
            "Check the path, or give a bundled name."
        ) from error


def _recipe_function(path):
    try:
        function = runpy.run_path(str(path)).get("recipe")
    except Exception as error:  # Whatever the user's own code does wrong.
        raise _broken(path, error) from error
    if not callable(function):
        raise InputError(
            f"Expected a function `recipe(smoke=False)` in a recipe file. Received: {str(path)!r} "
            "without one. Write it; the bundled recipes show how."
        )
    return function


def _load_python(path, smoke):
    function = _recipe_function(path)
    try:
        recipe = function(smoke=smoke)
    except Exception as error:  # Whatever the user's own code does wrong.
        raise _broken(path, error) from error
    if not isinstance(recipe, Recipe):
        raise InputError(
            f"Expected a `Recipe` from {path.name}. Received: {type(recipe).__name__}. "
            "Return `Recipe(...)` from its function `recipe`."
        )
    return recipe.replace({"name": f"{path.stem}_smoke" if smoke else path.stem})


def _broken(path, error):
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    return InputError(
        f"Expected a recipe file that runs. Received: {str(path)!r}, which ends in {said}. Mend it; "
        "the bundled recipes show how one is written."
    )
