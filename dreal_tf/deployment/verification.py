"""Verifies an export: its outputs in a process without this package, compared with the network's own."""

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

BATCH, ROUNDS = 64, 50  # Images at a time; timed calls with one image each.


class Bounds(NamedTuple):
    """How far an export may be from the network.

    Attributes:
        difference: float. Largest difference of any probability.
        agreement: float. Least fraction of images with the same likeliest class.
        accuracy: float. Largest loss of accuracy (fraction).
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


def run_exports(paths, images, rounds=ROUNDS):
    """Runs exports in a process that cannot import this package.

    Args:
        paths: sequence of paths of exports of one format.
        images: array (n, height, width, channels) of the dtype that they take.
        rounds: int. Timed calls with one image each, the exports in turn.
    Returns:
        Float array (n, classes or dimensions), outputs of the first export; and for each export the
        median time of one image (milliseconds).
    Raises:
        RunError: if an export cannot be loaded or run.
    """
    with tempfile.TemporaryDirectory() as folder:
        image_file, output_file = Path(folder, "images.npy"), Path(folder, "outputs.npy")
        np.save(image_file, images)
        job = {"paths": [str(Path(path).resolve()) for path in paths], "images": str(image_file)}
        job |= {"outputs": str(output_file), "batch": BATCH, "rounds": rounds}
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
        return np.load(output_file), [float(np.median(row)) for row in times]


def compare_probabilities(exported, own, labels, precision):
    """Compares the probabilities of an export with the network's own.

    Args:
        exported, own: float arrays (n, classes).
        labels: int array (n,), or None.
        precision: str, a key of `BOUNDS`.
    Returns:
        Dict: `images`, `largest_difference` (of any probability), `agreement` (fraction of images with
        the same likeliest class), and with labels `accuracy` and `network_accuracy` (fractions).
    Raises:
        RunError: if the export is beyond its bounds.
    Example:
        >>> own = np.float32([[0.9, 0.1], [0.2, 0.8]])
        >>> compare_probabilities(own, own, np.int32([0, 0]), "float32")["accuracy"]
        0.5
    """
    difference = float(np.abs(exported - own).max())
    agreement = float(np.mean(exported.argmax(1) == own.argmax(1)))
    figures = {"images": len(own), "largest_difference": difference, "agreement": agreement}
    bounds, drop = BOUNDS[precision], 0.0
    if labels is not None:
        figures["accuracy"] = float(np.mean(exported.argmax(1) == labels))
        figures["network_accuracy"] = float(np.mean(own.argmax(1) == labels))
        drop = figures["network_accuracy"] - figures["accuracy"]
    within = difference <= bounds.difference and agreement >= bounds.agreement  # False for a NaN.
    if not within or drop > bounds.accuracy:
        raise RunError(
            f"Expected an export within {bounds.difference} of every probability, {bounds.agreement} "
            f"of the classes and {bounds.accuracy} of the accuracy. Received: a difference of "
            f"{difference:.2g}, {agreement:.4f} of the classes, an accuracy {drop:.4f} lower. Nothing "
            "was kept; export with --precision float32."
        )
    return figures


def compare_embeddings(exported, own, precision):
    """Compares the embeddings of an export with the network's own.

    Args:
        exported, own: float arrays (n, dimensions), n at least 2, rows of unit length.
        precision: str, a key of `BOUNDS`.
    Returns:
        Dict: `images`, `largest_difference` (of any coordinate), `least_cosine` (of an image's two
        embeddings), and `agreement` (fraction of images whose nearest other image by the export is
        the nearest by the network too, within the allowed difference).
    Raises:
        RunError: if the export is beyond its bounds.
    Example:
        >>> own = np.float32([[1, 0], [0.6, 0.8], [0, 1]])
        >>> compare_embeddings(own, own, "float32")["agreement"]
        1.0
    """
    bounds = BOUNDS[precision]
    difference = float(np.abs(exported - own).max())
    cosines = [np.float64(rows) @ np.float64(rows).T for rows in (exported, own)]
    for cosine in cosines:
        np.fill_diagonal(cosine, -np.inf)
    chosen = cosines[1][np.arange(len(own)), cosines[0].argmax(1)]
    agreement = float(np.mean(chosen >= cosines[1].max(1) - min(bounds.difference, 0.05)))
    lengths = np.linalg.norm(exported, axis=1)
    unit = np.abs(lengths - 1).max() <= max(bounds.difference, 0.02)
    if not (difference <= bounds.difference and agreement >= bounds.agreement and unit):
        raise RunError(
            f"Expected an export within {bounds.difference} of every coordinate of embeddings of unit "
            f"length, and {bounds.agreement} of the nearest images. Received: a difference of "
            f"{difference:.2g}, {agreement:.4f} of the nearest images, lengths from "
            f"{lengths.min():.3f}. Nothing was kept; export with --precision float32."
        )
    least_cosine = float(np.min(np.sum(exported * own, axis=1)))
    figures = {"images": len(own), "largest_difference": difference}
    return figures | {"least_cosine": least_cosine, "agreement": agreement}
