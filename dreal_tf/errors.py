"""Errors that a user can cause or must know of, and their messages.

Every message has three parts: what was expected, what was received, what to do.
"""

import difflib

LISTED = 20  # Known names that an error lists; if there are more, it names the nearest.


class InputError(ValueError):
    """The user's input is wrong; the command line ends with exit code 2.

    Example:
        >>> raise InputError("`width` must be above 0. Received: width=0. Raise it.")
        Traceback (most recent call last):
        ...
        dreal_tf.errors.InputError: `width` must be above 0. Received: width=0. Raise it.
    """


class RunError(RuntimeError):
    """A run cannot continue although its input is valid; the command line ends with exit code 1.

    Example:
        >>> raise RunError("Expected a finite loss. Received: nan. Lower optim.learning_rate.")
        Traceback (most recent call last):
        ...
        dreal_tf.errors.RunError: Expected a finite loss. Received: nan. Lower optim.learning_rate.
    """


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
        name: str. The unknown name.
        known: iterable of str. The names that exist.
    Returns:
        InputError, for the caller to raise.
    Example:
        >>> print(unknown_name("attention kind", "sse", ["se", "none"]))
        Expected an attention kind, one of: none, se. Received: 'sse'. Did you mean 'se'?
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=5, cutoff=0.5)
    if len(known) <= LISTED:
        listed = f"one of: {', '.join(known)}"
    else:
        listed = f"one of {len(known)}, such as {', '.join(near or known[:5])}"
    cure = f"Did you mean {near[0]!r}?" if near else "Choose one that exists."
    article = "an" if what[0] in "aeiou" else "a"
    return InputError(f"Expected {article} {what}, {listed}. Received: {name!r}. {cure}")


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
