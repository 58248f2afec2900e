"""The network in a run or a `.keras` file, and how images are prepared for it."""

from pathlib import Path

import keras

from dreal_tf.builder import build_data
from dreal_tf.errors import InputError
from dreal_tf.finite import check_finite_weights
from dreal_tf.run_directory import RunDirectory
from dreal_tf.trained_run import finished_run, kept_preprocessing


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
