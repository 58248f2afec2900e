"""Maps the variables of our residual networks to their names and layouts in other libraries.

| ours | `keras.applications` | PyTorch: torchvision, timm |
|---|---|---|
| `conv1`, `conv1_bn` | `conv1_conv`, `conv1_bn` | `conv1`, `bn1` |
| `conv3_2_1`, `conv3_2_1_bn` | `conv3_block2_1_conv`, `conv3_block2_1_bn` | `layer2.1.conv1`, `layer2.1.bn1` |
| `conv3_1_skip`, `conv3_1_skip_bn` | `conv3_block1_0_conv`, `conv3_block1_0_bn` | `layer2.0.downsample.0`, `.1` |
| `conv3_2_se/squeeze`, `/excite` | | `layer2.1.se.fc1`, `.fc2` |
| `logits` | `predictions` | `fc` |
"""

import re

import numpy as np

from dreal_tf.errors import InputError

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
