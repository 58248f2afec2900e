"""Exports a trained network to a file that runs without this package, and verifies it."""

import json
import math
import os
import tempfile
from pathlib import Path

import numpy as np

from dreal_tf.deployment.formats import check_format, write
from dreal_tf.deployment.served import Served, ServedEmbedding
from dreal_tf.deployment.verification import (
    BATCH,
    compare_embeddings,
    compare_probabilities,
    run_exports,
)
from dreal_tf.errors import InputError, check_new_folder
from dreal_tf.method.finite import check_finite_weights
from dreal_tf.model import DREAL
from dreal_tf.networks.backbones import plain_network
from dreal_tf.networks.flops import multiply_adds
from dreal_tf.training.builder import build_network
from dreal_tf.training.trained_run import trained_network

COMPARED = 10_000  # Test images that the export is compared on, at most, ...
BYTES = 2**29  # ... and the memory that they may take.
CALIBRATION = 256  # Validation images that determine the ranges of int8.
RANDOM_INPUTS = 64  # Inputs to compare on if there is no data.
NOTE = "export.json"


def export(
    model, path, format="saved_model", precision="float32", data=None, beside=None, data_dir=None
):
    """Writes a network so that it runs without this package, and checks that it does.

    Only the plain network is written, with the preparation of its images inside if `data` defines it;
    for data of identities, the network to embeddings of unit length. A process that cannot import
    `dreal_tf` loads the export and runs it on the test images; the export is kept only if its outputs
    are those of the network.

    Args:
        model: `DREAL`, a functional `keras.Model` from images to logits, or the path of a run
            directory, whose own data and baseline are used.
        path: str or path of a folder that does not exist yet.
        format: "saved_model", "litert" or "onnx".
        precision: "float32", or for "litert" also "float16" or "int8".
        data: `dreal_tf.data.splits.Splits` that the network was trained on, or None: the export then takes
            normalised images, and is compared on random ones.
        beside: `keras.Model` whose cost is measured too, such as the baseline, or None.
        data_dir: str, path or None. Current folder of a run's data.
    Returns:
        Dict of figures, see `dreal_tf.deployment.results.ExportResult`; `export.json` in the folder holds them too.
    Raises:
        InputError: if the folder exists, a weight is not finite, or arguments contradict each other.
        RunError: if the export cannot run or its outputs differ; nothing is kept then.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> figures = export(DREAL(network), "served")
        >>> figures["largest_difference"] < 1e-4, figures["variables"]
        (True, 49)
    """
    check_format(format, precision)
    path = check_new_folder(path, "to export to")
    if isinstance(model, str | os.PathLike):
        recipe, data, model = trained_network(model, data_dir, precision="float32")
        beside = baseline_network(recipe, data, model)
    if precision == "int8" and data is None:
        raise InputError(
            "Expected images that determine the ranges of int8. Received: data=None. Give the data "
            "that the network was trained on."
        )
    serve = ServedEmbedding if data is not None and data.retrieval else Served
    served = [serve(_plain(model), data and data.preprocessing)]
    if beside is not None:
        served.append(serve(plain_network(beside), served[0].preprocessing))
    images, labels = _test_images(served[0], data)
    batches = (images[n : n + BATCH] for n in range(0, len(images), BATCH))
    own = np.concatenate([served[0].of_pixels(batch).numpy() for batch in batches])
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        folders = [Path(folder, name) for name in ("export", "beside")[: len(served)]]
        calibration = _calibration_images(data) if precision == "int8" else None
        for network, part in zip(served, folders, strict=True):
            write(network, part, format, precision, calibration)
        outputs, milliseconds = run_exports(folders, images)
        figures = {"format": format, "precision": precision}
        if serve is Served:
            figures |= compare_probabilities(outputs, own, labels, precision)
        else:
            figures |= compare_embeddings(outputs, own, precision)
        figures["megabytes"] = _megabytes(folders[0])
        costs = list(map(_cost, served, milliseconds))
        figures |= costs[0]
        if beside is not None:
            figures["beside"] = costs[1]
        preprocessing = served[0].preprocessing and served[0].preprocessing._asdict()
        note = figures | {"gives": served[0].gives, "preprocessing": preprocessing}
        (folders[0] / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
        os.replace(folders[0], path)
    return figures


def _plain(model):
    if isinstance(model, DREAL):
        model.average_statistics()
        model = model.trajectory_network
    network = plain_network(model) if isinstance(model.output, dict) else model
    check_finite_weights(network)
    dtypes = {layer.compute_dtype for layer in network.layers}
    if dtypes != {"float32"}:
        raise InputError(
            "Expected a network in float32, in which exports compute. Received: "
            f"{network.name!r} in {', '.join(sorted(dtypes))}. Build it again with "
            "run.precision=float32 and give it the same weights, as `dreal-tf export RUN` does."
        )
    return network


def _test_images(served, data):
    """Images to compare on, as the export takes them, and their labels or None."""
    if data is None:
        shape = (RANDOM_INPUTS, *served.image_shape)
        return np.random.default_rng(0).normal(size=shape).astype("float32"), None
    limit = min(COMPARED, max(BYTES // math.prod(served.image_shape), 1))
    batches, images, labels = data.test, [], []
    if data.retrieval:  # Images of identities without a class; only their embeddings are compared.
        queries = data.retrieval["test"].query
        batches = ((inputs, np.full(len(inputs), -1)) for inputs in queries)
    for inputs, batch_labels in batches:
        images.append(data.preprocessing.pixels(inputs).numpy())
        labels.append(batch_labels)
        if sum(map(len, images)) >= limit:
            break
    return np.concatenate(images)[:limit], np.concatenate(labels)[:limit]


def _calibration_images(data):
    images = [data.preprocessing.pixels(inputs).numpy() for inputs, _ in data.validation]
    return np.concatenate(images)[:CALIBRATION]


def _megabytes(folder):
    return round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6, 3)


def _cost(served, milliseconds):
    return {
        "milliseconds": round(milliseconds, 3),
        "variables": len(served.network.variables),
        "multiply_adds": multiply_adds(served.network, served.image_shape),
    }


def baseline_network(recipe, data, network):
    """The network that `--baseline` trains, with the weights of a run's network, to measure its cost.

    Its cost does not depend on its weights, but LiteRT sometimes refuses the int8 form of a randomly
    initialised network.

    Args:
        recipe: `Recipe` of the run.
        data: `dreal_tf.data.splits.Splits` of the run.
        network: `keras.Model` that the run trained.
    Returns:
        `keras.Model`.
    Raises:
        ValueError: if the method left anything in the network: the weights then do not fit.
    """
    baseline = build_network(
        recipe.replace({"dreal.enabled": False}), data.image_shape, len(data.class_names)
    )
    baseline.set_weights(network.get_weights())
    return baseline
