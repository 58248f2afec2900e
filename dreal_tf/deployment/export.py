"""Exports a trained network to a file that runs without this package, and verifies it."""

import json
import math
import os
import tempfile
from pathlib import Path

import numpy as np

from dreal_tf.deployment.formats import check_format, write
from dreal_tf.deployment.served import Served, ServedEmbedding
from dreal_tf.deployment.verification import BATCH, answers_of, compared, compared_embeddings
from dreal_tf.errors import InputError
from dreal_tf.finite import check_finite_weights
from dreal_tf.model import DREAL
from dreal_tf.networks.backbones import plain_network
from dreal_tf.networks.flops import multiply_adds
from dreal_tf.training.builder import build_network
from dreal_tf.training.trained_run import trained_network

COMPARED = 10_000  # Test images, at most, ...
BYTES = 2**29  # ... and what they may take.
CALIBRATED = 256  # Validation images that int8 chooses its ranges by.
DRAWN = 64  # Made-up inputs, where there are no images.
NOTE = "export.json"


def export(model, path, format="saved_model", precision="float32", data=None, beside=None):
    """Writes a network so that it runs without this package, and checks that it does.

    The plain network alone is written, with the preparation of its images inside where `data` says
    what that is; of data of identities the network to embeddings of unit length. The export is loaded
    again in a process that cannot import `dreal_tf`, asked about the test images, and kept only if it
    answers as the network does.

    Args:
        model: `DREAL`, or a functional `keras.Model` from images to logits.
        path: str or path of a folder that does not exist yet.
        format: "saved_model", "litert" or "onnx".
        precision: "float32", or for "litert" also "float16" or "int8".
        data: `dreal_tf.data.Splits` that the network was trained on, or None: inputs are then taken
            normalised, as the network takes them, and compared on made-up ones.
        beside: `keras.Model` whose cost is to be measured beside, such as the baseline, or None.
    Returns:
        Dict of figures, which `export.json` in the folder holds too: `format`, `precision`, `images`
        compared, `largest_difference` of a probability, `agreement` of the likeliest class,
        `accuracy` and `network_accuracy` (fractions), or what `compared_embeddings` gives; `megabytes`,
        `milliseconds` per image; `variables` and `multiply_adds`; and `beside`, the last three of the other network.
    Raises:
        InputError: if the folder exists, a weight is not finite, or something is asked for that does
            not go together.
        RunError: if the export cannot run or answers differently; nothing is kept then.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> figures = export(DREAL(network), "served")
        >>> figures["largest_difference"] < 1e-4, figures["variables"]
        (True, 49)
    """
    check_format(format, precision)
    path = check_new(path)
    if precision == "int8" and data is None:
        raise InputError(
            "Expected images that int8 can choose its ranges by. Received: data=None. Give the data "
            "that the network was trained on."
        )
    serve = ServedEmbedding if data is not None and data.retrieval else Served
    served = serve(_plain(model), data and data.preprocessing)
    images, labels = _images(served, data)
    own = np.concatenate(
        [served.of_pixels(images[n : n + BATCH]).numpy() for n in range(0, len(images), BATCH)]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        whole, other = Path(folder, "export"), Path(folder, "beside")
        calibration = _calibration(served, data) if precision == "int8" else None
        write(served, whole, format, precision, calibration)
        written = [whole]
        if beside is not None:
            peer = serve(plain_network(beside), served.preprocessing)
            write(peer, other, format, precision, calibration)
            written.append(other)
        answers, times = answers_of(written, images)
        figures = {"format": format, "precision": precision}
        if serve is Served:
            figures |= compared(answers, own, labels, precision)
        else:
            figures |= compared_embeddings(answers, own, precision)
        figures["megabytes"] = _megabytes(whole)
        figures |= _cost(served, times[0])
        if beside is not None:
            figures["beside"] = _cost(peer, times[1])
        note = figures | {"gives": served.gives}
        note |= {"preprocessing": served.preprocessing and served.preprocessing._asdict()}
        (whole / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
        os.replace(whole, path)
    return figures


def check_new(path):
    """Refuses to export over what is there.

    Args:
        path: str or path.
    Returns:
        Path.
    Raises:
        InputError: if it exists.
    """
    path = Path(path)
    if path.exists():
        raise InputError(
            f"Expected a new folder to export to. Received: {str(path)!r}, which exists. Choose "
            "another --out, or remove it."
        )
    return path


def _plain(model):
    if isinstance(model, DREAL):
        model.average_statistics()
        model = model.trajectory_network
    network = plain_network(model) if isinstance(model.output, dict) else model
    check_finite_weights(network)
    computed = {layer.compute_dtype for layer in network.layers}
    if computed != {"float32"}:
        raise InputError(
            "Expected a network in float32, in which exports compute. Received: "
            f"{network.name!r} in {', '.join(sorted(computed))}. Build it once more with "
            "run.precision=float32 and give it the same weights, as `dreal-tf export RUN` does."
        )
    return network


def _images(served, data):
    """Images to compare on, as the export takes them, and their labels or None."""
    if data is None:
        shape = (DRAWN, *served.image_shape)
        return np.random.default_rng(0).normal(size=shape).astype("float32"), None
    most = min(COMPARED, max(BYTES // math.prod(served.image_shape), 1))
    images, labels = [], []
    for inputs, of_inputs in data.test if not data.retrieval else _queries(data):
        images.append(data.preprocessing.pixels(inputs).numpy())
        labels.append(of_inputs)
        if sum(map(len, images)) >= most:
            break
    return np.concatenate(images)[:most], np.concatenate(labels)[:most]


def _queries(data):
    """Images whose identities have no label."""
    return ((inputs, np.full(len(inputs), -1)) for inputs in data.retrieval["test"].query)


def _calibration(served, data):
    images = [data.preprocessing.pixels(inputs).numpy() for inputs, _ in data.validation]
    return np.concatenate(images)[:CALIBRATED]


def _megabytes(folder):
    return round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6, 3)


def _cost(served, milliseconds):
    return {
        "milliseconds": round(milliseconds, 3),
        "variables": len(served.network.variables),
        "multiply_adds": multiply_adds(served.network, served.image_shape),
    }


def export_run(run_path, path, format="saved_model", precision="float32", data_dir=None):
    """Exports a run's best network, beside one that was never taught by the method.

    Args:
        run_path: str or path of a run directory.
        path, format, precision: see `export`.
        data_dir: str, path or None. Where the run's data lies now: the export is compared on its
            test images.
    Returns:
        Dict of figures, see `export`; `beside` are those of the network that `--baseline` trains.
    Raises:
        InputError: if there is no run with weights, or as `export`.
        RunError: as `export`.
    """
    check_format(format, precision)  # Bad input is met before data is read.
    check_new(path)
    recipe, data, network = trained_network(run_path, data_dir, precision="float32")
    beside = baseline_network(recipe, data, network)
    return export(network, path, format, precision, data, beside)


def baseline_network(recipe, data, network):
    """The network that `--baseline` trains, with the weights of a run's own, for its cost.

    Weights that are drawn would do for its time, but LiteRT now and then refuses what int8 makes of a
    network that nobody trained.

    Args:
        recipe: `Recipe` of the run.
        data: `dreal_tf.data.Splits` of the run.
        network: `keras.Model` that the run has trained.
    Returns:
        `keras.Model`.
    Raises:
        ValueError: if the method has left anything in the network: then its weights do not fit.
    """
    baseline = build_network(
        recipe.replace({"dreal.enabled": False}), data.image_shape, len(data.class_names)
    )
    baseline.set_weights(network.get_weights())
    return baseline
