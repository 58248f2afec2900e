"""The fraction of an epoch that the instruments take: `python tools/benchmarks/instrument_cost.py RECIPE`.

An epoch is its training and its validation. The validation runs with and without instruments, in
turns in one process.
"""

import time

import numpy as np
from recipe_command import on_generated_images, recipe_command

from dreal_tf.analysis.benchmark import interleaved
from dreal_tf.training.builder import build
from dreal_tf.training.recipe_files import load_recipe

ARMS = {"without": {"dreal.instrument_fraction": 0.0}, "with": {}}


def instrument_seconds(recipe, rounds):
    """Seconds of an epoch's parts, turn by turn.

    Args:
        recipe: `dreal_tf.Recipe`.
        rounds: int >= 1. Turns.
    Returns:
        Dict of float arrays (rounds,): `training`, and validation `without` and `with` instruments.
    """
    built = {arm: build(recipe.replace(made)) for arm, made in ARMS.items()}
    model, data, callbacks = built["with"]
    turns = {"training": lambda: model.fit(data.train, callbacks=callbacks, verbose=0)}
    for arm, (of_arm, splits, _) in built.items():
        turns[arm] = lambda of_arm=of_arm, splits=splits: of_arm.evaluate(splits.validation, verbose=0)
    return interleaved({arm: _timed(turn) for arm, turn in turns.items()}, rounds)


def instrument_fractions(seconds):
    """The fraction of an epoch that the instruments take, turn by turn.

    Args:
        seconds: what `instrument_seconds` gave.
    Returns:
        Float array (rounds,).
    Example:
        >>> seconds = {"training": np.ones(1), "without": np.ones(1), "with": np.full(1, 1.5)}
        >>> instrument_fractions(seconds).tolist()
        [0.2]
    """
    return (seconds["with"] - seconds["without"]) / (seconds["training"] + seconds["with"])


def _timed(turn):
    def timed():
        start = time.perf_counter()
        turn()
        return time.perf_counter() - start

    return timed


def main(recipe, side, images, rounds):
    """Prints the fraction, of a recipe's own data or of generated images."""
    recipe = on_generated_images(load_recipe(recipe), side, images)
    seconds = instrument_seconds(recipe, rounds)
    for arm, times in seconds.items():
        print(f"{arm:<10}{np.median(times):8.3f} s")
    low, percent, high = 100 * np.quantile(instrument_fractions(seconds), [0.25, 0.5, 0.75])
    print(f"share     {percent:8.2f} % of an epoch ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    recipe_command(main, "The fraction of an epoch that the instruments take.", rounds=(5, "Turns."))
