"""Pretrained weights: read from files, mapped to our names, loaded into our networks."""

import importlib
import os
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

import h5py
import keras
import numpy as np

from dreal_tf.errors import InputError
from dreal_tf.modules import stage_name
from dreal_tf.storage import check_hdf5, checked_zip, read_network, reading

ENDINGS = (".keras", ".weights.h5", ".h5", ".safetensors", ".pt", ".pth", ".bin")
# Variables of Keras's layers in order: `.weights.h5` stores their numbers instead of their names.
NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")
KERNELS = ("kernel", "bias")
WRITE_AGAIN = "Fetch or write it again, or convert it to .safetensors."


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
    with reading(path, "a file of weights that can be read", WRITE_AGAIN):
        arrays = readers.get(ending, _of_state_dict)(path)
        return {name: np.asarray(array) for name, array in arrays.items()}


def _of_network(path):
    network = read_network(path, WRITE_AGAIN, compile=False)
    return {variable.path: variable.numpy() for variable in network.variables}


def _of_weights(path):
    """Keras 3: each `vars` group stores its layer's name; groups of sublayers are nested."""
    names, arrays = {}, {}
    with h5py.File(path) as file:
        check_hdf5(file, path.stat().st_size)
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
        check_hdf5(file, path.stat().st_size)
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
    if zipfile.is_zipfile(path):  # PyTorch's form since 2020.
        with checked_zip(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"{damaged!r} in it is damaged")
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


APPLICATIONS, TORCH, OURS = "keras.applications", "PyTorch", "dreal_tf"
OF_TORCH = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "bias": "bias",
}
EPSILON = {APPLICATIONS: 1.001e-5, TORCH: 1e-5}
BLOCK = r"conv(\d)_(\d+)_(\d|skip)(_bn)?"
GATE = r"conv(\d)_(\d+)_se/(squeeze|excite)"


def origin_of(names):
    """The library that wrote a file, recognised by the names in it.

    Args:
        names: collection of str.
    Returns:
        `APPLICATIONS`, `TORCH` or `OURS`.
    Raises:
        InputError: if the names are not those of a residual network.
    Example:
        >>> origin_of(["conv1.weight", "layer1.0.conv1.weight"])
        'PyTorch'
    """
    for origin, sign in (
        (APPLICATIONS, r"conv\d_block\d+_\d_conv/kernel"),
        (TORCH, r"layer\d\.\d+\.conv\d\.weight"),
        (OURS, r"conv\d_\d+_\d/kernel"),
    ):
        if any(re.fullmatch(sign, name) for name in names):
            return origin
    raise InputError(
        "Expected weights of a residual network: of dreal_tf, keras.applications, torchvision or timm. "
        f"Received: names such as {', '.join(map(repr, list(names)[:3]))}. Choose such a file; train "
        "a network of another kind from Python, with `dreal_tf.attach` or `dreal_tf.insert`."
    )


def name_in(origin, variable):
    """The name of one of our variables in a file of another origin.

    Args:
        origin: `APPLICATIONS`, `TORCH` or `OURS`.
        variable: str, its path in our network.
    Returns:
        Str, or None if the origin has no such variable.
    Example:
        >>> name_in(TORCH, "conv3_1_skip_bn/gamma"), name_in(APPLICATIONS, "conv3_2_1/kernel")
        ('layer2.0.downsample.1.weight', 'conv3_block2_1_conv/kernel')
    """
    if origin == OURS:
        return variable
    layer, _, part = variable.rpartition("/")
    if origin == TORCH and part not in OF_TORCH:
        return None
    theirs = (_in_torch if origin == TORCH else _in_applications)(layer)
    if theirs is None:
        return None
    return f"{theirs}.{OF_TORCH[part]}" if origin == TORCH else f"{theirs}/{part}"


def _in_applications(layer):
    known = {"conv1": "conv1_conv", "conv1_bn": "conv1_bn", "logits": "predictions"}
    if match := re.fullmatch(BLOCK, layer):
        stage, block, number, norm = match.groups()
        number = 0 if number == "skip" else number
        return f"conv{stage}_block{block}_{number}_{'bn' if norm else 'conv'}"
    return known.get(layer)


def _in_torch(layer):
    known = {"conv1": "conv1", "conv1_bn": "bn1", "logits": "fc"}
    if match := re.fullmatch(GATE, layer):
        stage, block, part = match.groups()
        dense = {"squeeze": "fc1", "excite": "fc2"}[part]
        return f"layer{int(stage) - 1}.{int(block) - 1}.se.{dense}"
    if match := re.fullmatch(BLOCK, layer):
        stage, block, number, norm = match.groups()
        prefix = f"layer{int(stage) - 1}.{int(block) - 1}"
        if number == "skip":
            return f"{prefix}.downsample.{1 if norm else 0}"
        return f"{prefix}.{'bn' if norm else 'conv'}{number}"
    return known.get(layer)


