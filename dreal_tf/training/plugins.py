"""Plugins: Python files, or installed modules, that define the `module:name` entries of a recipe."""

import contextlib
import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path

from dreal_tf.errors import InputError, shortened, unknown_name

_files = {}  # The files that this process has loaded, by the name of their module.


@contextlib.contextmanager
def running(path, what):
    """Runs the user's code: it prints to standard error, and whatever ends it is an `InputError`.

    Args:
        path: str or path of its file.
        what: str, what the file is, such as "recipe file".
    Raises:
        InputError: with the code's own error, or its exit. An interrupt stays one.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Standard output is for results.
            yield
    except KeyboardInterrupt:
        raise
    except InputError as error:
        raise InputError(f"{error} ({path})") from error
    except BaseException as error:
        text = ""
        with contextlib.suppress(Exception):  # Its text is the user's code, too.
            text = shortened(": " + " ".join(str(error).split()), most=1000)
        raise InputError(
            f"Expected {_with_article(what)} that runs. Received: {str(path)!r}, which ends in {type(error).__name__}{text}"
            f"{_location(error, path)}. Fix it."
        ) from error


def _with_article(noun):
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _location(error, path):
    """The last line of the user's files in the traceback of an error."""
    files = {str(path), *map(str, _files.values())}
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return f" (line {lines[-1].lineno} of {Path(lines[-1].filename).name})" if lines else ""


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
        path = Path(os.path.expanduser(path))
        module = path.stem
        if module in _files:
            continue
        if not os.path.isfile(path) or path.suffix != ".py":  # It takes any name, too long ones too.
            raise InputError(
                f"Expected a Python file as a plugin. Received: {str(path)!r}, which is not one. Check --plugin."
            )
        path = path.resolve()
        if not module.isidentifier() or module in sys.modules or module in sys.stdlib_module_names:
            raise InputError(
                "Expected a plugin with a new Python identifier as its name. Received: "
                f"{str(path)!r}, and {module!r} is taken or not an identifier. Rename the file."
            )
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))  # A plugin may import a file beside it.
        spec = importlib.util.spec_from_file_location(module, path)
        made = importlib.util.module_from_spec(spec)
        sys.modules[module] = made  # Keras looks classes up by their module.
        try:
            with running(path, "plugin"):
                spec.loader.exec_module(made)
        except BaseException:
            del sys.modules[module]
            raise
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
        with running(module, "module"):
            made = importlib.import_module(module)
    except InputError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        raise InputError(
            f"Expected {_with_article(what)} of a plugin or of an installed module. Received: {name!r}, and there is no "
            f"module {module!r}. Give its file with --plugin {module}.py."
        ) from error
    if not hasattr(made, attribute):
        names = [known for known in vars(made) if not known.startswith("__")]
        raise unknown_name(f"{what} of the plugin {module!r}", attribute, names)
    return getattr(made, attribute)
