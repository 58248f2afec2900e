"""The costs of the method on a GPU, with XLA and without, in two precisions: `python tools/benchmarks/gpu.py`.

Steps (plain, sampled and exact, in turns in one process), growth with depth, and audits. `--dry` runs all of it
on small networks and few turns, on any device.
"""

import argparse
import itertools

import audit_cost
import depth_cost
import numpy as np
import tensorflow as tf

from dreal_tf.analysis.benchmark import (
    ESTIMATORS,
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

# Recipes, and sides of their images (pixels).
NETWORKS = (("imagenet_resnet50_se", 224), ("imagenet_resnet50_se", 64), ("cifar10_resnet20_se", 32))
PRECISIONS = ("float32", "mixed_bfloat16")


def step_ratios(recipe, xla, rounds):
    """The ratio of each estimator's step to the plain one, turn by turn.

    Args:
        recipe: `dreal_tf.Recipe` with the method enabled, on images of a known shape.
        xla: bool. Whether steps are compiled by XLA.
        rounds: int >= 1. Turns.
    Returns:
        Dict by estimator of float arrays (rounds,), and the median seconds of the plain step.
    """
    data, turns = generated_data(recipe), {}
    for arm, of_arm in recipes_of_arms(recipe).items():
        model = build(of_arm, data)[0]
        model.jit_compile = xla
        turns[arm] = turn_of_model(model, first_batch(data))
    seconds = interleaved(turns, rounds)
    ratios = {name: seconds[name] / seconds[PLAIN] for name in ESTIMATORS}
    return ratios, float(np.median(seconds[PLAIN]))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="Turns of every arm.")
    parser.add_argument("--images", type=int, default=64, help="Images of a batch.")
    parser.add_argument("--dry", action="store_true", help="Small networks and one turn.")
    given = parser.parse_args(arguments)
    rounds, networks = (1, (("digits_resnet8_se", 8),)) if given.dry else (given.rounds, NETWORKS)
    devices = [device.name for device in tf.config.list_logical_devices()]
    print(f"TensorFlow {tf.__version__}, {', '.join(devices)}, {given.images} images a batch.")
    print(
        "| network | pixels | precision | XLA | plain | sampled (95 %) | exact (95 %) |\n|---|---|---|---|---|---|---|"
    )
    for (name, side), precision, xla in itertools.product(networks, PRECISIONS, (False, True)):
        changes = {"data.image_size": side, "data.batch_size": given.images, "run.precision": precision}
        ratios, plain = step_ratios(load_recipe(name).replace(changes), xla, rounds)
        cells = [name, str(side), precision, "on" if xla else "off", f"{1e3 * plain:.1f} ms"]
        for values in ratios.values():
            low, high = median_interval(values)
            cells.append(f"{np.median(values):.3f} ({low:.3f} to {high:.3f})")
        print("| " + " | ".join(cells) + " |")
    small = ["--recipe", "digits_resnet8_se", "--depths", "8", "14", "--side", "8"] if given.dry else []
    depth_cost.main([*small, "--images", str(given.images), "--rounds", str(rounds)])
    audit_cost.main(["--side", "32", "--rounds", "1"] if given.dry else ["--side", "224"])


if __name__ == "__main__":
    main()
