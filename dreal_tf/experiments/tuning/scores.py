"""What the curve of a trial is worth, and when it need not be trained any further."""

import math
from typing import NamedTuple

from dreal_tf.errors import InputError, unknown_name


class Objective(NamedTuple):
    """The logged quantity that a search makes best, on validation data.

    Attributes:
        name: str, as logged, such as "val_accuracy". Less is better of what ends in "loss", more is
            better of all else.
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
        """By how much a value is better than another; below 0: worse.

        Args:
            value, over: float or None.
        Returns:
            float, or None where one of them is None.
        Example:
            >>> Objective("val_loss").improvement(0.25, over=0.75)
            0.5
        """
        if value is None or over is None:
            return None
        return value - over if self.direction == "max" else over - value

    def best(self, curve):
        """The best of a curve: its first, where several are equal.

        Args:
            curve: sequence of float, by epoch; what is not finite counts for nothing.
        Returns:
            Pair of the epoch (int) and the value (float); (None, None) where there is none.
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
        """Whether a trial has been trained as far as it should be.

        Args:
            curve: sequence of float, by epoch, so far.
            epochs: int or None. Epochs that the trial is given; None: all of its recipe.
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
        waited = len(curve) - 1 - (-1 if best is None else best)
        return patience is not None and waited >= patience

    def curve(self, history):
        """The course of the objective in a run.

        Args:
            history: path of a `history.csv`; it may not be there yet.
        Returns:
            List of float, by epoch.
        """
        from dreal_tf.training.callbacks.history_file import read_history

        rows = read_history(history) if history.is_file() else []
        return [row.get(self.name, math.nan) for row in rows]

    def check(self):
        """Whether it is a quantity of validation data.

        Raises:
            InputError: if it is not.
        """
        if not self.name.startswith("val_"):
            raise InputError(
                "Expected an objective on validation data, such as val_accuracy. Received: "
                f"{self.name!r}. Put val_ before a logged quantity."
            )

    def check_logged(self):
        """Whether some model logs it; the module in its name is not looked at.

        Raises:
            InputError: if none does.
        """
        from dreal_tf.method.metrics import InstrumentMetrics, MethodMetrics

        results = [metrics(["module"]).result() for metrics in (MethodMetrics, InstrumentMetrics)]
        logged = {name.split("/")[0] for result in results for name in result} | {"loss", "accuracy"}
        known = [f"val_{name}" for name in logged]
        if self.name.split("/")[0] not in known:
            raise unknown_name("logged objective", self.name, known)
