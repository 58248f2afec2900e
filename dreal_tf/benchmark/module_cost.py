"""What a training step of ResNet-50 costs with each module: `python -m dreal_tf.benchmark.module_cost`.

Time is measured against the network without attention, in turns in one process; memory in a fresh
process for each network. Both without the method, whose own cost is another matter.
"""

import argparse
import sys

import keras
import numpy as np

from dreal_tf.benchmark.arms import made_up
from dreal_tf.benchmark.memory import peak_memory
from dreal_tf.benchmark.turns import interleaved, ratio_quartiles, turn_of
from dreal_tf.errors import InputError, unknown_name
from dreal_tf.layers import ACTORS
from dreal_tf.recipe_files import load_recipe

RECIPE = "imagenet_resnet50_se"
KINDS = ("none", *ACTORS)


def recipe_of(kind, side, batch):
    """ResNet-50 with an attention kind and without the method, on made-up images.

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


def cost_of(kind, side, batch, rounds):
    """Time and memory of a step.

    Returns:
        Dict of `seconds` (median of a step), `low`, `ratio` and `high` (quartiles of its ratio to
        the step without attention), and `peak` (MiB).
    """
    recipes = {arm: recipe_of(arm, side, batch) for arm in ("none", kind)}
    turns = {arm: turn_of(recipe, made_up(recipe)) for arm, recipe in recipes.items()}
    seconds = interleaved(turns, rounds)
    low, ratio, high = ratio_quartiles(seconds[kind], seconds["none"])
    times = {"seconds": float(np.median(seconds[kind])), "low": low, "ratio": ratio, "high": high}
    return times | {"peak": peak_memory(recipes[kind])}


def cost_table(measured):
    """The measurements as a Markdown table.

    Args:
        measured: dict by kind of what `cost_of` gave, "none" first.
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


def main(kinds, side, batch, rounds):
    """Prints the table of some kinds, each beside the network without attention."""
    for kind in kinds:
        if kind not in KINDS:
            raise unknown_name("attention kind", kind, KINDS)
    measured = {}
    for kind in dict.fromkeys(["none", *(kinds or KINDS)]):
        measured[kind] = cost_of(kind, side, batch, rounds)
        keras.utils.clear_session()
        print(kind, measured[kind], file=sys.stderr)
    print("\n".join(cost_table(measured)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What a step of ResNet-50 costs with each module.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"Of {', '.join(KINDS)}; none: all.")
    parser.add_argument("--side", type=int, default=64, help="Of the images (pixels).")
    parser.add_argument("--batch", type=int, default=32, help="Images a step.")
    parser.add_argument("--rounds", type=int, default=7, help="Turns of a step each.")
    try:
        main(**vars(parser.parse_args()))
    except InputError as error:
        sys.exit(f"Error: {error}")
