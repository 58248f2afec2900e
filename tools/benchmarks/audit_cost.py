"""The time that an audit saves by computing each network once up to the ablated module.

python tools/benchmarks/audit_cost.py [--depth 50] [--side 64] [--rounds 3]

Both ways in turn in one process, on one batch of random images: the ratio of their times, its median and
range over rounds, and the largest difference of their results.
"""

import argparse
import os
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.analysis.audit import measure_differences
from dreal_tf.layers import SqueezeExcite
from dreal_tf.method.rewards import static_actions
from dreal_tf.networks.backbones import imagenet_residual_network, plain_network

CLASSES, IMAGES = 10, 32


def measured(network, batch, shared):
    """Seconds of one audited batch, after another that pays for tracing, and the differences."""
    times = []

    def track(passes):
        for number, chunk in passes:
            if number == len(times):  # A batch begins.
                times.append(time.perf_counter())
            yield number, chunk
        times.append(time.perf_counter())

    static = static_actions(network, batch[0])
    groups = [(module,) for module in static] + [tuple(static)]
    result = measure_differences(network, [batch, batch], static, groups, track=track, shared=shared)
    return times[2] - times[1], result.differences


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=50, choices=(50, 101))
    parser.add_argument("--side", type=int, default=64, help="Side of the images (pixels).")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    keras.utils.set_random_seed(0)
    shape = (given.side, given.side, 3)
    network = plain_network(
        imagenet_residual_network(shape, CLASSES, depth=given.depth, attention=SqueezeExcite(16))
    )
    images = np.random.default_rng(0).normal(size=(IMAGES, *shape)).astype("float32")
    batch = images, np.arange(IMAGES) % CLASSES
    ratios, worst = [], 0.0
    for _ in range(given.rounds):  # In turn, so that both meet the same machine.
        (whole, of_whole), (shared, of_shared) = (measured(network, batch, s) for s in (False, True))
        ratios.append(shared / whole)
        for baseline, values in of_whole.items():
            worst = max(worst, float(np.abs(values - of_shared[baseline]).max()))
    print(
        f"SE-ResNet-{given.depth}, {given.side}×{given.side}, {IMAGES} images, {os.cpu_count()} cores, "
        f"TensorFlow {tf.__version__}: {shared:.1f} s with shared prefixes, {whole:.1f} s without. "
        f"Ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, {given.rounds} "
        f"rounds); largest difference {worst:.1e}."
    )


if __name__ == "__main__":
    main()
