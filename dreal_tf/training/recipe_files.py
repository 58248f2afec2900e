"""Loads recipes: bundled ones, `.py` files and the `recipe.json` of earlier runs."""

import inspect
import os
import re
from pathlib import Path

from dreal_tf.data.files import bytes_of
from dreal_tf.errors import InputError, unknown_name
from dreal_tf.training.plugins import loaded_plugins, running
from dreal_tf.training.recipe import Recipe


def recipes_folder():
    """The folder of bundled recipes: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
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
    return bundled_names()


def bundled_names(folder="."):
    """Names of the bundled files in a folder.

    Args:
        folder: str, below that of the recipes.
    Returns:
        List of str.
    Example:
        >>> bundled_names("spaces")
        ['attention', 'method', 'optimizer']
    """
    return sorted(path.stem for path in (recipes_folder() / folder).glob("[a-z]*.py"))


def bundled_file(file, what, folder="."):
    """The path of a `.py` file that is given by name or path.

    Args:
        file: str or path: a bundled name, or a `.py` file, which need not exist.
        what: str, what the file holds, such as "recipe".
        folder: str, of the bundled files, below that of the recipes.
    Returns:
        Path.
    Raises:
        InputError: if there is no bundled file of that name.
    Example:
        >>> bundled_file("method", "search space", "spaces").name
        'method.py'
    """
    if Path(file).suffix == ".py":
        return Path(file)
    if str(file) not in (names := bundled_names(folder)):
        raise unknown_name(what, str(file), names)
    return recipes_folder() / folder / f"{file}.py"


def load_recipe(recipe: str | os.PathLike[str], smoke: bool = False) -> Recipe:
    """A recipe by name or path, with the plugins that this process has loaded.

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
                f"{str(recipe)!r}, whose fields are fixed. Remove --smoke."
            )
        return _with_plugins(Recipe.from_json(_read(path), source=str(path)))
    path = bundled_file(recipe, "recipe")
    loaded = load_python(path, "recipe", Recipe, smoke)
    return _with_plugins(loaded.replace({"name": f"{path.stem}_smoke" if smoke else path.stem}))


def _with_plugins(recipe):
    """A recipe that names the plugins of this process first, for workers and later commands."""
    plugins = dict.fromkeys([*loaded_plugins(), *recipe.run.plugins])
    return recipe.replace({"run.plugins": tuple(plugins)}) if loaded_plugins() else recipe


def resolve_recipe(recipe, smoke=False, changes=None, baseline=False, seed=None, data_dir=None):
    """A recipe with changes.

    Args:
        recipe: `Recipe`, or its name or path, see `load_recipe`.
        smoke: bool. Shrink it, see `load_recipe`.
        changes: dict of values by field, see `Recipe.replace`; or None.
        baseline: bool. Without the method.
        seed: int or None for the recipe's own.
        data_dir: path or None for the recipe's own. The recipe keeps the absolute path, as later
            commands may start in another folder.
    Returns:
        `Recipe`.
    Raises:
        InputError: if a name is unknown or a value is not valid.
    Example:
        >>> resolve_recipe("digits_resnet8_se", changes={"schedule.epochs": 2}).schedule.epochs
        2
    """
    changes = dict(changes or {})
    if baseline:
        changes["dreal.enabled"] = False
    if seed is not None:
        changes["run.seed"] = seed
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, smoke)
    elif smoke:
        raise InputError(
            f"Expected a bundled name or a .py recipe with `smoke`. Received: the recipe {recipe.name!r}. "
            "Remove `smoke`, or load it with load_recipe(name, smoke=True)."
        )
    resolved = recipe.replace(changes)
    return resolved.reading(data_dir or ("data.folder" in changes and resolved.data.folder) or None)


def default_run_folder(recipe):
    """The default run directory of a recipe.

    Args:
        recipe: `Recipe`.
    Returns:
        Path. A shrunk recipe has another name, and one without attention is `<recipe>_no_attention`, so
        that each has a directory of its own.
    Example:
        >>> print(default_run_folder(resolve_recipe("digits_resnet8_se", baseline=True)).as_posix())
        runs/digits_resnet8_se_baseline_seed0
    """
    kind = [] if recipe.dreal.enabled else ["baseline"]
    if recipe.attention.kind == "none":
        kind = ["no_attention"]
    return Path("runs") / "_".join([recipe.name, *kind, f"seed{recipe.run.seed}"])


def describe_recipe(name):
    """Title, expected result and time of a bundled recipe, from its docstring.

    Args:
        name: str, a bundled name.
    Returns:
        Dict of str: `title` (the docstring's first line), `expect` and `time`.
    Example:
        >>> sorted(describe_recipe("digits_resnet8_se"))
        ['expect', 'time', 'title']
    """
    text = text_of_file(recipes_folder() / f"{name}.py", "recipe")
    described = {"title": text.partition("\n")[0]}
    for part in ("expect", "time"):
        match = re.search(rf"^{part}: (.+?)(?=\n\w+: |\n\n|\Z)", text, re.M | re.S | re.I)
        described[part] = " ".join(match[1].split()) if match else "not stated"
    return described


def text_of_file(path, name):
    """The docstring of the function of a recipe file, or of a file of the same form.

    Args:
        path, name: see `function_of_file`.
    Returns:
        str; empty if there is none.
    Example:
        >>> text_of_file(recipes_folder() / "digits_resnet8_se.py", "recipe")[:18]
        'Handwritten digits'
    """
    return inspect.getdoc(function_of_file(path, name)) or ""


def _read(path, what="recipe"):
    try:
        return bytes_of(path)
    except OSError as error:
        raise InputError(
            f"Expected a {what} file. Received: {str(path)!r} ({error.strerror}). "
            "Check the path, or give a bundled name."
        ) from error


def function_of_file(path, name):
    """The function of a recipe file, or of a file of the same form.

    Args:
        path: path of a `.py` file.
        name: str. Name of the function and kind of the file: "recipe", "study" or "space".
    Returns:
        Callable with the argument `smoke`.
    Raises:
        InputError: if the file is missing, raises an error, or has no such function.
    Example:
        >>> function_of_file(recipes_folder() / "digits_resnet8_se.py", "recipe")().backbone.depth
        8
    """
    content, module = _read(path, name), {"__name__": "<run_path>", "__file__": str(path)}
    with running(path, f"{name} file"):
        exec(compile(content, path, "exec"), module)
    function = module.get(name)
    if not callable(function):
        raise InputError(
            f"Expected a function `{name}(smoke=False)` in a {name} file. Received: {str(path)!r} "
            "without one. Define it; the bundled files are examples."
        )
    return function


def load_python(path, name, kind, smoke):
    """The result of the function of a file, see `function_of_file`.

    Args:
        path, name: see `function_of_file`.
        kind: class of the result.
        smoke: bool, passed to the function.
    Returns:
        Instance of `kind`.
    Raises:
        InputError: if the result is of another class.
    Example:
        >>> path = recipes_folder() / "digits_resnet8_se.py"
        >>> load_python(path, "recipe", Recipe, smoke=False).backbone.depth
        8
    """
    function = function_of_file(path, name)
    with running(path, f"{name} file"):
        made = function(smoke=smoke)
    if not isinstance(made, kind):
        raise InputError(
            f"Expected a `{kind.__name__}` from {path.name}. Received: {type(made).__name__}. "
            f"Return `{kind.__name__}(...)` from its function `{name}`."
        )
    return made
