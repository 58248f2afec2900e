"""The cost of an epoch with the method, validation and instruments included.

python tools/benchmarks/epoch_cost.py RECIPE [--images N --side S] [--rounds 5] [--threads 0]

Whole epochs of the plain network and of the recipe take turns in one process; the first of each, which
traces, does not count.
"""

import time

import numpy as np
import tensorflow as tf
from recipe_command import on_generated_images, recipe_command

from dreal_tf.analysis.benchmark import PLAIN, interleaved, median_interval, recipes_of_arms
from dreal_tf.training.builder import build
from dreal_tf.training.recipe_files import load_recipe


def epoch_seconds(recipe, rounds):
    """Seconds of whole epochs, turn by turn.

    Args:
        recipe: `dreal_tf.Recipe` with the method enabled.
        rounds: int >= 1. Turns.
    Returns:
        Dict of float arrays (rounds,): "plain" and the recipe's estimator.
    """
    recipes = recipes_of_arms(recipe)
    built = {arm: build(recipes[arm]) for arm in (PLAIN, recipe.dreal.estimator)}
    return interleaved({arm: _epoch(*parts) for arm, parts in built.items()}, rounds)


def _epoch(model, data, callbacks):
    def turn():
        start = time.perf_counter()
        model.fit(data.train, validation_data=data.validation, callbacks=callbacks, verbose=0)
        return time.perf_counter() - start

    return turn


def main(recipe, side, images, rounds, threads):
    """Prints the ratio, of a recipe's own data or of generated images."""
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    recipe = on_generated_images(load_recipe(recipe), side, images)
    seconds = epoch_seconds(recipe, rounds)
    for arm, times in seconds.items():
        print(f"{arm:<10}{np.median(times):8.3f} s")
    ratios = seconds[recipe.dreal.estimator] / seconds[PLAIN]
    low, high = median_interval(ratios)
    print(
        f"ratio     {np.median(ratios):8.3f} ({low:.3f} to {high:.3f}; {rounds} epochs of each, "
        f"{threads or 'all'} threads, TensorFlow {tf.__version__})"
    )


if __name__ == "__main__":
    recipe_command(
        main,
        "The cost of an epoch with the method.",
        rounds=(5, "Epochs of each."),
        threads=(0, "Threads of TensorFlow; 0: all."),
    )
