"""Where the network to audit lies, and the recipe of its data; nothing here needs TensorFlow."""

from pathlib import Path
from typing import NamedTuple

from dreal_tf.errors import InputError
from dreal_tf.recipe import Augment, Recipe
from dreal_tf.training.recipe_files import load_recipe
from dreal_tf.training.run_directory import RunDirectory


class Source(NamedTuple):
    """A network that lies in a file.

    Attributes:
        path: Path, as it was named: a run directory or a `.keras` file.
        recipe: `dreal_tf.Recipe` whose data it is judged on; its training images come as they are,
            not varied.
        class_names: tuple of str, the classes of the network in order, or None where no file beside
            it says so.
    """

    path: Path
    recipe: Recipe
    class_names: tuple | None

    @property
    def is_run(self):
        """Whether it is a run directory."""
        return self.path.is_dir()

    @property
    def folder(self):
        """Where the files of an audit are kept if nothing else is said."""
        return self.path / "audit" if self.is_run else self.path.with_name(f"{self.path.stem}_audit")


def source_of(target, data=None, data_dir=None):
    """Finds a network and what says its data.

    Args:
        target: str or path of a run directory or a `.keras` file.
        data: `dreal_tf.Recipe`, or its name or path, whose data the network is judged on; None for
            a run's own.
        data_dir: str, path or None. Where that data lies; None for where the recipe says.
    Returns:
        `Source`.
    Raises:
        InputError: if there is no such thing, or nothing says what the data is.
    Example:
        >>> try:
        ...     source_of("network.keras")
        ... except InputError as error:
        ...     print(str(error)[:60])
        Expected a run or a .keras file. Received: 'network.keras',
    """
    path = Path(target)
    if not path.exists():
        raise InputError(
            f"Expected a run or a .keras file. Received: {str(target)!r}, which does not exist. Check "
            "the path."
        )
    if path.is_dir():
        recipe = RunDirectory(path).read_recipe()
    elif path.suffix != ".keras":
        raise InputError(
            f"Expected a run or a .keras file. Received: the file {str(target)!r}. Save the network "
            "with `network.save('network.keras')`."
        )
    elif data is None:
        raise InputError(
            f"Expected --data RECIPE with a .keras file. Received: {str(target)!r} alone, which does "
            "not say what it was trained on. Name the recipe of its data, such as --data "
            "digits_resnet8_se, or give the folder of a run."
        )
    if data is not None:
        recipe = data if isinstance(data, Recipe) else load_recipe(data)
    class_names = RunDirectory(path if path.is_dir() else path.parent).class_names
    return Source(path, unvaried(recipe.reading(data_dir)), class_names)


def unvaried(recipe):
    """A recipe whose training images come as they are.

    Args:
        recipe: `dreal_tf.Recipe`.
    Returns:
        `dreal_tf.Recipe`.
    Example:
        >>> unvaried(load_recipe("digits_resnet8_se")).augment.crop_padding
        0
    """
    return recipe.model_copy(update={"augment": Augment()})


def check_images(images):
    """Refuses too few images for an interval.

    Args:
        images: int.
    Raises:
        InputError: if there are fewer than two.
    Example:
        >>> check_images(2)
    """
    if images < 2:
        raise InputError(
            f"Expected at least 2 images to measure on. Received: images={images}. Give for example "
            "2000."
        )
