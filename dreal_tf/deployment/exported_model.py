"""Runs exported networks with nothing but their own runtime: this file imports nothing of ours.

As a command, `python exported_model.py`, it reads a job as a line of JSON on standard input and answers with
a line of JSON on standard output; `dreal_tf` cannot be imported in that process.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

# What lies in the folder of an export, by format.
FILES = {"saved_model": "saved_model.pb", "litert": "model.tflite", "onnx": "model.onnx"}
GIVEN = ("probabilities", "embedding")  # What an export may give, one row an image.
WARM = 3  # Calls before time is taken.


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
    """A function from images (batch, height, width, channels) to what an export gives, as arrays.

    Images have values from 0 to 255: bytes of any size for a SavedModel, else floats of the network's
    size.

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
        given = serve(images=tf.constant(images))
        return given[next(name for name in GIVEN if name in given)].numpy()

    run.loaded = loaded
    return run


def _litert(file):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        # That runtime is smaller; TensorFlow brings the same one, by this name alone.
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter

    interpreter = Interpreter(model_path=str(file))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images):
        if tuple(interpreter.get_input_details()[0]["shape"]) != images.shape:
            interpreter.resize_tensor_input(taken["index"], images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], _as_type(images, taken["dtype"]))
        interpreter.invoke()
        answer = interpreter.get_tensor(given["index"])
        scale, zero = given["quantization"]
        return (answer.astype("float32") - zero) * scale if scale else answer

    interpreter.allocate_tensors()
    return run


def _onnx(file):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    kind = "uint8" if taken.type == "tensor(uint8)" else "float32"
    return lambda images: session.run(None, {taken.name: _as_type(images, kind)})[0]


def _as_type(images, kind):
    return np.rint(images).astype(kind) if np.dtype(kind).kind in "ui" else images.astype(kind)


def answer(job):
    """Probabilities of images from each of some exports, and how long one image takes.

    Args:
        job: dict: `paths`, exports of one format; `images`, a `.npy` file of images; `answers`, the
            `.npy` file to write the first one's answers to; `batch`, images at a time; `rounds`, calls
            with one image each whose time is taken, the exports in turn.
    Returns:
        Dict: `milliseconds`, for each export the list of times of one image.
    """
    images = np.load(job["images"])
    networks = [load(path) for path in job["paths"]]
    portions = [images[n : n + job["batch"]] for n in range(0, len(images), job["batch"])]
    np.save(job["answers"], np.concatenate([networks[0](portion) for portion in portions]))
    times = [[] for _ in networks]
    for turn in range(WARM + job["rounds"]):
        image = images[turn % len(images)][None]
        for network, taken in zip(networks, times, strict=True):
            start = time.perf_counter()
            network(image)
            taken.append(1000 * (time.perf_counter() - start))
    return {"milliseconds": [taken[WARM:] for taken in times]}


if __name__ == "__main__":
    sys.modules["dreal_tf"] = None  # An export that needs it must fail here, not at a user's.
    print(json.dumps(answer(json.loads(sys.stdin.readline()))))
