"""A search: its space, its tuner, its objective, and the role of this process. Light."""

import json
import math
import os
import re
from pathlib import Path
from typing import NamedTuple

from dreal_tf.errors import InputError, check_at_least_one, received, unknown_name
from dreal_tf.training.recipe import KINDS, Recipe, model_of
from dreal_tf.training.recipe_files import bundled_file, bundled_names, load_python
from dreal_tf.training.strategies import STRATEGIES, cluster_of

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
            if not Recipe.has_path(path):
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
                try:
                    recipe.replace(recipe.applicable(changes))  # Another kind's field changes nothing.
                except InputError as error:
                    raise InputError(f"{error} ({path} of the search space)") from error

    def _with_a_kind(self, path):
        """A searched kind that has the field, if the kind of its section is searched too."""
        section, _, name = path.partition(".")
        field = KINDS[section][0] if section in KINDS else ""
        kinds = self.fields.get(f"{section}.{field}")
        models = [(kind, model_of(section, kind)) for kind in kinds.ends] if kinds else []
        top = name.split(".")[0]
        taking = [kind for kind, model in models if model and top in model.model_fields]
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
            f"Expected two rising numbers{floor} for {path}. Received: {values!r}. Write for example "
            "Range(0.1, 1.0, log=True)."
        )


TUNERS = ("random", "bayesian", "hyperband")
VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")


class Search(NamedTuple):
    """The settings of a search.

    Example:
        >>> space = Space({"dreal.penalty": Range(0.0, 2.0)})
        >>> Search(Recipe(), space, tuner="random").settings()["objective"]
        'val_accuracy'

    Attributes:
        recipe: `dreal_tf.Recipe` with all fields outside the space.
        space: `dreal_tf.Space`.
        tuner: str: "random", "bayesian" or "hyperband".
        objective: str, the logged quantity of validation data to optimise.
        patience: int or None. Epochs without a better value after which a trial ends; None: never.
        strategy: str, see `dreal_tf.training.strategies.strategy_named`, for each trial.
    """

    recipe: Recipe
    space: Space
    tuner: str = "bayesian"
    objective: str = "val_accuracy"
    patience: int | None = None
    strategy: str = "auto"

    def check(self):
        """Checks all that can be checked without TensorFlow.

        Raises:
            InputError: naming the first setting that is wrong.
        """
        if self.tuner not in TUNERS:
            raise unknown_name("tuner", self.tuner, TUNERS)
        check_at_least_one(patience=self.patience)
        self.space.check(self.recipe)
        Objective(self.objective).check()
        if self.strategy == "multi_worker" or cluster_of(self.strategy) is not None:
            raise InputError(
                "Expected trials of one machine each. Received: TF_CONFIG or --strategy multi_worker, "
                "which train one over several. Take them away, and let the machines share the trials "
                "as Keras Tuner's chief and workers."
            )

    def check_names(self):
        """Checks that the strategy exists and that some model logs the objective; loads TensorFlow.

        Raises:
            InputError: if not.
        """
        if self.strategy not in STRATEGIES:
            raise unknown_name("strategy", self.strategy, STRATEGIES)
        Objective(self.objective).check_logged()

    def settings(self):
        """Dict of everything that makes trials comparable, as JSON can hold it."""
        recipe = self.recipe.model_dump(mode="json")
        del recipe["data"]["folder"]  # The same search may read its data from another folder.
        return {
            "recipe": recipe,
            "space": self.space.describe(),
            "tuner": self.tuner,
            "objective": self.objective,
            "patience": self.patience,
        }


