"""Runs exported networks with nothing but their own runtime; this file imports nothing else of ours.

As a command, `python exported_model.py`, it reads a job as one line of JSON from standard input and
prints one line of JSON; `dreal_tf` cannot be imported in that process.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

# The main file of an exported folder, by format.
FILES = {"saved_model": "saved_model.pb", "litert": "model.tflite", "onnx": "model.onnx"}
OUTPUTS = ("probabilities", "embedding")  # Either is an export's main output, one row an image.
WARM_UP = 3  # Calls before the measured ones.


def format_of(path):
    """The format of an export.

    Args:
        path: str or path, a folder that was exported to, or a `.tflite` or `.onnx` file.
    Returns:
        Str, a key of `FILES`, or None if it is none.
    """
    path = Path(path)
    for name, file in FILES.items():
        if (path / file).is_file() or (path.is_file() and path.suffix == Path(file).suffix != ".pb"):
            return name
    return None


def load(path):
    """A function from images (batch, height, width, channels) to an export's main output, as arrays.

    Images have values from 0 to 255: bytes of any size for a SavedModel, otherwise floats of the
    network's size.

    Args:
        path: see `format_of`.
    """
    name = format_of(path)
    file = Path(path) / FILES[name] if Path(path).is_dir() else Path(path)
    return {"saved_model": _saved_model, "litert": _litert, "onnx": _onnx}[name](file)


def _saved_model(file):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(file.parent))  # Kept by the function: it owns the variables.
    serve = loaded.signatures["serving_default"]

    def run(images):
        outputs = serve(images=tf.constant(images))
        return outputs[next(name for name in OUTPUTS if name in outputs)].numpy()

    run.loaded = loaded
    return run


def _litert(file):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        # That runtime is smaller; TensorFlow brings the same one, by this name alone.
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter

    # From bytes: only these are verified; a file that is cut short would end the process.
    interpreter = Interpreter(model_content=file.read_bytes())
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images):
        if tuple(interpreter.get_input_details()[0]["shape"]) != images.shape:
            interpreter.resize_tensor_input(source["index"], images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], _as_type(images, source["dtype"]))
        interpreter.invoke()
        output = interpreter.get_tensor(sink["index"])
        scale, zero = sink["quantization"]
        return (output.astype("float32") - zero) * scale if scale else output

    interpreter.allocate_tensors()
    return run


def _onnx(file):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    dtype = "uint8" if source.type == "tensor(uint8)" else "float32"
    return lambda images: session.run(None, {source.name: _as_type(images, dtype)})[0]


def _as_type(images, dtype):
    return np.rint(images).astype(dtype) if np.dtype(dtype).kind in "ui" else images.astype(dtype)


def run_job(job):
    """Writes the first export's outputs, and times each export on single images.

    Args:
        job: dict: `paths`, exports of one format; `images`, a `.npy` file of images; `outputs`, the
            `.npy` file to write; `batch`, images at a time; `rounds`, timed calls with one image each,
            the exports in turn.
    Returns:
        Dict: `milliseconds`, for each export a list with the time of each call.
    """
    images = np.load(job["images"])
    networks = [load(path) for path in job["paths"]]
    batches = [images[n : n + job["batch"]] for n in range(0, len(images), job["batch"])]
    np.save(job["outputs"], np.concatenate([networks[0](batch) for batch in batches]))
    times = [[] for _ in networks]
    for turn in range(WARM_UP + job["rounds"]):
        image = images[turn % len(images)][None]
        for network, milliseconds in zip(networks, times, strict=True):
            start = time.perf_counter()
            network(image)
            milliseconds.append(1000 * (time.perf_counter() - start))
    return {"milliseconds": [milliseconds[WARM_UP:] for milliseconds in times]}


if __name__ == "__main__":
    sys.modules["dreal_tf"] = None  # An export that needs it must fail here, not at a user's.
    print(json.dumps(run_job(json.loads(sys.stdin.readline()))))
