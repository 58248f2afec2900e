"""Loads a finished run: its recipe, data, network and preprocessing."""

import warnings

from dreal_tf.data.preprocessing import Preprocessing
from dreal_tf.storage import read_network
from dreal_tf.training.builder import build_data, build_network, load_weights
from dreal_tf.training.plugins import load_plugins
from dreal_tf.training.run_directory import FINISH_AGAIN, RunDirectory, finished_run


def trained_network(run_path, data_dir=None, precision=None):
    """The best network of a run, with its auxiliary outputs, and its data.

    Args:
        run_path: str or path of a run directory that holds `model.keras`.
        data_dir: str, path or None. Folder of the data; None for the run's.
        precision: str, of the network; None for the run's.
    Returns:
        `dreal_tf.Recipe`, `dreal_tf.data.splits.Splits`, and a functional `keras.Model`.
    Raises:
        InputError: if there is no run, it has no weights yet, or its data is missing.
    """
    run = finished_run(run_path)
    recipe = run.read_recipe().reading(data_dir)
    if precision:
        recipe = recipe.replace({"run.precision": precision})
    data = run_data(run, recipe)
    return recipe, data, best_network(run, recipe, data)


def run_data(run, recipe):
    """The data of a run, in its recorded splits.

    Args:
        run: `RunDirectory`.
        recipe: `dreal_tf.Recipe` of the run, with the folder of the data.
    Returns:
        `dreal_tf.data.splits.Splits`.
    Raises:
        InputError: if the data is missing or differs.
    """
    data = build_data(recipe, run.recorded_splits)
    if data.files is not None and run.recorded_splits is None:
        warnings.warn(
            f"{str(run.path)!r} holds no splits.csv, so its splits are drawn again. If images were added or removed "
            "since the training, the test split contains training images.",
            stacklevel=3,
        )
    return data


def best_network(run, recipe, data):
    """The network of a run with its best weights, and with its auxiliary outputs.

    Args:
        run: `RunDirectory` that holds `model.keras`.
        recipe: `dreal_tf.Recipe` of the run.
        data: `dreal_tf.data.splits.Splits` of the run.
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
    return read_network(run.network, FINISH_AGAIN)


def saved_preprocessing(folder):
    """The preprocessing of the images of a run's network.

    Args:
        folder: path of a run directory.
    Returns:
        `dreal_tf.data.preprocessing.Preprocessing`, or None if no file records it.
    Raises:
        InputError: if the file is damaged.
    """
    kept = RunDirectory(folder).read_preprocessing()
    return None if kept is None else Preprocessing(**kept)
