"""The verb `recipes`."""

import json
import shlex
import sys
import textwrap
from typing import Annotated

from typer import Argument, Option

from dreal_tf.cli.options import Json, Plugins
from dreal_tf.cli.output import next_command, result
from dreal_tf.training.recipe import Recipe
from dreal_tf.training.recipe_files import bundled_recipes, describe_recipe, load_recipe


def recipes(
    name: Annotated[
        str | None, Argument(help="Bundled name, .py recipe, or recipe.json of a run.")
    ] = None,
    schema: Annotated[
        bool, Option("--schema", help="Print the JSON Schema of all recipes and stop.")
    ] = False,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """List the bundled recipes, or describe the fields of one."""
    if schema:
        sys.stdout.write(json.dumps(Recipe.model_json_schema(), indent=2) + "\n")
        return
    if name is not None:
        fields = load_recipe(name).fields()
        result({"fields": fields}, as_json, field_lines(fields))
        next_command(f"dreal-tf train {shlex.quote(name)} --set PATH=VALUE")
        return
    described = {name: describe_recipe(name) for name in bundled_recipes()}
    lines = [
        f"{bundled}\n  {text['title']}\n  expect: {text['expect']}\n  time: {text['time']}"
        for bundled, text in described.items()
    ]
    result(described, as_json, lines)
    next_command("dreal-tf train digits_resnet8_se")


def field_lines(fields):
    """The fields of a recipe as lines: path, value, default if it differs, and description.

    Args:
        fields: see `Recipe.fields`.
    Returns:
        List of str.
    Example:
        >>> rows = [{"path": "run.seed", "value": 3, "default": 0, "description": "Of weights."}]
        >>> field_lines(rows)
        ['run.seed=3  [default: 0]', '    Of weights.']
    """
    lines = []
    for field in fields:
        changed = field["value"] != field["default"]
        default = f"  [default: {_text(field['default'])}]" if changed else ""
        lines.append(f"{field['path']}={_text(field['value'])}{default}")
        lines += [f"    {line}" for line in textwrap.wrap(field["description"], 72)]
    return lines


def _text(value):
    """A value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value)
