"""Loads weights of other origin into our residual networks and reports which were loaded."""

from typing import NamedTuple

import keras
import numpy as np

from dreal_tf.errors import InputError
from dreal_tf.modules import stage_name
from dreal_tf.networks.pretrained.files import read_arrays
from dreal_tf.networks.pretrained.names import (
    APPLICATIONS,
    EPSILON,
    TORCH,
    in_keras_layout,
    name_in,
    origin_of,
)

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
        path: str or path, see `dreal_tf.networks.pretrained.files.read_arrays`.
            `dreal_tf.networks.pretrained.names` lists the names that it may hold.
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
