"""What a search space says: recipe fields by dotted path, and the values that each may take."""

import json
from typing import NamedTuple

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.recipe import Recipe

CRITIC_PATHS = ("dreal.", "optim.critic_learning_rate")  # What a network without the method ignores.
FIXED = {
    "name": "a search names its trials itself",
    "dreal.enabled": "the recipe without the method is always run beside the trials",
}
DIGITS = 6  # Significant digits of a drawn number, which a recipe then holds as it is read.


class Choice:
    """A field takes one of some values.

    Args:
        *values: what the field may be; anything that the recipe takes, None and tuples included.
    Raises:
        InputError: if there are none, or two are the same.
    Example:
        >>> Choice("mean", "static").ends
        ('mean', 'static')
    """

    def __init__(self, *values):
        said = [json.dumps(value) for value in values]
        if not values or len(set(said)) < len(said):
            raise InputError(
                f"Expected values that differ, at least one. Received: Choice{values!r}. Name each once."
            )
        self.values = values
        kinds = {type(value) for value in values}
        # What Keras Tuner can hold as it is; of all else it is given the text.
        self.plain = len(kinds) == 1 and kinds <= {int, float, str}
        self._said = said

    @property
    def ends(self):
        """Tuple of the values that a recipe has to take."""
        return self.values

    def declare(self, hp, path):
        """Names the field and its values to Keras Tuner.

        Args:
            hp: `keras_tuner.HyperParameters`.
            path: str.
        Returns:
            int, float or str: what Keras Tuner has drawn.
        """
        return hp.Choice(path, list(self.values if self.plain else self._said))

    def read(self, drawn):
        """The value that Keras Tuner's stands for.

        Args:
            drawn: int, float or str; a float may have been rounded on its way between processes.
        Returns:
            One of `values`.
        Example:
            >>> Choice(None, ("conv4",)).read('["conv4"]')
            ('conv4',)
        """
        if not self.plain:
            return self.values[self._said.index(drawn)]
        if isinstance(self.values[0], float):
            return min(self.values, key=lambda value: abs(value - drawn))
        return drawn

    def describe(self):
        """The choice as JSON can hold it."""
        return {"choice": json.loads(json.dumps(self.values))}


class Range(NamedTuple):
    """A field takes any number between two; whole ones where both are ints.

    Attributes:
        low, high: int or float, both included.
        log: bool. Whether equal ratios, not equal differences, are equally likely.
    Example:
        >>> Range(1e-4, 1e-2, log=True).ends
        (0.0001, 0.01)
    """

    low: float
    high: float
    log: bool = False

    @property
    def ends(self):
        """Tuple of the values that a recipe has to take."""
        return (self.low, self.high)

    def declare(self, hp, path):
        """Names the field and its bounds to Keras Tuner, see `Choice.declare`."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        sampling = "log" if self.log else "linear"
        return (hp.Int if whole else hp.Float)(path, self.low, self.high, sampling=sampling)

    def read(self, drawn):
        """The value that Keras Tuner's stands for, see `Choice.read`.

        Example:
            >>> Range(0.0, 1.0).read(0.123456789)
            0.123457
        """
        return drawn if isinstance(drawn, int) else float(f"{drawn:.{DIGITS}g}")

    def describe(self):
        """The range as JSON can hold it."""
        return self._asdict()


class Space:
    """Fields of a recipe by dotted path, each a `Choice` or a `Range`.

    Args:
        fields: dict from dotted path, such as "dreal.actor_weight", to `Choice` or `Range`.
    Raises:
        InputError: if a path is unknown or cannot be searched, or a range is none.
    Example:
        >>> space = Space({"dreal.penalty": Range(0.0, 2.0), "dreal.reference_action": Choice("mean", "static")})
        >>> space.changes({"dreal.penalty": 0.5, "dreal.reference_action": "static"})
        {'dreal.penalty': 0.5, 'dreal.reference_action': 'static'}
    """

    def __init__(self, fields):
        if not isinstance(fields, dict) or not fields:
            raise InputError(
                "Expected a dict of at least one field by dotted path. Received: "
                f"Space({fields!r}). Write for example Space({{'dreal.penalty': Range(0.0, 2.0)}})."
            )
        for path, values in fields.items():
            if path not in Recipe.paths():
                raise unknown_name("recipe path", path, Recipe.paths())
            if path in FIXED:
                raise InputError(
                    f"Expected fields that a search may change. Received: {path!r}; {FIXED[path]}. "
                    "Leave it out."
                )
            if not isinstance(values, Choice | Range):
                raise InputError(
                    f"Expected a Choice or a Range for {path}. Received: {values!r}. Write for "
                    "example Choice(1, 2) or Range(0.0, 1.0)."
                )
            if isinstance(values, Range):
                _check_range(path, values)
        self.fields = dict(fields)

    @property
    def changes_network(self):
        """Whether a network without the method depends on it too.

        Example:
            >>> Space({"dreal.penalty": Range(0.0, 2.0)}).changes_network
            False
        """
        return any(not path.startswith(CRITIC_PATHS) for path in self.fields)

    def check(self, recipe):
        """Whether a recipe takes all values of the space: each choice, both ends of each range.

        Args:
            recipe: `dreal_tf.Recipe`.
        Raises:
            InputError: naming the first field that does not.
        """
        for path, values in self.fields.items():
            for value in values.ends:
                recipe.replace({path: value})

    def declare(self, hp):
        """Names all fields to Keras Tuner.

        Args:
            hp: `keras_tuner.HyperParameters`.
        Returns:
            Dict from path to what was drawn.
        """
        return {path: values.declare(hp, path) for path, values in self.fields.items()}

    def changes(self, drawn):
        """What Keras Tuner has drawn, as `Recipe.replace` takes it.

        Args:
            drawn: dict from path to int, float or str; what is no field of the space is left out.
        Returns:
            Dict from path to value.
        """
        return {path: self.fields[path].read(drawn[path]) for path in self.fields}

    def describe(self):
        """The space as JSON can hold it.

        Example:
            >>> Space({"dreal.penalty": Range(0.0, 2.0)}).describe()
            {'dreal.penalty': {'low': 0.0, 'high': 2.0, 'log': False}}
        """
        return {path: values.describe() for path, values in self.fields.items()}


def _check_range(path, values):
    numbers = all(isinstance(n, int | float) and not isinstance(n, bool) for n in values.ends)
    if not numbers or not values.low < values.high or (values.log and values.low <= 0):
        floor = " above 0" if values.log else ""
        raise InputError(
            f"Expected two rising numbers{floor} for {path}. Received: {values!r}. Change them."
        )
