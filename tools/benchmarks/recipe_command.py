"""The command line of the tools that measure a cost on a recipe, its own data or generated images."""

import argparse
import sys

from dreal_tf.errors import InputError


def recipe_command(main, description, **numbers):
    """Reads a command line and does what it says; wrong input ends it with a message.

    Args:
        main: callable of `recipe` (str), `side`, `images` (ints, see `on_generated_images`) and `numbers`.
        description: str.
        numbers: pairs of int, the default, and str, the help, by the name of a further option.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("recipe", help="Name or path.")
    parser.add_argument("--images", type=int, help="Train on so many generated ones.")
    parser.add_argument("--side", type=int, default=32, help="Their side (pixels).")
    for name, (default, text) in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=text)
    try:
        main(**vars(parser.parse_args()))
    except InputError as error:
        sys.exit(f"Error: {error}")


def on_generated_images(recipe, side, images):
    """A recipe on generated images.

    Args:
        recipe: `dreal_tf.Recipe`.
        side: int, of the images (pixels).
        images: int, how many to train on; None leaves the recipe its own data.
    Returns:
        `dreal_tf.Recipe`.
    Example:
        >>> on_generated_images(load_recipe("digits_resnet8_se"), 8, 64).data.images
        64
    """
    if images is None:
        return recipe
    generated = {"data.name": "generated", "data.shape": (side, side, 3), "data.images": images}
    return recipe.replace(generated)
