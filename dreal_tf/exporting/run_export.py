"""Exports what a run has trained."""

from dreal_tf.builder import build_network
from dreal_tf.exporting.exporter import check_new, export
from dreal_tf.exporting.formats import check_format
from dreal_tf.trained_run import trained_network


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
