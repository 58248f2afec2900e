"""Reads weight files of Keras and PyTorch as arrays by name."""

import importlib
from pathlib import Path

import h5py
import keras
import numpy as np

from dreal_tf.errors import InputError

ENDINGS = (".keras", ".weights.h5", ".h5", ".safetensors", ".pt", ".pth", ".bin")
# Variables of Keras's layers in order: `.weights.h5` stores their numbers instead of their names.
NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")
KERNELS = ("kernel", "bias")


def read_arrays(path):
    """Reads all arrays of a file.

    Args:
        path: str or path: a network (`.keras`, `.h5`), Keras weights (`.weights.h5`), or a state
            dict of PyTorch (`.pt`, `.pth`, `.bin`, `.safetensors`).
    Returns:
        Dict of numpy arrays, by "<layer>/<variable>" for Keras, "<module>.<parameter>" for PyTorch.
    Raises:
        InputError: if the file is missing or unreadable, or the package that reads it is missing.
    Example:
        >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="first")])
        >>> network.save_weights("mine.weights.h5")
        >>> {name: array.shape for name, array in read_arrays("mine.weights.h5").items()}
        {'first/kernel': (2, 3), 'first/bias': (3,)}
    """
    path = Path(path)
    ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), None)
    if not path.is_file() or ending is None:
        problem = "whose ending is unknown" if path.is_file() else "where there is none"
        raise InputError(
            f"Expected a file of weights ({', '.join(ENDINGS)}). Received: {str(path)!r}, {problem}. "
            "Check the path."
        )
    readers = {".keras": _of_network, ".weights.h5": _of_weights, ".h5": _of_old_file}
    readers[".safetensors"] = _of_safetensors
    try:
        arrays = readers.get(ending, _of_state_dict)(path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"Expected a file of weights that can be read. Received: {str(path)!r} ({problem}). Write "
            "it again, or convert it to .safetensors."
        ) from error
    return {name: np.asarray(array) for name, array in arrays.items()}


def _of_network(path):
    network = keras.saving.load_model(path, compile=False)
    return {variable.path: variable.numpy() for variable in network.variables}


def _of_weights(path):
    """Keras 3: each `vars` group stores its layer's name; groups of sublayers are nested."""
    names, arrays = {}, {}
    with h5py.File(path) as file:
        groups = []
        file.visititems(lambda key, item: groups.append((key, item)) if "name" in item.attrs else None)
        for key, group in groups:
            names[key.removesuffix("vars").rstrip("/")] = group.attrs["name"]
        for key, group in groups:
            parts = key.removesuffix("vars").rstrip("/").split("/")
            above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
            layer = "/".join(names[p] for p in above if p in names)
            kinds = NORMALIZATION if len(group) == len(NORMALIZATION) else KERNELS
            for kind, number in zip(kinds, sorted(group, key=int), strict=False):
                arrays[f"{layer}/{kind}"] = group[number][()]
    return arrays


def _of_old_file(path):
    """Networks and weights in the format of Keras 2, which `keras.applications` uses."""
    arrays = {}
    with h5py.File(path) as file:
        root = file.get("model_weights", file)
        for layer in map(_text, root.attrs["layer_names"]):
            for name in map(_text, root[layer].attrs["weight_names"]):
                variable = name.split("/")[-1].split(":")[0]
                arrays[f"{layer}/{variable}"] = root[layer][name][()]
    return arrays


def _text(name):
    return name.decode() if isinstance(name, bytes) else str(name)


def _of_safetensors(path):
    return _needed("safetensors.numpy", "safetensors").load_file(path)


def _of_state_dict(path):
    torch = _needed("torch", "torch")
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):  # Checkpoints nest the state dict under one of these keys.
        loaded = loaded.get(key, loaded) if isinstance(loaded.get(key), dict) else loaded
    return {name.removeprefix("module."): value.numpy() for name, value in loaded.items()}


def _needed(module, package):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"Expected the package {package!r} for this kind of file. Received: it is not installed. "
            f"python -m pip install {package}"
        ) from error
