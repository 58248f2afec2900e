"""Predictions of runs, `.keras` files and exported models on images in files."""

import itertools
import logging
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from dreal_tf.data.files import bytes_of, list_files, summary_of
from dreal_tf.data.image_files import (
    UnreadableImage,
    decoded,
    in_parallel,
    inspect_image,
    unreadable,
)
from dreal_tf.data.preprocessing import Preprocessing
from dreal_tf.deployment.exported_model import FILES, format_of
from dreal_tf.deployment.exported_model import load as load_export
from dreal_tf.deployment.results import Prediction, Predictions
from dreal_tf.deployment.served import Served
from dreal_tf.errors import InputError, checked_path
from dreal_tf.method.finite import check_finite_weights
from dreal_tf.storage import check_sums, read_json, read_network, reading
from dreal_tf.training.builder import build_data
from dreal_tf.training.run_directory import RunDirectory, checked_preprocessing, finished_run
from dreal_tf.training.trained_run import kept_network, run_data, saved_preprocessing

BATCH = 32  # Images that go through a network together.
READ_AHEAD = 4 * BATCH  # Files that are read before the network takes them.
SAVE_AGAIN = "Save the network again with `network.save(file)`, and import what its own layers need."
EXPORT_AGAIN = "Export the run again with `dreal-tf export`."
FOREIGN_OPERATION = re.compile("File|PyFunc|Dataset|Reader|Print|^Save")

log = logging.getLogger(__name__)


class LooseImages:
    """Images in files and folders, read once, in batches of one shape.

    Args:
        paths: sequence of paths, of image files and folders; a folder stands for every file in it and
            below, by name, except those that `dreal_tf.data.files.list_files` skips.
        prepare: callable from a uint8 tensor (height, width, channels) to the array that the network
            takes.
        channels: int, 1 or 3.
        progress: callable that passes on an iterable while it shows progress.
    Attributes:
        files: list of Path.
        skipped: dict from the path of each unreadable image to the reason, complete after iteration.
    Raises:
        InputError: if a path does not exist.
    Example:
        >>> tf.io.write_file("black.png", tf.io.encode_png(np.zeros((4, 4, 3), "uint8")))
        >>> [(files, images.shape) for files, images in LooseImages(["black.png"], np.asarray, 3)]
        [(['black.png'], (1, 4, 4, 3))]
    """

    def __init__(self, paths, prepare, channels, progress=iter):
        self.files, excluded = _listed(paths)
        if excluded:
            log.info(summary_of(excluded))
        self.prepare, self.channels, self.progress = prepare, channels, progress
        self.skipped = {}

    def __iter__(self):
        """Yields pairs: paths, list of str; and their images, array (batch, ...).

        Raises:
            InputError: at the end, if no image could be read.
        """
        files, images, any_read = [], [], False
        results = in_parallel(self._read, self.files, READ_AHEAD)
        for file, (image, reason) in zip(self.progress(self.files), results, strict=True):
            if reason is not None:
                self.skipped[str(file)] = reason
                continue
            any_read = True
            if images and (images[0].shape != image.shape or len(images) == BATCH):
                yield files, np.stack(images)
                files, images = [], []
            files.append(str(file))
            images.append(image)
        if images:
            yield files, np.stack(images)
        if not any_read:
            examples = [f"{path}: {reason}" for path, reason in list(self.skipped.items())[:3]]
            raise InputError(
                "Expected at least one image that can be read. Received: "
                f"{'; '.join(examples) or 'no files'}. Check the paths."
            )

    def _read(self, file):
        """The prepared image and None, or None and the reason why it cannot be read."""
        try:
            content = bytes_of(file)
            # JPEGs are decoded twice: TensorFlow ignores holes, and the pixels of the strict decoder
            # differ from TensorFlow's, which the network was trained on, by up to 14 of 255.
            inspect_image(content)
            return self.prepare(decoded(tf.constant(content), self.channels)), None
        except (OSError, tf.errors.OpError, UnreadableImage) as error:
            return None, unreadable(error)


