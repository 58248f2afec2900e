"""`dreal-tf recipes`."""

from typing import Annotated

import typer

from dreal_tf.cli.output import next_command, result
from dreal_tf.training.recipe_files import bundled_recipes, describe_recipe


def recipes(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
):
    """List the bundled recipes with expected result and time."""
    described = {name: describe_recipe(name) for name in bundled_recipes()}
    lines = []
    for name, said in described.items():
        lines += [name, f"  {said['title']}", f"  expect: {said['expect']}", f"  time: {said['time']}"]
    result(described, as_json, lines)
    next_command("dreal-tf train digits_resnet8_se")
