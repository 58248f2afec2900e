"""Errors that a user can cause or must know of, and their messages.

Every message has three parts: what was expected, what was received, what to do.
"""

import difflib
import errno
import os
from pathlib import Path

LISTED = 20  # Known names that an error lists; if there are more, it names the nearest.
LONGEST, LONGEST_VALUE = 3000, 300  # Characters of a message, and of one value in it.


def shortened(text, most=LONGEST):
    """A text without its middle if it is too long.

    Args:
        text: str.
        most: int. Characters to keep, about.
    Returns:
        Str.
    Example:
        >>> shortened("abcdefghijklmnopqrstuvwxyz", most=10)
        'abcde... (16 characters) ...vwxyz'
    """
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}... ({len(text) - 2 * half} characters) ...{text[-half:]}"


def received(value):
    """A value as a message shows it, whatever it is.

    Args:
        value: anything.
    Returns:
        Str: its short `repr`.
    Example:
        >>> received(0.5), received(10**5000)
        ('0.5', 'an int that cannot be shown')
    """
    try:
        return shortened(repr(value), LONGEST_VALUE)
    except Exception:  # A number of 5,000 digits or a list in itself, for example.
        article = "an" if type(value).__name__[0] in "aeiou" else "a"
        return f"{article} {type(value).__name__} that cannot be shown"


class InputError(ValueError):
    """The user's input is wrong; the command line ends with exit code 2.

    Example:
        >>> raise InputError("`width` must be above 0. Received: width=0. Raise it.")
        Traceback (most recent call last):
        ...
        dreal_tf.errors.InputError: `width` must be above 0. Received: width=0. Raise it.
    """

    def __init__(self, message):
        super().__init__(shortened(message))


class RunError(RuntimeError):
    """A run cannot continue although its input is valid; the command line ends with exit code 1.

    Example:
        >>> raise RunError("Expected a finite loss. Received: nan. Lower optim.learning_rate.")
        Traceback (most recent call last):
        ...
        dreal_tf.errors.RunError: Expected a finite loss. Received: nan. Lower optim.learning_rate.
    """

    def __init__(self, message):
        super().__init__(shortened(message))


class DivergedError(RunError):
    """A training has diverged: its loss is no longer a number.

    Example:
        >>> issubclass(DivergedError, RunError)
        True
    """


def unknown_name(what, name, known):
    """An `InputError` for a name that is not known, with the nearest known one.

    Args:
        what: str. The kind of thing that the name refers to, such as "recipe".
        name: The unknown name; any value, of which a str is compared with the known ones.
        known: iterable of str. The names that exist.
    Returns:
        InputError, for the caller to raise.
    Example:
        >>> print(unknown_name("attention kind", "sse", ["se", "none"]))
        Expected an attention kind, one of: none, se. Received: 'sse'. Did you mean 'se'?
    """
    known = sorted(known)
    near = difflib.get_close_matches(received(name).strip("'"), known, n=5, cutoff=0.5)
    if len(known) <= LISTED:
        listed = f"one of: {', '.join(known)}"
    else:
        listed = f"one of {len(known)}, such as {', '.join(near or known[:5])}"
    cure = f"Did you mean {near[0]!r}?" if near else "Choose one that exists."
    article = "an" if what[0] in "aeiou" else "a"
    return InputError(f"Expected {article} {what}, {listed}. Received: {received(name)}. {cure}")


def check_at_least_one(**counts):
    """Refuses arguments below 1; None passes.

    Args:
        **counts: int or None, by the name of the argument.
    Raises:
        InputError: names the first argument that is too small.
    Example:
        >>> try:
        ...     check_at_least_one(heads=4, strides=0)
        ... except InputError as error:
        ...     print(error)
        `strides` must be at least 1. Received: strides=0. Raise it.
    """
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"`{name}` must be at least 1. Received: {name}={count}. Raise it.")


def check_objects(**arguments):
    """Refuses classes among arguments, or in lists and dicts of them, where objects are expected.

    Args:
        **arguments: any objects, by the name of the argument.
    Raises:
        InputError: names the first class.
    Example:
        >>> try:
        ...     check_objects(optimizer="adam", loss=[dict])
        ... except InputError as error:
        ...     print(error)
        Expected an object as `loss`. Received: the class dict. Make one: loss=dict(...).
    """
    for name, value in arguments.items():
        values = value.values() if isinstance(value, dict) else value
        for each in values if isinstance(values, list | tuple | type({}.values())) else [value]:
            if isinstance(each, type):
                raise InputError(
                    f"Expected an object as `{name}`. Received: the class {each.__name__}. Make one: "
                    f"{name}={each.__name__}(...)."
                )


def checked_path(path):
    """A path that a user gave, whether or not there is anything.

    Args:
        path: str or path.
    Returns:
        Path.
    Raises:
        InputError: if it is no path, this system can have no such one, or does not let us look there.
    Example:
        >>> checked_path("a" * 300)
        Traceback (most recent call last):
        ...
        dreal_tf.errors.InputError: Expected a path that can be opened. Received: ...
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(
            f"Expected a path: a str or a `pathlib.Path`. Received: {received(path)}. Save it, and give the path."
        )
    try:
        os.lstat(path)
    except (OSError, ValueError) as error:  # ValueError: it holds a NUL character.
        if getattr(error, "errno", None) not in (errno.ENOENT, errno.ENOTDIR):
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"Expected a path that can be opened. Received: {received(str(path))} ({reason}). Choose another."
            ) from error
    return Path(path)
