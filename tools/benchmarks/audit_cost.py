"""What an audit saves by computing each network once up to the ablated module.

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


class Timed:
    """The batches of an audit, which note when each is asked for; the first pays for tracing."""

    def __init__(self, batch, rounds):
        self.batches, self.times = [batch] * (rounds + 1), []

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, position):
        return self.batches[position]

    def __iter__(self):
        for batch in self.batches:
            self.times.append(time.perf_counter())
            yield batch

    @property
    def seconds(self):
        """List of float: the time of each batch but the first."""
        return np.diff(self.times)[1:].tolist()


def measured(network, batch, rounds, shared):
    """Seconds of each audited batch, and the differences."""
    static = static_actions(network, batch[0])
    groups, batches = [(module,) for module in static] + [tuple(static)], Timed(batch, rounds)
    result = measure_differences(network, batches, static, groups, shared=shared)
    batches.times.append(time.perf_counter())
    return batches.seconds, result.differences


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
        (whole, of_whole), (shared, of_shared) = (measured(network, batch, 1, s) for s in (False, True))
        ratios.append(shared[0] / whole[0])
        for baseline, values in of_whole.items():
            worst = max(worst, float(np.abs(values - of_shared[baseline]).max()))
    print(
        f"SE-ResNet-{given.depth}, {given.side}×{given.side}, {IMAGES} images, {os.cpu_count()} cores, "
        f"TensorFlow {tf.__version__}: {shared[0]:.1f} s with shared prefixes, {whole[0]:.1f} s without. "
        f"Ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, {given.rounds} "
        f"rounds); largest difference {worst:.1e}."
    )


if __name__ == "__main__":
    main()
