"""Finds and loads search spaces: bundled ones, and `.py` files of one's own."""

from pathlib import Path

from dreal_tf.errors import unknown_name
from dreal_tf.experiments.tuning.space import Space
from dreal_tf.training.recipe_files import load_python, recipes_folder


def bundled_spaces():
    """Names of the bundled search spaces.

    Example:
        >>> bundled_spaces()
        ['attention', 'method', 'optimizer']
    """
    return sorted(path.stem for path in (recipes_folder() / "spaces").glob("[a-z]*.py"))


def load_space(space, smoke=False):
    """A search space by name or path.

    Args:
        space: str or path: a bundled name, or a `.py` file with a function `space(smoke=False)`.
        smoke: bool. The space shrunk to what trains in seconds.
    Returns:
        `Space`.
    Raises:
        InputError: if there is no such space, or it is not valid.
    Example:
        >>> "dreal.actor_weight" in load_space("method").fields
        True
    """
    path = Path(space)
    if path.suffix != ".py":
        if str(space) not in bundled_spaces():
            raise unknown_name("search space", str(space), bundled_spaces())
        path = recipes_folder() / "spaces" / f"{space}.py"
    return load_python(path, "space", Space, smoke)