def _listed(paths):
    """The files that paths stand for, and the excluded ones with the reasons."""
    files, excluded = [], {}
    paths = [paths] if isinstance(paths, (str, Path)) else paths
    for path in map(checked_path, paths):
        if path.is_dir():
            listing = list_files(path)
            files += [path / name for name in listing.files]
            excluded |= {str(path / name): reason for name, reason in listing.skipped.items()}
        elif path.exists() or path.is_symlink():
            files.append(path)
        else:
            raise InputError(
                f"Expected image files and folders. Received: {str(path)!r}, which does not exist. "
                "Check the path."
            )
    return files, excluded


def load_network(path, data=None, data_dir=None):
    """The plain network of a run or a `.keras` file.

    Args:
        path: str or path: a run directory, or a `.keras` file.
        data: `dreal_tf.Recipe` of the data that the network was trained on, needed if no file beside a
            `.keras` file says how to prepare its images; else None.
        data_dir: str, path or None. Current folder of a run's data, needed if the run does not say how to
            prepare its images.
    Returns:
        `keras.Model`, and `dreal_tf.data.preprocessing.Preprocessing`.
    Raises:
        InputError: if there is no network, nothing says how to prepare its images, or a weight is not
            finite.
    """
    path = Path(path)
    run = None if path.suffix == ".keras" else finished_run(path)
    file = run.network if run else path
    if not file.is_file():
        raise InputError(
            f"Expected a run, a .keras file or an export. Received: {str(path)!r}, where there is "
            "none. Check the path."
        )
    preprocessing = saved_preprocessing(file.parent)
    if preprocessing is None and data is None and run is None:
        raise InputError(
            f"Expected {RunDirectory(file.parent).preprocessing.name} beside a .keras file, as runs "
            f"have it. Received: {str(path)!r} without. Name the recipe of its training data with "
            "--data RECIPE."
        )
    network = kept_network(run) if run else read_network(file, SAVE_AGAIN)
    check_finite_weights(network)
    if preprocessing is None:
        splits = build_data(data) if data else run_data(run, run.read_recipe().reading(data_dir))
        preprocessing = splits.preprocessing
    return network, preprocessing


def check_fit(network, preprocessing, folder):
    """Refuses the preprocessing of another network's images.

    Args:
        network: `keras.Model`.
        preprocessing: `dreal_tf.data.preprocessing.Preprocessing`.
        folder: path, named in the error.
    Raises:
        InputError: if the image size or the number of classes differs.
    """
    shape = network.inputs[0].shape[1:]
    sizes = zip(shape, preprocessing.image_shape, strict=True)
    classes = network.outputs[0].shape[-1]
    same_size = all(size in (None, other) for size, other in sizes)
    if not same_size or classes != len(preprocessing.class_names):
        raise InputError(
            f"Expected a network and the preprocessing of its images in {str(folder)!r}. Received: a network "
            f"from images of {shape} to {classes} classes, and the preprocessing of images of "
            f"{preprocessing.image_shape} of {len(preprocessing.class_names)} classes. Restore the file that "
            "belongs to another network."
        )


class Predictor(NamedTuple):
    """A network with the preparation of its images.

    Attributes:
        preprocessing: `dreal_tf.data.preprocessing.Preprocessing`.
        output: callable from an array (batch, height, width, channels), values from 0 to 255, to
            probabilities, or to embeddings, one row an image.
        any_size: bool. Whether `output` resizes bytes itself; if not, it takes floats of the network's
            size.
    """

    preprocessing: Preprocessing
    output: object
    any_size: bool = False

    def prepare(self, image):
        """An image as `output` takes it.

        Args:
            image: uint8 tensor (height, width, channels).
        """
        return image.numpy() if self.any_size else self.preprocessing.resized(image[None])[0].numpy()

    def images(self, paths, progress=iter):
        """`LooseImages` prepared for this network."""
        return LooseImages(paths, self.prepare, self.preprocessing.image_shape[-1], progress)


