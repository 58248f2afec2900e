"""Arguments and options that several verbs share."""

import functools
import inspect
import logging
import os
import shlex
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from dreal_tf.cli.output import set_verbosity
from dreal_tf.training.plugins import load_plugins


def _load(paths):
    """Loads the plugins; Typer takes what a callback returns as the value of the option."""
    load_plugins(paths)
    return paths or []  # Not None, which Typer 0.15 cannot measure.


Run = Annotated[Path, Argument(help="Run directory.")]
RecipeName = Annotated[str, Argument(help="Bundled name, .py recipe, or recipe.json of a run.")]
Smoke = Annotated[bool, Option("--smoke", help="Shrink the recipe to seconds.")]
Changes = Annotated[
    list[str] | None,
    Option("--set", metavar="PATH=VALUE", help="Change a field of the recipe; repeatable."),
]
DataDir = Annotated[str | None, Option(help="Folder of the data. [default: the recipe's]")]
RunDataDir = Annotated[str | None, Option(help="Folder of the data. [default: the run's]")]
DataRecipe = Annotated[str | None, Option(help="Recipe of the data that a .keras file was trained on.")]
TestImages = Annotated[int, Option(help="Maximum number of test images to measure on.")]
Plugins = Annotated[
    list[str] | None,
    Option(
        "--plugin",
        metavar="FILE.py",
        help="File that defines `module:name`; repeatable.",
        callback=_load,
    ),
]
Strategy = Annotated[
    str, Option(help="Devices: auto, none, mirrored, tpu; for train also multi_worker.")
]
Seed = Annotated[int | None, Option(help="Random seed. [default: the recipe's]")]
Json = Annotated[bool, Option("--json", help="Print one JSON object.")]
Quiet = Annotated[
    bool, Option("--quiet", "-q", help="Print results, warnings and errors, but no progress.")
]
Verbose = Annotated[
    bool,
    Option(
        "--verbose", "-v", help="Print more: tracebacks, TensorFlow's messages, the method by module."
    ),
]


def plugin_options(paths):
    """The options that name plugins, for the next command.

    Example:
        >>> plugin_options(["mine.py"])
        ' --plugin mine.py'
    """
    return "".join(f" --plugin {shlex.quote(path)}" for path in paths or ())


def with_verbosity(verb):
    """A verb that also takes --quiet and --verbose."""

    @functools.wraps(verb)
    def run(*arguments, quiet=False, verbose=False, **named):
        if verbose:
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"  # Before TensorFlow is loaded.
        set_verbosity(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
        return verb(*arguments, **named)

    more = {"quiet": Quiet, "verbose": Verbose}
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in more.items()
    ]
    signature = inspect.signature(verb)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *parameters])
    run.__annotations__ = verb.__annotations__ | more
    return run