def in_keras_layout(origin, array, shape):
    """An array in Keras's layout; PyTorch's channel axes move from the front to the back.

    Args:
        origin: see `name_in`.
        array: numpy array.
        shape: tuple, the shape of our variable.
    Example:
        >>> in_keras_layout(TORCH, np.zeros((8, 3, 7, 7)), (7, 7, 3, 8)).shape
        (7, 7, 3, 8)
        >>> in_keras_layout(TORCH, np.zeros((8, 3, 1, 1)), (3, 8)).shape  # A dense layer of ours.
        (3, 8)
    """
    if origin != TORCH or array.ndim < 2:
        return array
    if len(shape) == 2 and array.shape[2:] == (1, 1):
        array = array[:, :, 0, 0]
    return np.moveaxis(array, (0, 1), (-1, -2))


LOADED, ABSENT = "loaded", "not in the file"
LISTED = 4  # Maximum number of names in a line of the table.
# Mean and standard deviation of the images that each origin's weights expect, for RGB from 0 to 1.
# keras.applications takes channels in the order BGR, from 0 to 255, minus ImageNet's mean.
STANDARD = {
    TORCH: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    APPLICATIONS: ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3),
}


class LoadedWeights(NamedTuple):
    """The result of loading weights, for each variable.

    Attributes:
        path: str, the file.
        origin: str, the library that the weights come from.
        variables: dict from the path of each variable of our network to "loaded", "not in the file",
            or the reason why its counterpart does not fit.
        unused: tuple of str, the names in the file that no variable uses.
    """

    path: str
    origin: str
    variables: dict
    unused: tuple

    @property
    def loaded(self):
        """The number of variables that were loaded."""
        return sum(status == LOADED for status in self.variables.values())

    def table(self):
        """A table as text: for each stage the number of variables loaded, and why others were not."""
        stages = {}
        for path, status in self.variables.items():
            layer = path.partition("/")[0]
            reasons = stages.setdefault(stage_name(layer.partition("_")[0]), {})
            reasons.setdefault(status, []).append(layer)
        rows = [("part", "loaded", "not loaded, starts as it was drawn")]
        for stage, reasons in stages.items():
            total = sum(map(len, reasons.values()))
            problems = [
                why if set(layers) == {stage} else f"{_listed(layers)}: {why}"
                for why, layers in reasons.items()
                if why != LOADED
            ]
            rows.append((stage, f"{len(reasons.get(LOADED, ()))} of {total}", "; ".join(problems)))
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = [f"  {part:{widths[0]}}  {count:>{widths[1]}}  {text}" for part, count, text in rows]
        if self.unused:
            lines.append(f"  in the file alone: {_listed(self.unused)}")
        heading = (
            f"{self.loaded} of {len(self.variables)} variables loaded from {self.path} ({self.origin})"
        )
        return "\n".join([heading, *(line.rstrip() for line in lines)])


