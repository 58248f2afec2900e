"""Measures whether our own kernels pay: steps with each kernel alternate with steps of Keras's layer.

python tools/benchmarks/kernels.py [--rounds N] [--networks resnet8_16 ...]
"""

import argparse
import contextlib
import os
import platform
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from dreal_tf import build, load_recipe
from dreal_tf.analysis.benchmark import (
    first_batch,
    generated_data,
    interleaved,
    median_interval,
    turn_of_model,
)
from dreal_tf.networks.backbones import residual_wiring

# Each kernel and the Keras layer that it rewrites.
KERNELS = {
    "FusedBatchNormalization": keras.layers.BatchNormalization,
    "SmallMapConv2D": keras.layers.Conv2D,
}
NETWORKS = {
    "resnet8_16": ("cifar10_resnet8_se", {"data.image_size": 16}),
    "resnet20_32": ("cifar10_resnet20_se", {}),
    "resnet50_64": ("imagenet_resnet50_se", {"data.image_size": 64, "data.batch_size": 32}),
    "resnet50_224": ("imagenet_resnet50_se", {"data.image_size": 224, "data.batch_size": 8}),
}
ARMS = {"plain": False, "dreal": True}


def turn_without(kernel, recipe, data):
    """A turn of training steps in which Keras's layer replaces one kernel (None: no kernel)."""
    replaced = contextlib.nullcontext()
    if kernel is not None:
        replaced = mock.patch.object(residual_wiring, kernel, KERNELS[kernel])
    with replaced:
        model, data, _ = build(recipe, data)
    return turn_of_model(model, first_batch(data))


def measure(network, arm, rounds):
    """Seconds of a step with all kernels (key None) and without each, turn by turn."""
    name, changes = NETWORKS[network]
    changes = changes | {"run.precision": "float32", "dreal.enabled": ARMS[arm]}
    recipe = load_recipe(name).replace(changes)
    data = generated_data(recipe)
    return interleaved({k: turn_without(k, recipe, data) for k in (None, *KERNELS)}, rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, TensorFlow {tf.__version__}, "
        f"Keras {keras.__version__}, {options.rounds} rounds, float32\n"
    )
    print("| network | step | with all | kernel | a step takes less by (95 %) |\n|---|---|---|---|---|")
    for network in options.networks:
        for arm in ARMS:
            seconds = measure(network, arm, options.rounds)
            together = seconds.pop(None)
            for kernel, without in seconds.items():
                saved = 100 * (1 - together / without)
                low, high = median_interval(saved)
                print(
                    f"| {network} | {arm} | {1000 * np.median(together):.1f} ms | {kernel} "
                    f"| {np.median(saved):.1f} % ({low:.1f} to {high:.1f}) |",
                    flush=True,
                )
            keras.backend.clear_session()


if __name__ == "__main__":
    main()
