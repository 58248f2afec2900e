"""A search: the recipe, the space, the tuner, the objective, and the role of this process. Light."""

import math
import os
from pathlib import Path
from typing import NamedTuple

from dreal_tf.errors import InputError, check_at_least_one, unknown_name
from dreal_tf.experiments.space import Space
from dreal_tf.recipe import Recipe
from dreal_tf.training.strategies import STRATEGIES, cluster_of

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
            Pair of the epoch (int) and the value (float); (None, None) if there is none.
        Example:
            >>> Objective().best([0.5, 0.75, 0.75])
            (1, 0.75)
        """
        best = None, None
        for epoch, value in enumerate(curve):
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
        epochs_since = len(curve) - 1 - (-1 if best is None else best)
        return patience is not None and epochs_since >= patience

    def curve(self, history):
        """The objective in each epoch of a run.

        Args:
            history: path of a `history.csv`, which need not exist yet.
        Returns:
            List of float, by epoch.
        """
        from dreal_tf.training.callbacks import read_history

        rows = read_history(history) if history.is_file() else []
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
        InputError: if only some of them are set.
    """
    values = [os.environ.get(name, "").strip() for name in VARIABLES]
    if not any(values[1:]):
        return Role(None)
    number, address, port = values
    if not (number and address and port.isdecimal()) or "/" in number:
        received = ", ".join(f"{n}={os.environ.get(n)!r}" for n in VARIABLES)
        raise InputError(
            "Expected KERASTUNER_TUNER_ID (chief, or another name for each worker), "
            f"KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT. Received: {received}. Set all three, or none."
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
