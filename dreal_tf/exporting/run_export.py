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
    beside = untaught_network(recipe, data, network)
    return export(network, path, format, precision, data, beside)


def untaught_network(recipe, data, network):
    """The network that `--baseline` trains, for its cost: with the weights of the one that was taught.

    Weights of its own would be drawn. What int8 makes of a network that nobody trained says nothing
    about one that somebody did, and LiteRT may not even take it.

    Args:
        recipe: `Recipe` of the run.
        data: `dreal_tf.data.Splits` of the run.
        network: `keras.Model` that the run has trained.
    Returns:
        `keras.Model` of the same variables.
    """
    baseline = recipe.replace({"dreal.enabled": False})
    untaught = build_network(baseline, data.image_shape, len(data.class_names))
    untaught.set_weights(network.get_weights())
    return untaught
