"""Several processes that share a search, as Keras Tuner's environment variables say."""

import os
from typing import NamedTuple

from dreal_tf.errors import InputError

VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")


class Role(NamedTuple):
    """What this process does in a search.

    Attributes:
        name: str among those that share the search; None: it is alone.
    Example:
        >>> Role("chief").serves, Role("worker1").works_for_another, Role(None).serves
        (True, True, False)
    """

    name: str | None

    @property
    def serves(self):
        """Whether it gives trials to others. Keras Tuner knows the chief by its name."""
        return self.name is not None and "chief" in self.name

    @property
    def works_for_another(self):
        """Whether a chief gives it its trials."""
        return self.name is not None and not self.serves


def own_role():
    """The role that the environment gives this process.

    Returns:
        `Role`.
    Raises:
        InputError: if it is given by half.
    """
    values = [os.environ.get(name, "").strip() for name in VARIABLES]
    if not any(values[1:]):
        return Role(None)
    number, address, port = values
    if not (number and address and port.isdecimal()) or "/" in number:
        said = ", ".join(f"{n}={os.environ.get(n)!r}" for n in VARIABLES)
        raise InputError(
            "Expected KERASTUNER_TUNER_ID (chief, or another name for each worker), "
            f"KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT. Received: {said}. Set all three, or none."
        )
    return Role(number)
