"""Predictions of a run, of a `.keras` network and of exports, for images in files."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dreal_tf.data import Preprocessing
from dreal_tf.errors import InputError
from dreal_tf.exporting import Served, format_of, load_export
from dreal_tf.inference.loose_images import LooseImages
from dreal_tf.inference.network_files import load_network


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
        served: `dreal_tf.exporting.Served`, with preprocessing.
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
