"""Plugins: Python files, or installed modules, that define the `module:name` entries of a recipe."""

import importlib
import importlib.util
import sys
from pathlib import Path

from dreal_tf.errors import InputError, unknown_name

_files = {}  # The files that this process has loaded, by the name of their module.


def load_plugins(paths):
    """Loads Python files as modules of the same name.

    If several files have one name, only the first is loaded: a file of `--plugin` replaces the one
    that a run has recorded.

    Args:
        paths: sequence of str or path of `.py` files, or None.
    Raises:
        InputError: if a file is missing, raises an error, or has the name of another module.
    """
    for path in paths or ():
        path = Path(path).expanduser().resolve()
        module = path.stem
        if module in _files:
            continue
        if not path.is_file() or path.suffix != ".py":
            raise InputError(
                f"Expected a Python file as a plugin. Received: {str(path)!r}, which is not one. Check --plugin."
            )
        if not module.isidentifier() or module in sys.modules or module in sys.stdlib_module_names:
            raise InputError(
                "Expected a plugin with a new Python identifier as its name. Received: "
                f"{str(path)!r}, and {module!r} is taken or not an identifier. Rename the file."
            )
        spec = importlib.util.spec_from_file_location(module, path)
        made = importlib.util.module_from_spec(spec)
        sys.modules[module] = made  # Keras looks classes up by their module.
        try:
            spec.loader.exec_module(made)
        except Exception as error:  # The user's code may raise anything.
            del sys.modules[module]
            raise InputError(
                f"Expected a plugin that runs. Received: {str(path)!r}, which ends in "
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}. Fix it."
            ) from error
        _files[module] = path


def loaded_plugins():
    """Paths of the plugin files that this process has loaded.

    Returns:
        Tuple of str.
    """
    return tuple(map(str, _files.values()))


def plugin(name, what):
    """An attribute of a plugin.

    Args:
        name: str, "module:name", where the module is a loaded plugin or can be imported.
        what: str, its kind for error messages, such as "backbone".
    Returns:
        The attribute.
    Raises:
        InputError: if there is no such module or attribute.
    Example:
        >>> plugin("math:pi", "number")
        3.141592653589793
    """
    module, _, attribute = name.partition(":")
    try:
        made = importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"Expected a {what} of a plugin or of an installed module. Received: {name!r}, and there is no "
            f"module {module!r}. Give its file with --plugin {module}.py."
        ) from error
    if not hasattr(made, attribute):
        raise unknown_name(f"{what} of the plugin {module!r}", attribute, vars(made))
    return getattr(made, attribute)