class Objective(NamedTuple):
    """The logged quantity of validation data that a search optimises.

    Attributes:
        name: str, as logged, such as "val_accuracy". Lower is better for names that end in "loss",
            higher for all others.
    Example:
        >>> Objective("val_loss").direction
        'min'
    """

    name: str = "val_accuracy"

    @property
    def direction(self):
        """Str: "min" or "max"."""
        return "min" if self.name.endswith("loss") else "max"

    def improvement(self, value, over):
        """How much better a value is than another; below 0: worse.

        Args:
            value, over: float or None.
        Returns:
            float, or None if one of them is None.
        Example:
            >>> Objective("val_loss").improvement(0.25, over=0.75)
            0.5
        """
        if value is None or over is None:
            return None
        return value - over if self.direction == "max" else over - value

    def best(self, curve):
        """The best of a curve; the first, if several are equal.

        Args:
            curve: sequence of float, by epoch; values that are not finite are ignored.
        Returns:
            Pair of the epoch, from 1, and the value (float); (None, None) if there is none.
        Example:
            >>> Objective().best([0.5, 0.75, 0.75])
            (2, 0.75)
        """
        best = None, None
        for epoch, value in enumerate(curve, start=1):
            if math.isfinite(value) and (best[1] is None or self.improvement(value, best[1]) > 0):
                best = epoch, value
        return best

    def ended(self, curve, epochs=None, patience=None):
        """Whether a trial needs no further epoch.

        Args:
            curve: sequence of float, by epoch, so far.
            epochs: int or None. Epochs of the trial; None: all of its recipe.
            patience: int or None. Epochs without a better value after which it ends; None: never.
        Returns:
            bool.
        Example:
            >>> Objective().ended([0.75, 0.5, 0.5], patience=2)
            True
        """
        if epochs is not None and len(curve) >= epochs:
            return True
        best, _ = self.best(curve)
        epochs_since = len(curve) - (best or 0)
        return patience is not None and epochs_since >= patience

    def curve(self, history):
        """The objective in each epoch of a run.

        Args:
            history: path of a `history.csv`, which need not exist yet.
        Returns:
            List of float, by epoch.
        """
        from dreal_tf.training.callbacks import read_history

        rows = read_history(history, 0) if history.is_file() else []
        return [row.get(self.name, math.nan) for row in rows]

    def check(self):
        """Checks that it is a quantity of validation data.

        Raises:
            InputError: if it is not.
        """
        if not self.name.startswith("val_"):
            raise InputError(
                "Expected an objective on validation data, such as val_accuracy. Received: "
                f"{self.name!r}. Put val_ before a logged quantity."
            )

    def check_logged(self):
        """Checks that some model logs it; the module in its name is not checked.

        Raises:
            InputError: if none does.
        """
        from dreal_tf.method.metrics import InstrumentMetrics, MethodMetrics

        results = [metrics(["module"]).result() for metrics in (MethodMetrics, InstrumentMetrics)]
        logged = {name.split("/")[0] for result in results for name in result} | {"loss", "accuracy"}
        known = [f"val_{name}" for name in logged]
        if self.name.split("/")[0] not in known:
            raise unknown_name("logged objective", self.name, known)


class Role(NamedTuple):
    """The role of this process in a search that several share, as Keras Tuner defines it.

    Attributes:
        name: str among those that share the search; None: it works alone.
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
    """The role that the environment variables of Keras Tuner give this process.

    Returns:
        `Role`.
    Raises:
        InputError: if only some of them are set, or the name cannot be a file's.
    """
    number, address, port = (os.environ.get(name, "").strip() for name in VARIABLES)
    if number and not re.fullmatch(r"\w[\w.-]{,99}", number):  # It names files.
        raise InputError(
            "Expected KERASTUNER_TUNER_ID to be chief, or a worker's name of letters, digits, '.', '_' and '-'. "
            f"Received: {received(number)}. Choose such a name."
        )
    if not (address or port):
        return Role(None)
    if not (number and address and port.isdecimal()):
        given = ", ".join(f"{name}={received(os.environ.get(name))}" for name in VARIABLES)
        raise InputError(
            "Expected KERASTUNER_TUNER_ID (chief, or another name for each worker), "
            f"KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT. Received: {given}. Set all three, or none."
        )
    return Role(number)


def default_search_folder(recipe, space, tuner):
    """The default folder of a search.

    Args:
        recipe: `dreal_tf.Recipe`.
        space: `Space`, or its name or path.
        tuner: str.
    Returns:
        Path.
    Example:
        >>> recipe = load_recipe("digits_resnet8_se")
        >>> print(default_search_folder(recipe, "method", "random").as_posix())
        searches/digits_resnet8_se_method_random_seed0
    """
    name = "space" if isinstance(space, Space) else Path(space).stem
    return Path("searches") / f"{recipe.name}_{name}_{tuner}_seed{recipe.run.seed}"
