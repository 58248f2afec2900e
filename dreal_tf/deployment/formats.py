"""Writes networks in the formats that they are exported to, each by its own library."""

import importlib.util
import tempfile
import warnings

import keras
import tensorflow as tf

from dreal_tf.deployment.exported_model import FILES
from dreal_tf.errors import InputError, unknown_name
from dreal_tf.keras_internals import patch_tf2onnx

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
    try:
        content = _litert(served, precision, calibration) if format == "litert" else _onnx(served)
    except Exception as error:  # Converters raise whatever they meet.
        raise InputError(
            f"Expected a network of operations that {format!r} has. Received: {served.network.name!r}, "
            f"whose conversion ended in {type(error).__name__}: {_summary(error)}. Export as "
            "'saved_model', which has all, or leave that layer out."
        ) from error
    (folder / FILES[format]).write_bytes(content)


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


def _litert(served, precision, calibration):
    with tempfile.TemporaryDirectory() as folder:
        # From a SavedModel, whose variables become constants: interpreters have no variables.
        archive = keras.export.ExportArchive()
        archive.track(served.network)
        archive.add_endpoint("serving_default", *_sized(served))
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
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
