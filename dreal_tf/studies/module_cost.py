"""What a training step of ResNet-50 costs with each module: `python -m dreal_tf.studies.module_cost`.

Time is measured against the network without attention, in turns in one process; memory in a fresh
process for each network. Both without the method, whose own cost is another matter.
"""

import argparse
import json
import resource
import subprocess
import sys

import numpy as np

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.layers import ACTORS
from dreal_tf.recipe_files import load_recipe
from dreal_tf.studies.cost import interleaved, ratio_quartiles, turn_of

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
        "data.name": "generated",
        "data.shape": (side, side, 3),
        "data.image_size": None,  # Or the made-up images would be brought to the recipe's own.
        "data.images": 64,
        "data.classes": 4,
        "data.batch_size": batch,
        "run.precision": "float32",
    }
    return load_recipe(RECIPE).replace(changes)


def time_of(kind, side, batch, rounds):
    """Median seconds of a step, and quartiles of its ratio to the step without attention.

    Returns:
        Dict of `seconds`, `low`, `ratio` and `high`.
    """
    arms = {arm: turn_of(recipe_of(arm, side, batch), 1) for arm in ("none", kind)}
    seconds = interleaved(arms, rounds)
    low, ratio, high = ratio_quartiles(seconds[kind], seconds["none"])
    return {"seconds": np.median(seconds[kind]), "low": low, "ratio": ratio, "high": high}


def memory_of(kind, side, batch):
    """Peak resident memory of this process after three steps.

    Returns:
        Dict of `peak` (MiB).
    """
    turn_of(recipe_of(kind, side, batch), 3)()
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def cost_table(measured):
    """The measurements as a Markdown table.

    Args:
        measured: dict by kind of what `time_of` and `memory_of` gave, "none" first.
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


def _in_a_process(*arguments):
    command = [sys.executable, "-m", "dreal_tf.studies.module_cost", *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise InputError(
            f"Expected a measurement. Received: {' '.join(command)} failed with "
            f"{process.stderr.strip().splitlines()[-1:]}. Run that command to see why."
        )
    return json.loads(process.stdout.splitlines()[-1])


def main(kinds, side, batch, rounds, only):
    """Measures kinds, each in processes of its own, or `only` one thing of one kind here."""
    for kind in kinds:
        if kind not in KINDS:
            raise unknown_name("attention kind", kind, KINDS)
    if only == "time":
        print(json.dumps(time_of(kinds[0], side, batch, rounds)))
    elif only == "memory":
        print(json.dumps(memory_of(kinds[0], side, batch)))
    else:
        shared = ["--side", side, "--batch", batch, "--rounds", rounds]
        measured = {}
        for kind in dict.fromkeys(["none", *(kinds or KINDS)]):
            parts = (_in_a_process(kind, "--only", part, *shared) for part in ("time", "memory"))
            measured[kind] = {name: value for part in parts for name, value in part.items()}
            print(kind, measured[kind], file=sys.stderr)
        print("\n".join(cost_table(measured)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What a step of ResNet-50 costs with each module.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"Of {', '.join(KINDS)}; none: all.")
    parser.add_argument("--side", type=int, default=64, help="Of the images (pixels).")
    parser.add_argument("--batch", type=int, default=32, help="Images a step.")
    parser.add_argument("--rounds", type=int, default=7, help="Turns of a step each.")
    parser.add_argument("--only", choices=["time", "memory"], help="Of the one KIND, as JSON.")
    try:
        main(**vars(parser.parse_args()))
    except InputError as error:
        sys.exit(f"Error: {error}")
