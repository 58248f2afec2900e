"""Exports a trained network to a file that runs without this package, and verifies it."""

import importlib.util
import json
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy.stats import binomtest

from dreal_tf.deployment import exported_model
from dreal_tf.deployment.exported_model import FILES
from dreal_tf.deployment.served import Served, ServedEmbedding
from dreal_tf.errors import InputError, RunError, unknown_name
from dreal_tf.keras_internals import patch_tf2onnx
from dreal_tf.method.finite import check_finite_weights
from dreal_tf.method.instruments import bootstrap_mean
from dreal_tf.model import DREAL
from dreal_tf.networks.backbones import plain_network
from dreal_tf.networks.flops import multiply_adds
from dreal_tf.storage import SUMS, new_folder, scratch, sums_text, write_json, write_whole
from dreal_tf.training.builder import build_network
from dreal_tf.training.trained_run import trained_network

COMPARED = 10_000  # Test images that the export is compared on, at most, ...
BYTES = 2**29  # ... and the memory that they may take.
CALIBRATION = 256  # Validation images that determine the ranges of int8.
RANDOM_INPUTS = 64  # Inputs to compare on if there is no data.
NOTE = "export.json"


def export(
    model,
    path,
    format="saved_model",
    precision="float32",
    data=None,
    beside=None,
    data_dir=None,
    tolerance=None,
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
        tolerance: float or None, see `bounds_of`.
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
    bounds = bounds_of(precision, tolerance)
    with new_folder(Path(path), "to export to") as folder:
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
        return _write_verified(served, folder, format, precision, data, bounds)


def _write_verified(served, folder, format, precision, data, bounds):
    """Writes the first of some networks to the folder `new`, compares it, and measures the cost of all."""
    images, labels = _test_images(served[0], data)
    batches = (images[n : n + BATCH] for n in range(0, len(images), BATCH))
    own = np.concatenate([served[0].of_pixels(batch).numpy() for batch in batches])
    folders = [folder / name for name in ("new", "beside")[: len(served)]]
    calibration = _calibration_images(data) if precision == "int8" else None
    for network, part in zip(served, folders, strict=True):
        write(network, part, format, precision, calibration)
    outputs, milliseconds = run_exports(folders, images, folder)
    figures = {"format": format, "precision": precision}
    if data is not None and data.retrieval:
        figures |= compare_embeddings(outputs, own, bounds)
    else:
        figures |= compare_probabilities(outputs, own, labels, bounds)
    figures["megabytes"] = _megabytes(folders[0])
    costs = list(map(_cost, served, milliseconds))
    figures |= costs[0]
    if len(served) > 1:
        figures["beside"] = costs[1]
    preprocessing = served[0].preprocessing and served[0].preprocessing._asdict()
    note = figures | {"gives": served[0].gives, "preprocessing": preprocessing}
    write_json(folders[0] / NOTE, note)
    exported = sorted(file for file in folders[0].rglob("*") if file.is_file())
    write_whole(folders[0] / SUMS, sums_text(exported, folders[0]))
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


FORMATS = tuple(FILES)
PRECISIONS = ("float32", "float16", "int8")
PACKAGES = {"onnx": ("onnx", "tf2onnx", "onnxruntime")}  # Those that dreal_tf does not install itself.


def check_format(format, precision):
    """Refuses a format and a precision in which no network can be written.

    Args:
        format: str, one of `FORMATS`.
        precision: str, one of `PRECISIONS`.
    Raises:
        InputError: if the format or the precision is unknown, the two do not go together, or a
            package is missing.
    Example:
        >>> check_format("litert", "int8")
    """
    if format not in FORMATS:
        raise unknown_name("export format", format, FORMATS)
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if precision != "float32" and format != "litert":
        raise InputError(
            f"Expected precision 'float32' for the format {format!r}. Received: {precision!r}. "
            "Choose the format 'litert', which has all three."
        )
    missing = [p for p in PACKAGES.get(format, ()) if importlib.util.find_spec(p) is None]
    if missing:
        raise InputError(
            f"Expected the packages that write and check {format!r}. Received: no "
            f"{', '.join(missing)}. Install them with `pip install 'dreal-tf[{format}]'`."
        )


def write(served, folder, format, precision="float32", calibration=None):
    """Writes a network.

    Args:
        served: `Served`.
        folder: path, new.
        format, precision: str, see `check_format`.
        calibration: uint8 array (n, *image_shape), images that determine the ranges of "int8".
    Raises:
        InputError: if the format lacks an operation of the network.
    """
    if format == "saved_model":
        _write_saved_model(served, folder)
        return
    folder.mkdir(parents=True)
    file = folder / FILES[format]
    try:
        litert = format == "litert"
        content = _litert(served, file, precision, calibration) if litert else _onnx(served)
    except Exception as error:  # Converters raise whatever they meet.
        raise InputError(
            f"Expected a network of operations that {format!r} has. Received: {served.network.name!r}, "
            f"whose conversion ended in {type(error).__name__}: {_summary(error)}. Export as "
            "'saved_model', which has all, or leave that layer out."
        ) from error
    write_whole(file, content)


def _write_saved_model(served, folder):
    archive = keras.export.ExportArchive()
    archive.track(served.network)
    channels = served.image_shape[-1]
    normalised = tf.TensorSpec((None, *served.image_shape), tf.float32, name="images")
    if served.preprocessing is None:
        archive.add_endpoint("serving_default", served.raw, [normalised])
    else:
        pixels = tf.TensorSpec((None, None, None, channels), tf.uint8, name="images")
        archive.add_endpoint("serving_default", served.of_any_size, [pixels])
        archive.add_endpoint("raw", served.raw, [normalised])
    archive.write_out(str(folder), verbose=False)


def _litert(served, file, precision, calibration):
    with scratch(file) as folder:
        # From a SavedModel, whose variables become constants: interpreters have no variables.
        archive = keras.export.ExportArchive()
        archive.track(served.network)
        archive.add_endpoint("serving_default", *_sized(served))
        archive.write_out(str(folder), verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        _set_precision(converter, precision, calibration)
        return converter.convert()


def _sized(served):
    """A function from images of the network's size to its output, and its input signature.

    Its images are floats, since resized images are not whole numbers.
    """
    spec = tf.TensorSpec((None, *served.image_shape), tf.float32, name="images")
    return lambda images: {served.gives: served.of_pixels(images)}, [spec]


def _set_precision(converter, precision, calibration):
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        # The input is bytes: its range is 0 to 255, whatever the calibration images contain.
        calibration = calibration.astype("float32")
        calibration[0].flat[:2] = 0.0, 255.0
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8


def _onnx(served):
    import tf2onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        patch_tf2onnx()  # As Keras's own export does: it knows no NumPy 2.
    function, signature = _sized(served)
    model, _ = tf2onnx.convert.from_function(tf.function(function, signature), signature)
    return model.SerializeToString()


def _summary(error):
    """The operations that a converter's message names, else its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ops = [line for line in lines if line.startswith(("Custom ops:", "Flex ops:")) or "Op:" in line]
    return " ".join(ops or lines[:1])[:300]


NOT_KEPT = "Nothing was kept; export with --precision float32"
BATCH, ROUNDS = 64, 50  # Images at a time; timed calls with one image each.


class Bounds(NamedTuple):
    """How far an export may be from the network.

    Attributes:
        difference: float. Largest difference of any probability.
        changed: float. Largest fraction of images with another likeliest class, or nearest image.
        accuracy: float. Largest loss of accuracy (fraction).
    """

    difference: float
    changed: float
    accuracy: float


# Float32 differs by the order of sums; the others by the digits that they drop.
BOUNDS = {
    "float32": Bounds(difference=1e-4, changed=0.001, accuracy=0.001),
    "float16": Bounds(difference=0.05, changed=0.01, accuracy=0.005),
    "int8": Bounds(difference=1.0, changed=0.05, accuracy=0.01),
}


def bounds_of(precision, tolerance=None):
    """The bounds of a precision.

    Args:
        precision: str, one of `PRECISIONS`.
        tolerance: float in [0, 1), the largest fraction of changed images and of lost accuracy, or None
            for those of the precision.
    Returns:
        `Bounds`.
    Raises:
        InputError: if the tolerance is no fraction.
    Example:
        >>> bounds_of("int8", 0.02)
        Bounds(difference=1.0, changed=0.02, accuracy=0.02)
    """
    if tolerance is None:
        return BOUNDS[precision]
    if not 0 <= tolerance < 1:
        raise InputError(
            f"Expected a tolerance from 0 to below 1, a fraction of the test images. Received: {tolerance:g}. "
            "Write for example 0.02 for 2 %."
        )
    return BOUNDS[precision]._replace(changed=tolerance, accuracy=tolerance)


def run_exports(paths, images, folder, rounds=ROUNDS):
    """Runs exports in a process that cannot import this package.

    Args:
        paths: sequence of paths of exports of one format.
        images: array (n, height, width, channels) of the dtype that they take.
        folder: path of a temporary folder for the images and the outputs.
        rounds: int. Timed calls with one image each, the exports in turn.
    Returns:
        Float array (n, classes or dimensions), outputs of the first export; and for each export the
        median time of one image (milliseconds).
    Raises:
        RunError: if an export cannot be loaded or run.
    """
    folder = Path(folder).resolve()
    image_file, output_file = folder / "images.npy", folder / "outputs.npy"
    np.save(image_file, images)
    job = {"paths": [str(Path(path).resolve()) for path in paths], "images": str(image_file)}
    job |= {"outputs": str(output_file), "batch": BATCH, "rounds": rounds}
    process = subprocess.run(
        [sys.executable, "-P", exported_model.__file__],
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


def compare_probabilities(exported, own, labels, bounds):
    """Compares the probabilities of an export with the network's own.

    Few images decide little: a fraction fails if its whole 95 % interval exceeds the bound, and is warned
    of if the interval contains the bound.

    Args:
        exported, own: float arrays (n, classes).
        labels: int array (n,), or None.
        bounds: `Bounds`.
    Returns:
        Dict: `images`, `largest_difference` (of any probability), `agreement` (fraction of images with
        the same likeliest class), and with labels `accuracy` and `network_accuracy` (fractions).
    Raises:
        RunError: if the export is beyond its bounds.
    Example:
        >>> own = np.float32([[0.9, 0.1], [0.2, 0.8]])
        >>> compare_probabilities(own, own, np.int32([0, 0]), BOUNDS["float32"])["accuracy"]
        0.5
    """
    difference = float(np.abs(exported - own).max())
    if not difference <= bounds.difference:  # A NaN is refused too.
        raise RunError(
            f"Expected an export within {bounds.difference} of every probability. Received: a difference of "
            f"{difference:.2g}. {NOT_KEPT}."
        )
    classes, own_classes = exported.argmax(1), own.argmax(1)
    _check_changed(classes != own_classes, "have another likeliest class", bounds.changed)
    agreement = float(np.mean(classes == own_classes))
    figures = {"images": len(own), "largest_difference": difference, "agreement": agreement}
    if labels is not None:
        correct, own_correct = classes == labels, own_classes == labels
        _check_accuracy(correct, own_correct, bounds.accuracy)
        figures |= {"accuracy": float(correct.mean()), "network_accuracy": float(own_correct.mean())}
    return figures


def _check_changed(changed, how, bound):
    """Refuses too many changed images, from a bool for each."""
    count, images = int(changed.sum()), len(changed)
    interval = binomtest(count, images).proportion_ci(method="wilson")
    finding = f"{count} of {images} images {how} ({100 * count / images:.1f} %"
    _check_interval(finding, count / images, (interval.low, interval.high), bound)


def _check_accuracy(correct, own_correct, bound):
    """Refuses too low an accuracy, from bools for each image."""
    lost = bootstrap_mean(own_correct.astype(float) - correct)
    finding = f"an accuracy {100 * lost['mean']:.1f} points lower (in percent"
    _check_interval(finding, lost["mean"], (lost["low"], lost["high"]), bound)


def _check_interval(finding, value, interval, bound):
    low, high = interval
    text = (
        f"{finding}, 95 % interval {100 * low:.1f} to {100 * high:.1f}); the bound is {100 * bound:g} %"
    )
    if low > bound:
        raise RunError(
            f"Expected an export that answers as the network does. Received: {text}. {NOT_KEPT}, or "
            "allow more with --tolerance, a fraction of the images."
        )
    if value > 0 and high > bound:
        warnings.warn(
            f"Too few images to tell whether the export answers as the network does: {text}. It is kept.",
            stacklevel=2,
        )


def compare_embeddings(exported, own, bounds):
    """Compares the embeddings of an export with the network's own.

    Args:
        exported, own: float arrays (n, dimensions), n at least 2, rows of unit length.
        bounds: `Bounds`.
    Returns:
        Dict: `images`, `largest_difference` (of any coordinate), `least_cosine` (of an image's two
        embeddings), and `agreement` (fraction of images whose nearest other image by the export is
        the nearest by the network too, within the allowed difference).
    Raises:
        RunError: if the export is beyond its bounds.
    Example:
        >>> own = np.float32([[1, 0], [0.6, 0.8], [0, 1]])
        >>> compare_embeddings(own, own, BOUNDS["float32"])["agreement"]
        1.0
    """
    difference = float(np.abs(exported - own).max())
    cosines = [np.float64(rows) @ np.float64(rows).T for rows in (exported, own)]
    for cosine in cosines:
        np.fill_diagonal(cosine, -np.inf)
    chosen = cosines[1][np.arange(len(own)), cosines[0].argmax(1)]
    same = chosen >= cosines[1].max(1) - min(bounds.difference, 0.05)
    lengths = np.linalg.norm(exported, axis=1)
    unit = np.abs(lengths - 1).max() <= max(bounds.difference, 0.02)
    if not (difference <= bounds.difference and unit):
        raise RunError(
            f"Expected an export within {bounds.difference} of every coordinate of embeddings of unit "
            f"length. Received: a difference of {difference:.2g}, lengths from {lengths.min():.3f}. {NOT_KEPT}."
        )
    _check_changed(~same, "have another nearest image", bounds.changed)
    least_cosine = float(np.min(np.sum(exported * own, axis=1)))
    figures = {"images": len(own), "largest_difference": difference}
    return figures | {"least_cosine": least_cosine, "agreement": float(same.mean())}
