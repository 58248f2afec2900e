"""Predictions of a run, of a `.keras` network and of exports, for images in files."""

import json
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.builder import build_data
from dreal_tf.data import Preprocessing, decoded, unreadable
from dreal_tf.errors import InputError
from dreal_tf.exporting import Served, format_of, load_export
from dreal_tf.run_directory import RunDirectory
from dreal_tf.trained_run import finished_run, kept_preprocessing

BATCH = 32  # Images that go through a network together.


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
        answer: callable from a uint8 array (batch, height, width, channels) to probabilities.
        any_size: bool. Whether `answer` resizes by itself; if not, it takes the network's size.
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
        pixels = self.preprocessing.resized(image[None])[0]
        return tf.cast(tf.round(pixels), tf.uint8).numpy()


def load_predictor(path, data=None, data_dir=None):
    """The network that a path stands for.

    Args:
        path: str or path: a run directory, a `.keras` file, or an export.
        data: `dreal_tf.Recipe` whose data a `.keras` file was trained on, where nothing beside the
            file says how images are prepared for it; else None.
        data_dir: str, path or None. Where the data of a run lies now, if the run does not say how
            images are prepared for it.
    Returns:
        `Predictor`.
    Raises:
        InputError: if there is no network there, or nothing says how to prepare its images.
    """
    path = Path(path)
    if format_of(path):
        return _of_export(path)
    file = path
    if path.suffix != ".keras":
        file = finished_run(path).network
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
    served = Served(keras.saving.load_model(file), preprocessing or build_data(data).preprocessing)
    run = tf.function(served.of_pixels, reduce_retracing=True)
    return Predictor(served.preprocessing, lambda images: run(tf.constant(images)).numpy())


def _of_export(path):
    note = (path if path.is_dir() else path.parent) / "export.json"
    said = json.loads(note.read_text()) if note.is_file() else {}
    if said.get("gives") == "embedding":
        raise InputError(
            f"Expected an export that gives classes. Received: {str(path)!r}, which gives embeddings, as "
            "runs on data of identities do. Compare embeddings with one another: see docs/retrieval.md."
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
    files = _files(paths)
    predictions, broken, waiting = [], {}, []
    for file in seen(files):
        try:
            channels = predictor.preprocessing.image_shape[-1]
            image = predictor.prepared(decoded(tf.io.read_file(str(file)), channels))
        except tf.errors.OpError as error:
            broken[str(file)] = unreadable(error)
            continue
        if waiting and (waiting[0][1].shape != image.shape or len(waiting) == BATCH):
            predictions += _named(predictor, waiting, top)
            waiting = []
        waiting.append((file, image))
    if waiting:
        predictions += _named(predictor, waiting, top)
    if not predictions:
        named = "; ".join(f"{path}: {why}" for path, why in list(broken.items())[:3])
        raise InputError(
            f"Expected at least one image that can be read. Received: {named or 'no files'}. Check "
            "the paths."
        )
    return predictions, broken


def _files(paths):
    files = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file())
            below = [file.relative_to(path).parts for file in inside]
            visible = [not any(part.startswith(".") for part in parts) for parts in below]
            files += [file for file, shown in zip(inside, visible, strict=True) if shown]
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(
                f"Expected image files and folders. Received: {str(path)!r}, which does not exist. "
                "Check the path."
            )
    return files


def _named(predictor, waiting, top):
    files, images = zip(*waiting, strict=True)
    for file, probabilities in zip(files, predictor.answer(np.stack(images)), strict=True):
        likeliest = np.argsort(-probabilities, kind="stable")[:top]
        names = predictor.preprocessing.class_names
        yield Prediction(str(file), [(names[c], float(probabilities[c])) for c in likeliest])