def _listed(names):
    """The distinct names as text; after the first few, only their number."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - LISTED} more" if names[LISTED:] else ""
    return ", ".join(names[:LISTED]) + more


def load_pretrained(network, path, standard=None):
    """Loads weights of other origin into a residual network, as far as they fit.

    The BatchNorm that follows a convolution absorbs its bias and a different epsilon. Layers that the
    file does not have, such as attention, and logits for another number of classes keep their
    weights; `LoadedWeights.table` lists them.

    Args:
        network: `imagenet_residual_network`, or its plain network.
        path: str or path, see `dreal_tf.networks.pretrained.read_arrays`.
            `dreal_tf.networks.pretrained` lists the names that it may hold.
        standard: pair of sequences of float by channel (RGB, white is 1): the mean and the standard
            deviation that standardise the network's images. The first convolution is adapted to such
            images, exactly except at the border, where it sees zeros. None leaves it unchanged, for
            images standardised as for the original network.
    Returns:
        `LoadedWeights`.
    Raises:
        InputError: if the file cannot be read, belongs to another kind of network or one with another
            stride placement, or does not fit.
    Example:
        >>> ours = imagenet_residual_network((32, 32, 3), 10, depth=18, width=0.125)
        >>> plain_network(ours).save("trained.keras")
        >>> load_pretrained(ours, "trained.keras").loaded
        102
    """
    arrays = read_arrays(path)
    origin = origin_of(arrays)
    _check_strides(network, origin, path)
    statuses, used = {}, set()
    for variable in network.variables:
        if "seed_generator" in variable.path:
            continue
        name = name_in(origin, variable.path)
        if name not in arrays:
            statuses[variable.path] = ABSENT
            continue
        used.add(name)
        value = in_keras_layout(origin, arrays[name], variable.shape)
        if tuple(value.shape) != tuple(variable.shape):
            statuses[variable.path] = f"{tuple(value.shape)} in the file, {tuple(variable.shape)} here"
            continue
        variable.assign(value)
        statuses[variable.path] = LOADED
    _fold(network, arrays, origin, statuses, used)
    if statuses.get("conv1/kernel") == LOADED and standard is not None and origin in STANDARD:
        take_images(network, origin, standard)
    loaded = LoadedWeights(str(path), origin, statuses, tuple(sorted(set(arrays) - used)))
    if statuses.get("conv1/kernel") != LOADED:
        raise InputError(
            f"Expected weights that fit {network.name!r}. Received: {str(path)!r} ({origin}), of which "
            f"conv1/kernel is {statuses.get('conv1/kernel', 'not here')}. Choose the depth, the width "
            "1 and images of three channels that the file is of."
        )
    return loaded


def _check_strides(network, origin, path):
    """Checks the stride placement of bottlenecks, in which keras.applications and PyTorch differ."""
    names = [layer.name for layer in network.layers]
    if "conv3_1_3" not in names or origin not in EPSILON:
        return
    ours = "1x1" if network.get_layer("conv3_1_1").strides == (2, 2) else "3x3"
    theirs = "1x1" if origin == APPLICATIONS else "3x3"
    if ours != theirs:
        raise InputError(
            f"Expected a network whose blocks stride in their {theirs} convolution, as the weights of "
            f"{origin} do. Received: stride_placement={ours!r} and {str(path)!r}. Set "
            f"backbone.stride_placement={theirs}."
        )


def _fold(network, arrays, origin, statuses, used):
    """Folds convolution biases and a different epsilon into BatchNorm's moving statistics."""
    for norm in network.layers:
        mean = f"{norm.name}/moving_mean"
        if not isinstance(norm, keras.layers.BatchNormalization) or statuses.get(mean) != LOADED:
            continue
        bias = name_in(origin, f"{norm.name.removesuffix('_bn')}/bias")
        if bias in arrays:
            norm.moving_mean.assign(norm.moving_mean - arrays[bias])
            used.add(bias)
        if origin in EPSILON:
            norm.moving_variance.assign(norm.moving_variance + (EPSILON[origin] - norm.epsilon))


def take_images(network, origin, standard):
    """Adapts the first convolution to images with another standardisation.

    Args:
        network: `keras.Model` with weights of `origin`.
        origin: str, a key of `STANDARD`.
        standard: see `load_pretrained`.
    """
    kernel = network.get_layer("conv1").kernel.numpy().astype("float64")
    if origin == APPLICATIONS:
        kernel = kernel[:, :, ::-1]
    mean, std = (np.asarray(row, "float64") for row in standard)
    their_mean, their_std = (np.asarray(row) for row in STANDARD[origin])
    offset = (mean - their_mean) / their_std  # The origin's value of a pixel that is 0 in `standard`.
    norm = network.get_layer("conv1_bn")
    norm.moving_mean.assign(norm.moving_mean - np.einsum("yxio,i->o", kernel, offset))
    scale = std / their_std
    network.get_layer("conv1").kernel.assign(kernel * scale[None, None, :, None])


ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
# MD5 sums of the files, from Keras 3.15.1.
HASHES = {
    50: "2cb95161c43110f7111970584f804107",
    101: "f1aeb4b969a6efcfb50fad2f0c20cfc5",
    152: "100835be76be38e30d865e96f2aaae62",
}


ALLOW = ", or set backbone.download=true to download it"


def imagenet_file(depth, download=False):
    """The file of `keras.applications`' ImageNet weights for a residual network.

    Args:
        depth: int, 50, 101 or 152.
        download: bool. Whether to download the file if it is missing.
    Returns:
        Path.
    Raises:
        InputError: if no weights of that depth exist, or the file is missing and was not downloaded.
    """
    if depth not in HASHES:
        raise InputError(
            f"Expected a depth that keras.applications has weights of, {', '.join(map(str, HASHES))}. "
            f"Received: depth={depth}. Choose one of these, or bring a file of weights of your own."
        )
    name = f"resnet{depth}_weights_tf_dim_ordering_tf_kernels.h5"
    keras_home = os.environ.get("KERAS_HOME", os.path.join(os.path.expanduser("~"), ".keras"))
    path, problem = Path(keras_home) / "models" / name, "is not there"
    if path.is_file():
        return path
    if download:
        try:
            downloaded = keras.utils.get_file(
                name, ADDRESS + name, cache_subdir="models", file_hash=HASHES[depth]
            )
            return Path(downloaded)
        except Exception as error:  # Keras raises a bare Exception for every network error.
            problem = f"could not be downloaded ({str(error).splitlines()[0]})"
    raise InputError(
        f"Expected the ImageNet weights of ResNet-{depth} in {str(path)!r}. Received: the file "
        f"{problem}. Fetch {ADDRESS + name} and put it there{'' if download else ALLOW}. "
        "backbone.weights=FILE takes another file, backbone.weights=null none."
    )
