"""What a training step costs with each critic: `python -m dreal_tf.studies.cost RECIPE`.

All arms train in one process and in turns, on images made up in the recipe's shape, so that what
else the machine does falls on all alike.
"""

import argparse
import sys
import time

import numpy as np
import tensorflow as tf

from dreal_tf.builder import build
from dreal_tf.critics import CRITICS
from dreal_tf.errors import InputError
from dreal_tf.recipe_files import load_recipe

ROUNDS = 15  # Turns of every arm.
STEPS = 10  # Training steps a turn.


def step_seconds(recipe, rounds=ROUNDS, steps=STEPS, critics=tuple(CRITICS)):
    """Seconds that a training step takes, arm by arm, in turns.

    Args:
        recipe: `dreal_tf.Recipe`; its data section says shape and batch size.
        rounds: int >= 1. Turns.
        steps: int >= 1. Training steps a turn, of which the mean is taken.
        critics: sequence of str, those to time.
    Returns:
        Dict of float arrays (rounds,): `baseline`, and one for each critic.
    Example:
        >>> recipe = load_recipe("digits_resnet8_se", smoke=True)
        >>> list(step_seconds(recipe, rounds=1, steps=1, critics=["paper"]))
        ['baseline', 'paper']
    """
    arms = {"baseline": {"dreal.enabled": False}}
    arms |= {critic: {"dreal.critic": critic} for critic in critics}
    return interleaved(
        {arm: turn_of(recipe.replace(made), steps) for arm, made in arms.items()}, rounds
    )


def interleaved(turns, rounds):
    """Seconds of each arm, turn by turn.

    Args:
        turns: dict of callables by arm, each of which takes a turn and returns its seconds.
        rounds: int >= 1. Turns of every arm, after one that does not count.
    Returns:
        Dict of float arrays (rounds,).
    Example:
        >>> interleaved({"one": iter([9.0, 1.0, 2.0]).__next__}, rounds=2)["one"].tolist()
        [1.0, 2.0]
    """
    for turn in turns.values():  # Once for tracing.
        turn()
    seconds = {arm: [] for arm in turns}
    for _ in range(rounds):
        for arm, turn in turns.items():
            seconds[arm].append(turn())
    return {arm: np.array(times) for arm, times in seconds.items()}


def turn_of(recipe, steps):
    """A callable that trains a recipe's model for some steps and returns the seconds of one.

    Args:
        recipe: `dreal_tf.Recipe`.
        steps: int >= 1. Training steps a turn, always on the same batch.
    """
    model, data, _ = build(recipe)
    model.make_train_function()
    batches = list(data.train.take(1))

    def turn():
        iterator = iter(tf.data.Dataset.from_tensors(batches[0]).repeat(steps))
        start = time.perf_counter()
        for _ in range(steps):
            logs = model.train_function(iterator)
        float(logs["loss"])  # Wait for the last.
        return (time.perf_counter() - start) / steps

    return turn


def ratio_quartiles(seconds, reference):
    """How many times as long one arm takes as another: lower quartile, median, upper quartile.

    Args:
        seconds, reference: float arrays (rounds,), of the same turns.
    Returns:
        Float array (3,).
    Example:
        >>> ratio_quartiles(np.array([2.0, 3.0, 4.0]), np.ones(3)).tolist()
        [2.5, 3.0, 3.5]
    """
    return np.quantile(seconds / reference, [0.25, 0.5, 0.75])


def cost_lines(seconds):
    """The median step of each arm, and its ratio to the baseline's with the quartiles over turns.

    Args:
        seconds: what `step_seconds` gave.
    Returns:
        List of str.
    Example:
        >>> cost_lines({"baseline": np.array([0.01, 0.01]), "paper": np.array([0.015, 0.015])})[1]
        'paper          15.0 ms  1.50 of the baseline (1.50 to 1.50)'
    """
    lines = []
    for arm, times in seconds.items():
        low, ratio, high = ratio_quartiles(times, seconds["baseline"])
        lines.append(
            f"{arm:<12}{1e3 * np.median(times):7.1f} ms  {ratio:.2f} of the baseline "
            f"({low:.2f} to {high:.2f})"
        )
    return lines


def main(recipe: str, side: int = 32):
    """Prints the cost of a step of a recipe, on made-up images of SIDE × SIDE pixels.

    Args:
        recipe: str, name or path.
        side: int >= 1, in pixels.
    """
    made_up = {"data.name": "generated", "data.shape": (side, side, 3), "data.images": 1024}
    for line in cost_lines(step_seconds(load_recipe(recipe).replace(made_up))):
        print(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What a training step costs with each critic.")
    parser.add_argument("recipe", help="Bundled name, .py recipe, or recipe.json of a run.")
    parser.add_argument("side", nargs="?", type=int, default=32, help="Of the images (pixels).")
    try:
        main(**vars(parser.parse_args()))
    except InputError as error:
        sys.exit(f"Error: {error}")
