"""The arms of a benchmark: one recipe without the method and with it."""

from dreal_tf.builder import build_data, data_options
from dreal_tf.data import generated_like, known_set
from dreal_tf.errors import InputError

PLAIN = "plain"
ESTIMATORS = ("sampled", "exact")
BATCHES = 4  # Of made-up images: enough for a pipeline to be at work.


def recipes_of_arms(recipe):
    """The recipe of each arm: `plain`, then the method by each estimator.

    Args:
        recipe: `dreal_tf.Recipe`, the method enabled.
    Returns:
        Dict of `dreal_tf.Recipe`.
    Raises:
        InputError: if the recipe is a baseline itself.
    Example:
        >>> list(recipes_of_arms(load_recipe("digits_resnet8_se")))
        ['plain', 'sampled', 'exact']
    """
    if not recipe.dreal.enabled or recipe.attention.kind == "none":
        raise InputError(
            "Expected a recipe with attention and the method, whose cost is to be measured. Received: "
            f"attention.kind={recipe.attention.kind!r}, dreal.enabled={recipe.dreal.enabled}. "
            "Leave these as the bundled recipes have them."
        )
    arms = {PLAIN: recipe.replace({"dreal.enabled": False})}
    return arms | {name: recipe.replace({"dreal.estimator": name}) for name in ESTIMATORS}


def made_up(recipe):
    """Made-up images in the shape and number of classes that a recipe trains on.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        `dreal_tf.data.Splits`.
    Raises:
        InputError: if the shape is known from the data alone.
    Example:
        >>> made_up(load_recipe("cifar10_resnet20_se")).image_shape
        (32, 32, 3)
    """
    name, size = recipe.data.name, recipe.data.image_size
    if name == "generated" or known_set(name) or size:
        options = data_options(recipe) | {"images": BATCHES * recipe.data.batch_size}
        return generated_like(name, **options)
    raise InputError(
        f"Expected a data set whose shape is known, or data.image_size. Received: data.name={name!r}. "
        "Give the folder of the data with --data-dir, or a size with --set data.image_size=224."
    )


def splits_for(recipe, data_dir=None):
    """What a benchmark trains on: made-up images, or the recipe's own from a folder."""
    if data_dir is None:
        return made_up(recipe)
    return build_data(recipe.reading(data_dir))
