"""Whether an export answers as the network it came from: asked in a process without this package."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dreal_tf.deployment import exported_model
from dreal_tf.errors import RunError

BATCH, ROUNDS = 64, 50  # Images at a time; calls with one image each whose time is taken.


class Bounds(NamedTuple):
    """How far an export may be from the network.

    Attributes:
        difference: float. Of any probability, at most.
        agreement: float. Share of images with the same likeliest class, at least.
        accuracy: float. What accuracy may fall by (fraction).
    """

    difference: float
    agreement: float
    accuracy: float


# Float32 differs by the order of sums; the others by the digits that they drop.
BOUNDS = {
    "float32": Bounds(difference=1e-4, agreement=0.999, accuracy=0.001),
    "float16": Bounds(difference=0.05, agreement=0.99, accuracy=0.005),
    "int8": Bounds(difference=1.0, agreement=0.95, accuracy=0.01),
}


def answers_of(paths, images, rounds=ROUNDS):
    """What an export answers outside, and the time of an image.

    Args:
        paths: sequence of paths of exports of one format; the first is asked for answers.
        images: array (n, height, width, channels) of the dtype that it takes.
        rounds: int. Images whose time is taken, the exports in turn.
    Returns:
        Float array (n, classes), and for each export the median time of an image (milliseconds).
    Raises:
        RunError: if it cannot be loaded or run.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, taken = Path(folder, "images.npy"), Path(folder, "answers.npy")
        np.save(given, images)
        job = {"paths": [str(Path(path).resolve()) for path in paths], "images": str(given)}
        job |= {"answers": str(taken), "batch": BATCH, "rounds": rounds}
        process = subprocess.run(
            [sys.executable, exported_model.__file__],
            input=json.dumps(job) + "\n",
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # Its error messages are in the encoding of the system.
            check=False,
            cwd=folder,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        if process.returncode:
            raise RunError(
                f"Expected an export that runs by itself. Received: {str(paths[0])!r}, which ended in "
                f"{' '.join(process.stderr.strip().splitlines()[-1:])!r}. Nothing was kept; export "
                "to another format."
            )
        times = json.loads(process.stdout.splitlines()[-1])["milliseconds"]
        return np.load(taken), [float(np.median(row)) for row in times]


def compared(exported, own, labels, precision):
    """Figures of an export beside the network's own.

    Args:
        exported, own: float arrays (n, classes) of probabilities.
        labels: int array (n,), or None where there are none.
        precision: str, a key of `BOUNDS`.
    Returns:
        Dict: `images`, `largest_difference` (of a probability), `agreement` (share of images with the
        same likeliest class), and with labels `accuracy` and `network_accuracy` (fractions).
    Raises:
        RunError: if the export is beyond its bounds.
    Example:
        >>> own = np.float32([[0.9, 0.1], [0.2, 0.8]])
        >>> compared(own, own, np.int32([0, 0]), "float32")["accuracy"]
        0.5
    """
    difference = float(np.abs(exported - own).max())
    same = float(np.mean(exported.argmax(1) == own.argmax(1)))
    figures = {"images": len(own), "largest_difference": difference, "agreement": same}
    bounds, fell = BOUNDS[precision], 0.0
    if labels is not None:
        figures["accuracy"] = float(np.mean(exported.argmax(1) == labels))
        figures["network_accuracy"] = float(np.mean(own.argmax(1) == labels))
        fell = figures["network_accuracy"] - figures["accuracy"]
    within = difference <= bounds.difference and same >= bounds.agreement
    if not within or fell > bounds.accuracy:  # A NaN is within nothing.
        raise RunError(
            f"Expected an export within {bounds.difference} of every probability, {bounds.agreement} "
            f"of the classes and {bounds.accuracy} of the accuracy. Received: a difference of "
            f"{difference:.2g}, {same:.4f} of the classes, an accuracy {fell:.4f} lower. Nothing was "
            "kept; export with --precision float32."
        )
    return figures


def compared_embeddings(exported, own, precision):
    """Figures of an export of embeddings beside the network's own.

    Args:
        exported, own: float arrays (n, dimensions), n at least 2, rows of unit length.
        precision: str, a key of `BOUNDS`.
    Returns:
        Dict: `images`, `largest_difference` (of any coordinate), `least_cosine` (of an image's two
        embeddings), and `agreement` (share of images whose nearest other image by the export is nearest
        by the network too, to within the difference that is allowed).
    Raises:
        RunError: if the export is beyond its bounds.
    Example:
        >>> own = np.float32([[1, 0], [0.6, 0.8], [0, 1]])
        >>> compared_embeddings(own, own, "float32")["agreement"]
        1.0
    """
    bounds = BOUNDS[precision]
    difference = float(np.abs(exported - own).max())
    cosines = [
        rows @ rows.T for rows in (np.asarray(exported, np.float64), np.asarray(own, np.float64))
    ]
    for cosine in cosines:
        np.fill_diagonal(cosine, -np.inf)
    chosen = cosines[1][np.arange(len(own)), cosines[0].argmax(1)]
    same = float(np.mean(chosen >= cosines[1].max(1) - min(bounds.difference, 0.05)))
    least = float(np.min(np.sum(exported * own, axis=1)))
    unit = np.abs(np.linalg.norm(exported, axis=1) - 1).max() <= max(bounds.difference, 0.02)
    if not (difference <= bounds.difference and same >= bounds.agreement and unit):
        raise RunError(
            f"Expected an export within {bounds.difference} of every coordinate of embeddings of unit "
            f"length, and {bounds.agreement} of the nearest images. Received: a difference of "
            f"{difference:.2g}, {same:.4f} of the nearest images, lengths from "
            f"{np.linalg.norm(exported, axis=1).min():.3f}. Nothing was kept; export with --precision "
            "float32."
        )
    figures = {"images": len(own), "largest_difference": difference}
    return figures | {"least_cosine": least, "agreement": same}