def load_predictor(path, data=None, data_dir=None):
    """The predictor of a run, a `.keras` file or an export.

    Args:
        path: str or path.
        data, data_dir: see `load_network`.
    Returns:
        `Predictor` that gives probabilities.
    Raises:
        InputError: if there is no network, nothing says how to prepare its images, or it is an export
            that gives embeddings.
    """
    path = Path(path)
    format = format_of(path)
    if format is None and (path / "export.json").is_file():
        raise InputError(
            f"Expected one of {', '.join(FILES.values())} in an export. Received: {str(path)!r} without. "
            f"{EXPORT_AGAIN}"
        )
    if format is None:
        network, preprocessing = load_network(path, data, data_dir)
        check_fit(network, preprocessing, path)
        return predictor_of(Served(network, preprocessing))
    folder = path if path.is_dir() else path.parent
    note, expected = folder / "export.json", "the properties of an export"
    properties = read_json(note, expected, EXPORT_AGAIN) if note.is_file() else {}
    if properties.get("gives") == "embedding":
        raise InputError(
            f"Expected an export that gives classes. Received: {str(path)!r}, which gives embeddings, as "
            "runs on data of identities do. Search by them: `dreal-tf index RUN FOLDER --out INDEX`."
        )
    if properties.get("preprocessing") is None:
        raise InputError(
            "Expected an export that prepares images itself. Received: "
            f"{str(path)!r}, which takes normalised tensors. Export the run, or give `data` to "
            "dreal_tf.export."
        )
    with reading(note, expected, EXPORT_AGAIN):
        preprocessing = Preprocessing(**checked_preprocessing(properties["preprocessing"]))
    any_size = format == "saved_model"
    black = np.zeros((1, *preprocessing.image_shape), "uint8" if any_size else "float32")
    check_sums(folder)
    with reading(path, "an export that runs", EXPORT_AGAIN):
        if any_size:
            check_saved_model(folder / FILES[format])
        output = load_export(path)
        shape = output(black).shape
        if shape != (1, len(preprocessing.class_names)):
            raise ValueError(
                f"it gives {shape} for an image of {len(preprocessing.class_names)} classes"
            )
    return Predictor(preprocessing, output, any_size)


def check_saved_model(file):
    """Refuses operations that read or write files or run Python, which no network needs.

    Args:
        file: path of a `saved_model.pb`.
    Raises:
        ValueError, OSError, google.protobuf.message.DecodeError: if there are some, or it is damaged.
    """
    for graph in saved_model_pb2.SavedModel.FromString(file.read_bytes()).meta_graphs:
        functions = graph.graph_def.library.function
        # Those that save and restore the variables are called when it is loaded, with its own files.
        nodes = [f.node_def for f in functions if "traced_" not in f.signature.name]
        for node in itertools.chain(graph.graph_def.node, *nodes):
            if FOREIGN_OPERATION.search(node.op):
                raise ValueError(f"its operation {node.op} is none of a network")
        if graph.asset_file_def:
            raise ValueError(f"it has an asset, {graph.asset_file_def[0].filename}")


def predictor_of(served):
    """The predictor of a network in this process.

    Args:
        served: `dreal_tf.deployment.served.Served`, with preprocessing.
    Returns:
        `Predictor`.
    """
    run = tf.function(served.of_pixels, reduce_retracing=True)
    return Predictor(served.preprocessing, lambda images: run(tf.constant(images)).numpy())


def predict(predictor, paths, top=1, progress=iter):
    """Predictions for images in files.

    Args:
        predictor: `Predictor`.
        paths, progress: see `LooseImages`.
        top: int >= 1. Classes to name for each image.
    Returns:
        `dreal_tf.deployment.results.Predictions`.
    Raises:
        InputError: if a path does not exist, or no image can be read.
    """
    images, names = predictor.images(paths, progress), predictor.preprocessing.class_names
    predictions = []
    for files, batch in images:
        for file, probabilities in zip(files, predictor.output(batch), strict=True):
            likeliest = np.argsort(-probabilities, kind="stable")[:top]
            classes = [(names[c], float(probabilities[c])) for c in likeliest]
            predictions.append(Prediction(file, classes))
    return Predictions(predictions, images.skipped)
