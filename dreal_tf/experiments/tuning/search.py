"""What is searched, and how. Light; TensorFlow comes with the runner."""

from typing import NamedTuple

from dreal_tf.errors import InputError, check_at_least_one, unknown_name
from dreal_tf.experiments.tuning.scores import Objective
from dreal_tf.experiments.tuning.space import Space
from dreal_tf.recipe import Recipe
from dreal_tf.training.cluster import cluster_of

TUNERS = ("random", "bayesian", "hyperband")


class Search(NamedTuple):
    """What is searched, and how.

    Example:
        >>> space = Space({"dreal.penalty": Range(0.0, 2.0)})
        >>> Search(Recipe(), space, tuner="random").settings()["objective"]
        'val_accuracy'

    Attributes:
        recipe: `dreal_tf.Recipe`, which everything outside the space is taken from.
        space: `dreal_tf.experiments.tuning.Space`.
        tuner: str: "random", "bayesian" or "hyperband".
        objective: str, the logged quantity of validation data to make best.
        patience: int or None. Epochs without a better value after which a trial ends; None: never.
        strategy: str, see `dreal_tf.training.strategies.strategy_named`; of each trial.
    """

    recipe: Recipe
    space: Space
    tuner: str = "bayesian"
    objective: str = "val_accuracy"
    patience: int | None = None
    strategy: str = "auto"

    def check(self):
        """Whether it fits together, as far as that can be said at once.

        Raises:
            InputError: naming the first thing that does not.
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
        """Whether there is such a strategy, and some model logs the objective; TensorFlow is loaded.

        Raises:
            InputError: if not.
        """
        from dreal_tf.training.strategies import STRATEGIES

        if self.strategy not in STRATEGIES:
            raise unknown_name("strategy", self.strategy, STRATEGIES)
        Objective(self.objective).check_logged()

    def settings(self):
        """All that makes trials comparable, as JSON can hold it."""
        recipe = self.recipe.model_dump(mode="json")
        del recipe["data"]["folder"]  # Where the data lies makes no other search of it.
        return {
            "recipe": recipe,
            "space": self.space.describe(),
            "tuner": self.tuner,
            "objective": self.objective,
            "patience": self.patience,
        }
