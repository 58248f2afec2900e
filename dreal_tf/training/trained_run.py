"""What a finished training left: its network, and how images are prepared for it."""

import json
import warnings

import keras

from dreal_tf.data.preprocessing import Preprocessing
from dreal_tf.training.builder import build_data, build_network, load_weights
from dreal_tf.training.plugins import load_plugins
from dreal_tf.training.run_directory import RunDirectory, finished_run


def trained_network(run_path, data_dir=None, precision=None):
    """The best network of a run, with its auxiliary outputs, and its data.

    Args:
        run_path: str or path of a run directory that holds `model.keras`.
        data_dir: str, path or None. Where the data lies now; None for where the run found it.
        precision: str, what the network computes in, or None for what the run did.
    Returns:
        `dreal_tf.Recipe`, `dreal_tf.data.splits.Splits`, and a functional `keras.Model`.
    Raises:
        InputError: if there is no run, it has no weights yet, or its data is not there.
    """
    run = finished_run(run_path)
    recipe = run.read_recipe().reading(data_dir)
    if precision:
        recipe = recipe.replace({"run.precision": precision})
    data = run_data(run, recipe)
    return recipe, data, best_network(run, recipe, data)


def run_data(run, recipe):
    """The data of a run, in the splits that it has recorded.

    Args:
        run: `RunDirectory`.
        recipe: `dreal_tf.Recipe`, the run's, with its data where it lies now.
    Returns:
        `dreal_tf.data.splits.Splits`.
    Raises:
        InputError: if the data is not there, or is other data.
    """
    data = build_data(recipe, run.recorded_splits)
    if data.files is not None and run.recorded_splits is None:
        warnings.warn(
            f"{str(run.path)!r} holds no splits.csv: the splits are drawn again. If images have come or gone "
            "since the training, the test split holds images that were trained on.",
            stacklevel=3,
        )
    return data


def best_network(run, recipe, data):
    """The network of a recipe with the best weights of a run, and with its auxiliary outputs.

    Args:
        run: `RunDirectory` that holds `model.keras`.
        recipe: `dreal_tf.Recipe`, the run's.
        data: `dreal_tf.data.splits.Splits`, whose images and classes the network is for.
    Returns:
        Functional `keras.Model`.
    """
    network = build_network(recipe, data.image_shape, len(data.class_names))
    load_weights(network, run.network)
    return network


def kept_network(run):
    """The plain network of a run, as Keras reads it; the run's plugins are loaded before.

    Args:
        run: `RunDirectory` that holds `model.keras`.
    Returns:
        `keras.Model`.
    """
    load_plugins(run.read_recipe().run.plugins)
    return keras.saving.load_model(run.network)


def kept_preprocessing(folder):
    """How images are prepared for the network that a folder holds.

    Args:
        folder: path of a run directory.
    Returns:
        `dreal_tf.data.preprocessing.Preprocessing`, or None where no file says so.
    """
    path = RunDirectory(folder).preprocessing
    return Preprocessing(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
