"""The cost of a training step of ResNet-50 with each module: `python tools/benchmarks/module_cost.py`.

Time is measured in turns in one process, against the network without attention; memory in a fresh
process for each network. Both without the method, whose own cost is another matter.
"""

import argparse
import sys

import numpy as np

from dreal_tf.analysis.benchmark import (
    first_batch,
    generated_data,
    interleaved,
    peak_memory,
    turn_of_model,
)
from dreal_tf.errors import InputError, unknown_name
from dreal_tf.layers import ACTORS
from dreal_tf.training.builder import build
from dreal_tf.training.recipe_files import load_recipe

RECIPE = "imagenet_resnet50_se"
KINDS = ("none", *ACTORS)


def recipe_of(kind, side, batch):
    """ResNet-50 with an attention kind and without the method, on generated images.

    Args:
        kind: str, of `KINDS`.
        side: int >= 32, of the images (pixels).
        batch: int >= 1. Images a step.
    """
    changes = {
        "attention.kind": kind,
        "dreal.enabled": False,
        "data.image_size": side,
        "data.batch_size": batch,
        "run.precision": "float32",
    }
    return load_recipe(RECIPE).replace(changes)


def costs_of(kinds, side, batch, rounds):
    """Time and memory of a step with each kind.

    Args:
        kinds: sequence of str, of `KINDS`, "none" first.
        side, batch: see `recipe_of`.
        rounds: int >= 1. Turns.
    Returns:
        Dict by kind of dict: `seconds` (median of a step), `low`, `ratio` and `high` (quartiles of
        its ratio to the first kind's), and `peak` (MiB).
    """
    recipes = {kind: recipe_of(kind, side, batch) for kind in kinds}
    peaks = {kind: peak_memory(recipe) for kind, recipe in recipes.items()}
    turns = {kind: _turn(recipe) for kind, recipe in recipes.items()}
    seconds, costs = interleaved(turns, rounds), {}
    for kind, times in seconds.items():
        low, ratio, high = np.quantile(times / seconds[kinds[0]], [0.25, 0.5, 0.75])
        costs[kind] = {"seconds": float(np.median(times)), "low": low, "ratio": ratio, "high": high}
        costs[kind]["peak"] = peaks[kind]
    return costs


def _turn(recipe):
    data = generated_data(recipe)
    model, _, _ = build(recipe, data)
    return turn_of_model(model, first_batch(data))


def cost_table(measured):
    """The measurements as a Markdown table.

    Args:
        measured: dict by kind of what `costs_of` gave, "none" first.
    Returns:
        List of str.
    Example:
        >>> none = {"seconds": 0.5, "low": 1.0, "ratio": 1.0, "high": 1.0, "peak": 1000.0}
        >>> cost_table({"none": none})[2]
        '| none | 0.50 s | 1.00 (1.00 to 1.00) | 1000 MiB | 1.00 |'
    """
    lines = ["| module | a step | ratio (quartiles) | peak memory | ratio |", "|---|---|---|---|---|"]
    for kind, row in measured.items():
        ratio = "{ratio:.2f} ({low:.2f} to {high:.2f})".format(**row)
        memory = row["peak"] / measured["none"]["peak"]
        lines.append(
            f"| {kind} | {row['seconds']:.2f} s | {ratio} | {row['peak']:.0f} MiB | {memory:.2f} |"
        )
    return lines


def main():
    """Prints the table of some kinds, all in turns in one process."""
    parser = argparse.ArgumentParser(description="The cost of a step of ResNet-50 with each module.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"Of {', '.join(KINDS)}; none: all.")
    parser.add_argument("--side", type=int, default=64, help="Of the images (pixels).")
    parser.add_argument("--batch", type=int, default=32, help="Images a step.")
    parser.add_argument("--rounds", type=int, default=7, help="Turns of a step each.")
    given = parser.parse_args()
    try:
        for kind in given.kinds:
            if kind not in KINDS:
                raise unknown_name("attention kind", kind, KINDS)
        chosen = list(dict.fromkeys(["none", *(given.kinds or KINDS)]))
        print("\n".join(cost_table(costs_of(chosen, given.side, given.batch, given.rounds))))
    except InputError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
