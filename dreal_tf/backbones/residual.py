"""Residual networks for small images."""

import keras
from keras import ops

from dreal_tf.backbones.backbone import Wiring

FIRST_CHANNELS = 16  # Paper, section 4.2; doubled from stage to stage.


def residual_network(
    image_shape,
    classes,
    depth=20,
    width=1.0,
    attention=None,
    attention_stages=None,
    shortcut="identity",
    weight_decay=0.0,
    synchronized=False,
    name=None,
):
    """A residual network for small images, with attention after the last BatchNorm of each block.

    Three stages, conv2 to conv4, of (depth - 2) / 6 blocks of two 3×3 convolutions; each later
    stage halves the map and doubles the channels.

    Args:
        image_shape: tuple (height, width, channels); None for a free height or width.
        classes: int >= 2. Number of classes.
        depth: int, 6n + 2, such as 8, 20, 32 or 56. Layers with weights along the longest path.
        width: float > 0. Multiplies the paper's 16, 32 and 64 channels (no unit).
        attention: `AttentionActor` used as a pattern, such as `SqueezeExcite(4)`, or None.
        attention_stages: collection of str, such as {"conv4"}; None for all.
        shortcut: "identity" (subsampled and padded with zero channels, the paper's option A) or
            "projection" (1×1 convolution and BatchNorm where the shape changes, option B).
        weight_decay: float >= 0. Half of it times the squared kernels is added to the loss.
        synchronized: bool. Whether BatchNorm's statistics span all replicas.
        name: str, the name of the network, or None.
    Returns:
        Functional `keras.Model` from images to a dict: `logits` (batch, classes), and `states` and
        `actions` by module name.
    Raises:
        ValueError: if the depth is not 6n + 2, or a stage or shortcut is unknown.
    Example:
        >>> network = residual_network((32, 32, 3), 10, depth=20)
        >>> sum(int(np.prod(v.shape)) for v in network.trainable_variables)  # Paper: 0.27 million
        269722
    Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv
    1512.03385, section 4.2. Departs from it in: nothing by default.
    """
    blocks, remainder = divmod(depth - 2, 6)
    if remainder or blocks < 1:
        raise ValueError(
            f"`depth` must be 6n + 2: 8, 14, 20, 26, 32, ..., 56. Received: depth={depth}. "
            "Choose one of these."
        )
    if shortcut not in ("identity", "projection"):
        raise ValueError(
            "`shortcut` must be 'identity' or 'projection'. Received: "
            f"shortcut={shortcut!r}. Choose one of these."
        )
    stages = ("conv2", "conv3", "conv4")
    unknown = set(attention_stages or ()) - set(stages)
    if unknown:
        raise ValueError(
            f"`attention_stages` must be among {stages}. Received: {sorted(unknown)}. "
            "Name stages of this network."
        )

    def convolution(inputs, channels, size, strides, name):
        outputs = keras.layers.Conv2D(
            channels,
            size,
            strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=_l2(weight_decay),
            name=name,
        )(inputs)
        return keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, synchronized=synchronized, name=f"{name}_bn"
        )(outputs)

    def block(inputs, channels, strides, place):
        hidden = convolution(inputs, channels, 3, strides, f"{place}_1")
        hidden = keras.layers.ReLU(name=f"{place}_1_relu")(hidden)
        hidden = convolution(hidden, channels, 3, 1, f"{place}_2")
        hidden = wiring.attend(hidden, place)
        if strides == 1 and inputs.shape[-1] == channels:
            skip = inputs
        elif shortcut == "projection":
            skip = convolution(inputs, channels, 1, strides, f"{place}_skip")
        else:
            skip = inputs[:, ::strides, ::strides]
            skip = ops.pad(skip, [[0, 0], [0, 0], [0, 0], [0, channels - inputs.shape[-1]]])
        hidden = keras.layers.Add(name=f"{place}_add")([skip, hidden])
        return keras.layers.ReLU(name=f"{place}_relu")(hidden)

    wiring = Wiring(attention, attention_stages)
    images = keras.Input(image_shape, name="images")
    hidden = convolution(images, _channels(width, 0), 3, 1, "conv1")
    hidden = keras.layers.ReLU(name="conv1_relu")(hidden)
    for position, stage in enumerate(stages):
        for number in range(1, blocks + 1):
            strides = 2 if position > 0 and number == 1 else 1
            hidden = block(hidden, _channels(width, position), strides, f"{stage}_{number}")
    hidden = keras.layers.GlobalAveragePooling2D(name="pool")(hidden)
    logits = keras.layers.Dense(
        classes, kernel_regularizer=_l2(weight_decay), dtype="float32", name="logits"
    )(hidden)
    return wiring.network(images, logits, name or f"resnet{depth}")


def _channels(width, position):
    return max(1, round(FIRST_CHANNELS * width)) * 2**position


def _l2(weight_decay):
    return keras.regularizers.L2(weight_decay / 2) if weight_decay else None
