"""What networks cost at inference, side by side."""

import math
import tempfile
from pathlib import Path

import numpy as np

from dreal_tf.exporting import Served
from dreal_tf.exporting.formats import write
from dreal_tf.exporting.verification import answers_of
from dreal_tf.networks.backbones import plain_network
from dreal_tf.networks.flops import multiply_adds

ROUNDS = 300  # Calls with one image each whose time is taken, the networks in turn.
DRAWN = 16  # Made-up images; what they show takes no time.


def figures_of(networks, preprocessing, rounds=ROUNDS):
    """What each network costs for one image.

    Time is taken of SavedModels, in a process without this package, the networks in turn, so that
    what else the machine does falls on all of them.

    Args:
        networks: sequence of functional `keras.Model`s with auxiliary outputs, in float32.
        preprocessing: `dreal_tf.data.Preprocessing` of their images, which the time includes.
        rounds: int. Calls of each.
    Returns:
        List of dicts: `parameters` (trainable ones), `multiply_adds`, `milliseconds` (the median).
    """
    plain = [plain_network(network) for network in networks]
    shape = preprocessing.image_shape
    pixels = np.random.default_rng(0).integers(0, 256, (DRAWN, *shape), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(number)) for number in range(len(plain))]
        for path, network in zip(paths, plain, strict=True):
            write(Served(network, preprocessing), path, "saved_model")
        _, milliseconds = answers_of(paths, pixels, rounds)
    return [
        {
            "parameters": sum(math.prod(v.shape) for v in network.trainable_variables),
            "multiply_adds": multiply_adds(network, shape),
            "milliseconds": round(taken, 3),
        }
        for network, taken in zip(plain, milliseconds, strict=True)
    ]
