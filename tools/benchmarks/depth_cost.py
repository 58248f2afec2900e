"""How the cost of the method grows with depth: `python tools/benchmarks/depth_cost.py`.

The ratio of the sampled step to the plain one at 101 layers, less the ratio at 50. Four models take turns in
one process, so that each turn gives a difference.
"""

import argparse

import numpy as np
import tensorflow as tf

from dreal_tf.analysis.benchmark import (
    PLAIN,
    first_batch,
    generated_data,
    interleaved,
    median_interval,
    recipes_of_arms,
    turn_of_model,
)
from dreal_tf.training.builder import build
from dreal_tf.training.recipe_files import load_recipe

DEPTHS = (50, 101)


def step_seconds(recipe, depths, rounds):
    """Seconds of a step, turn by turn.

    Args:
        recipe: `dreal_tf.Recipe` with the method enabled, on images of a known shape.
        depths: pair of int.
        rounds: int >= 1. Turns.
    Returns:
        Dict by (depth, arm) of float arrays (rounds,); arms "plain" and "sampled".
    """
    turns = {}
    for depth in depths:
        recipes = recipes_of_arms(recipe.replace({"backbone.depth": depth}))
        data = generated_data(recipe)
        for arm in (PLAIN, "sampled"):
            turns[depth, arm] = turn_of_model(build(recipes[arm], data)[0], first_batch(data))
    return interleaved(turns, rounds)


def ratios_of(seconds):
    """The ratio of the sampled step to the plain one by depth, turn by turn.

    Example:
        >>> ratios_of({(50, "plain"): np.ones(1), (50, "sampled"): np.full(1, 1.5)})
        {50: array([1.5])}
    """
    depths = dict.fromkeys(depth for depth, _ in seconds)
    return {depth: seconds[depth, "sampled"] / seconds[depth, PLAIN] for depth in depths}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="imagenet_resnet50_se")
    parser.add_argument("--depths", type=int, nargs=2, default=DEPTHS)
    parser.add_argument("--side", type=int, default=64, help="Side of the images (pixels).")
    parser.add_argument("--images", type=int, default=32, help="Images of a batch.")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--rounds", type=int, default=11)
    given = parser.parse_args(arguments)
    changes = {"data.image_size": given.side, "data.batch_size": given.images}
    recipe = load_recipe(given.recipe).replace(changes | {"run.precision": given.precision})
    ratios = ratios_of(step_seconds(recipe, given.depths, given.rounds))
    for depth, of_depth in ratios.items():
        low, high = median_interval(of_depth)
        print(f"{depth:>4} layers: {np.median(of_depth):.3f} ({low:.3f} to {high:.3f})")
    first, last = given.depths
    difference = ratios[last] - ratios[first]
    low, high = median_interval(difference)
    print(
        f"difference: {np.median(difference):+.3f} ({low:+.3f} to {high:+.3f}; {given.rounds} turns, "
        f"{given.side}×{given.side}, {given.images} images, {given.precision}, TensorFlow {tf.__version__})"
    )


if __name__ == "__main__":
    main()
