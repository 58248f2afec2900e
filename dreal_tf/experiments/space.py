"""Search spaces: recipe fields by dotted path, and the values that each may take."""

import json
from typing import NamedTuple

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.recipe import KINDS, Recipe
from dreal_tf.training.recipe_files import bundled_file, bundled_names, load_python

FOLDER = "spaces"  # Bundled spaces lie here, below the recipes.
CRITIC_PATHS = ("dreal.", "optim.critic_learning_rate")  # Fields that a plain network ignores.
FIXED = {
    "name": "a search names its trials itself",
    "dreal.enabled": "the recipe without the method is always run beside the trials",
}
DIGITS = 6  # Significant digits of a sampled number, so that a recipe shows it exactly.


class Choice:
    """A field takes one of some values.

    Args:
        *values: anything that the recipe takes for the field, None and tuples included.
    Raises:
        InputError: if there are none, or two are the same.
    Example:
        >>> Choice("mean", "static").ends
        ('mean', 'static')
    """

    def __init__(self, *values):
        texts = [json.dumps(value) for value in values]
        if not values or len(set(texts)) < len(texts):
            raise InputError(
                f"Expected values that differ, at least one. Received: Choice{values!r}. Name each once."
            )
        self.values = values
        kinds = {type(value) for value in values}
        # Keras Tuner holds these values as they are; it gets the text of all others.
        self.plain = len(kinds) == 1 and kinds <= {int, float, str}
        self._texts = texts

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
            int, float or str that Keras Tuner has sampled.
        """
        return hp.Choice(path, list(self.values if self.plain else self._texts))

    def read(self, sampled):
        """The value behind the one that Keras Tuner has sampled.

        Args:
            sampled: int, float or str; a float may have been rounded on its way between processes.
        Returns:
            One of `values`.
        Example:
            >>> Choice(None, ("conv4",)).read('["conv4"]')
            ('conv4',)
        """
        if not self.plain:
            return self.values[self._texts.index(sampled)]
        if isinstance(self.values[0], float):
            return min(self.values, key=lambda value: abs(value - sampled))
        return sampled

    def describe(self):
        """The choice as JSON can hold it."""
        return {"choice": json.loads(json.dumps(self.values))}


class Range(NamedTuple):
    """A field takes any number between two; whole ones if both are ints.

    Attributes:
        low, high: int or float, both included.
        log: bool. Whether to sample uniformly in the logarithm.
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

    def read(self, sampled):
        """The value behind the one that Keras Tuner has sampled, see `Choice.read`.

        Example:
            >>> Range(0.0, 1.0).read(0.123456789)
            0.123457
        """
        return sampled if isinstance(sampled, int) else float(f"{sampled:.{DIGITS}g}")

    def describe(self):
        """The range as JSON can hold it."""
        return self._asdict()


class Space:
    """Fields of a recipe by dotted path, each a `Choice` or a `Range`.

    Args:
        fields: dict from dotted path, such as "dreal.actor_weight", to `Choice` or `Range`.
    Raises:
        InputError: if a path is unknown or cannot be searched, or a range is empty.
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
        """Whether a field matters to a network without the method too.

        Example:
            >>> Space({"dreal.penalty": Range(0.0, 2.0)}).changes_network
            False
        """
        return any(not path.startswith(CRITIC_PATHS) for path in self.fields)

    def check(self, recipe):
        """Checks that a recipe takes all values of the space: each choice, both ends of each range.

        Args:
            recipe: `dreal_tf.Recipe`.
        Raises:
            InputError: naming the first field that does not.
        """
        for path, values in self.fields.items():
            for value in values.ends:
                changes = self._with_a_kind(path) | {path: value}
                recipe.replace(recipe.applicable(changes))  # Another kind's field changes nothing.

    def _with_a_kind(self, path):
        """A searched kind that has the field, if the kind of its section is searched too."""
        section, _, name = path.partition(".")
        field, _, models = KINDS.get(section, ("", None, {}))
        kinds = self.fields.get(f"{section}.{field}")
        taking = [k for k in kinds.ends if name in models[k].model_fields] if kinds else []
        return {f"{section}.{field}": taking[0]} if taking else {}

    def declare(self, hp):
        """Names all fields to Keras Tuner.

        Args:
            hp: `keras_tuner.HyperParameters`.
        Returns:
            Dict from path to the sampled value.
        """
        return {path: values.declare(hp, path) for path, values in self.fields.items()}

    def changes(self, sampled):
        """The values that Keras Tuner has sampled, as `Recipe.replace` takes them.

        Args:
            sampled: dict from path to int, float or str; paths outside the space are ignored.
        Returns:
            Dict from path to value.
        """
        return {path: self.fields[path].read(sampled[path]) for path in self.fields}

    def describe(self):
        """The space as JSON can hold it.

        Example:
            >>> Space({"dreal.penalty": Range(0.0, 2.0)}).describe()
            {'dreal.penalty': {'low': 0.0, 'high': 2.0, 'log': False}}
        """
        return {path: values.describe() for path, values in self.fields.items()}


def bundled_spaces():
    """Names of the bundled search spaces.

    Example:
        >>> bundled_spaces()
        ['attention', 'method', 'optimizer']
    """
    return bundled_names(FOLDER)


def load_space(space, smoke=False):
    """A search space by name or path.

    Args:
        space: str or path: a bundled name, or a `.py` file with a function `space(smoke=False)`.
        smoke: bool. The space shrunk to values that train in seconds.
    Returns:
        `Space`.
    Raises:
        InputError: if there is no such space, or it is not valid.
    Example:
        >>> "dreal.actor_weight" in load_space("method").fields
        True
    """
    return load_python(bundled_file(space, "search space", FOLDER), "space", Space, smoke)


def _check_range(path, values):
    numbers = all(isinstance(n, int | float) and not isinstance(n, bool) for n in values.ends)
    if not numbers or not values.low < values.high or (values.log and values.low <= 0):
        floor = " above 0" if values.log else ""
        raise InputError(
            f"Expected two rising numbers{floor} for {path}. Received: {values!r}. Change them."
        )
