"""Predictions of runs, `.keras` files and exported models on images in files."""

import json
import logging
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.data import (
    Preprocessing,
    UnreadableImage,
    decoded,
    inspect_image,
    list_files,
    opening_problem,
    summary_of,
    unreadable,
)
from dreal_tf.deployment.exported_model import format_of
from dreal_tf.deployment.exported_model import load as load_export
from dreal_tf.deployment.served import Served
from dreal_tf.errors import InputError
from dreal_tf.finite import check_finite_weights
from dreal_tf.training.builder import build_data
from dreal_tf.training.run_directory import RunDirectory
from dreal_tf.training.trained_run import finished_run, kept_preprocessing

BATCH = 32  # Images that go through a network together.

log = logging.getLogger(__name__)


class LooseImages:
    """Images to go through, once.

    Args:
        paths: sequence of paths, of image files and folders; of a folder every file in it and below,
            by name, except those that `dreal_tf.data.list_files` leaves out.
        prepared: callable from a uint8 tensor (height, width, channels) to the array that the network
            takes.
        channels: int, 1 or 3.
        seen: callable that passes an iterable of paths on, such as a progress bar.
    Attributes:
        broken: dict from the path of each image that could not be read to why, filled as they come.
        left_out: dict from the path of each file or folder that is not read to why.
    Raises:
        InputError: if a path does not exist.
    Example:
        >>> tf.io.write_file("black.png", tf.io.encode_png(np.zeros((4, 4, 3), "uint8")))
        >>> [(files, images.shape) for files, images in LooseImages(["black.png"], np.asarray, 3)]
        [(['black.png'], (1, 4, 4, 3))]
    """

    def __init__(self, paths, prepared, channels, seen=iter):
        self.files, self.left_out = _files(paths)
        if self.left_out:
            log.info(summary_of(self.left_out))
        self.prepared, self.channels, self.seen = prepared, channels, seen
        self.broken = {}

    def __iter__(self):
        """Yields pairs: paths, list of str; and their images, array (batch, ...).

        Raises:
            InputError: at the end, if not one could be read.
        """
        files, images, any_read = [], [], False
        for file in self.seen(self.files):
            try:
                content = file.read_bytes()
                inspect_image(content)
                image = self.prepared(decoded(tf.constant(content), self.channels))
            except OSError as error:
                self.broken[str(file)] = opening_problem(error)
                continue
            except (tf.errors.OpError, UnreadableImage) as error:
                self.broken[str(file)] = unreadable(error)
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
            named = "; ".join(f"{path}: {why}" for path, why in list(self.broken.items())[:3])
            raise InputError(
                f"Expected at least one image that can be read. Received: {named or 'no files'}. Check "
                "the paths."
            )


def _files(paths):
    files, left_out = [], {}
    paths = [paths] if isinstance(paths, (str, Path)) else paths
    for path in map(Path, paths):
        if path.is_dir():
            found = list_files(path)
            files += [path / name for name in found.files]
            left_out |= {str(path / name): why for name, why in found.left_out.items()}
        elif path.exists() or path.is_symlink():
            files.append(path)
        else:
            raise InputError(
                f"Expected image files and folders. Received: {str(path)!r}, which does not exist. "
                "Check the path."
            )
    return files, left_out


def load_network(path, data=None, data_dir=None):
    """The plain network that a path stands for.

    Args:
        path: str or path: a run directory, or a `.keras` file.
        data: `dreal_tf.Recipe` whose data a `.keras` file was trained on, where nothing beside the
            file says how images are prepared for it; else None.
        data_dir: str, path or None. Where the data of a run lies now, if the run does not say how
            images are prepared for it.
    Returns:
        `keras.Model`, and `dreal_tf.data.Preprocessing`.
    Raises:
        InputError: if there is no network there, nothing says how to prepare its images, or a weight is
            not finite.
    """
    path = file = Path(path)
    recorded = None
    if path.suffix != ".keras":
        file = finished_run(path).network
        recorded = None if data else RunDirectory(path).recorded_splits
        data = data or RunDirectory(path).read_recipe().reading(data_dir)
    if not file.is_file():
        raise InputError(
            f"Expected a run, a .keras file or an export. Received: {str(path)!r}, where there is "
            "none. Check the path."
        )
    preprocessing = kept_preprocessing(file.parent)
    if preprocessing is None and data is None:
        raise InputError(
            f"Expected {RunDirectory(file.parent).preprocessing.name} beside a .keras file, as runs have it. Received: "
            f"{str(path)!r} without. Say with --data RECIPE what it was trained on."
        )
    network = keras.saving.load_model(file)
    check_finite_weights(network)
    return network, preprocessing or build_data(data, recorded).preprocessing


class Prediction(NamedTuple):
    """What a network says of an image.

    Attributes:
        image: str, its path.
        classes: list of pairs (class name, probability), likeliest first.
    """

    image: str
    classes: list


class Predictor(NamedTuple):
    """A network that images can be given to.

    Attributes:
        preprocessing: `dreal_tf.data.Preprocessing`.
        answer: callable from an array (batch, height, width, channels), values from 0 to 255, to
            probabilities, or to embeddings, one row an image.
        any_size: bool. Whether `answer` resizes bytes by itself; if not, it takes floats of the
            network's size.
    """

    preprocessing: Preprocessing
    answer: object
    any_size: bool = False

    def prepared(self, image):
        """An image as `answer` takes it.

        Args:
            image: uint8 tensor (height, width, channels).
        """
        if self.any_size:
            return image.numpy()
        return self.preprocessing.resized(image[None])[0].numpy()


def load_predictor(path, data=None, data_dir=None):
    """The network that a path stands for.

    Args:
        path: str or path: a run directory, a `.keras` file, or an export.
        data, data_dir: see `load_network`.
    Returns:
        `Predictor`.
    Raises:
        InputError: if there is no network there, or nothing says how to prepare its images.
    """
    path = Path(path)
    if format_of(path):
        return _of_export(path)
    return predictor_of(Served(*load_network(path, data, data_dir)))


def predictor_of(served):
    """A network of this process, as it would be served.

    Args:
        served: `dreal_tf.deployment.served.Served`, with preprocessing.
    Returns:
        `Predictor`.
    """
    run = tf.function(served.of_pixels, reduce_retracing=True)
    return Predictor(served.preprocessing, lambda images: run(tf.constant(images)).numpy())


def _of_export(path):
    note = (path if path.is_dir() else path.parent) / "export.json"
    said = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    if said.get("gives") == "embedding":
        raise InputError(
            f"Expected an export that gives classes. Received: {str(path)!r}, which gives embeddings, as "
            "runs on data of identities do. Search by them: `dreal-tf index RUN FOLDER --out INDEX`."
        )
    kept = said.get("preprocessing")
    if kept is None:
        raise InputError(
            "Expected an export that prepares images itself. Received: "
            f"{str(path)!r}, which takes normalised tensors. Export the run, or give `data` to "
            "dreal_tf.export."
        )
    return Predictor(Preprocessing(**kept), load_export(path), format_of(path) == "saved_model")


def predict(predictor, paths, top=1, seen=iter):
    """Predictions for images in files.

    Args:
        predictor: `Predictor`.
        paths: sequence of paths, of image files and folders; of a folder every file in it and below,
            except hidden ones.
        top: int >= 1. Classes to name for each image.
        seen: callable that passes an iterable of paths on, such as a progress bar.
    Returns:
        List of `Prediction`; and a dict from the path of each image that cannot be read to why.
    Raises:
        InputError: if a path does not exist, or no image can be read.
    """
    channels = predictor.preprocessing.image_shape[-1]
    images = LooseImages(paths, predictor.prepared, channels, seen)
    predictions = [found for files, batch in images for found in _named(predictor, files, batch, top)]
    return predictions, images.broken


def _named(predictor, files, images, top):
    for file, probabilities in zip(files, predictor.answer(images), strict=True):
        likeliest = np.argsort(-probabilities, kind="stable")[:top]
        names = predictor.preprocessing.class_names
        yield Prediction(file, [(names[c], float(probabilities[c])) for c in likeliest])
