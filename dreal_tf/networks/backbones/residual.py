"""Residual networks for small images."""

from collections.abc import Collection

import keras

from dreal_tf.errors import InputError
from dreal_tf.layers import AttentionActor
from dreal_tf.networks.backbones.residual_wiring import ResidualWiring, stage_channels

STAGES = ("conv2", "conv3", "conv4")
FIRST_CHANNELS = 16  # Paper, section 4.2; doubled from stage to stage.
TOTAL_STRIDE = 4  # Two stages halve the map.


def residual_network(
    image_shape: tuple[int | None, int | None, int],
    classes: int,
    depth: int = 20,
    width: float = 1.0,
    attention: AttentionActor | None = None,
    attention_stages: Collection[str] | None = None,
    attention_blocks: str | Collection[int] | None = None,
    attention_pruned: Collection[str] | None = None,
    shortcut: str = "identity",
    bnneck: bool = False,
    weight_decay: float = 0.0,
    synchronized: bool = False,
    name: str | None = None,
) -> keras.Model:
    """A residual network for small images, with attention in its blocks.

    Three stages, conv2 to conv4, of (depth - 2) / 6 blocks of two 3×3 convolutions; each later
    stage halves the map and doubles the channels.

    Args:
        image_shape: tuple (height, width, channels), at least 4 × 4 pixels; None for a free height
            or width.
        classes: int >= 2. Number of classes.
        depth: int, 6n + 2, such as 8, 20, 32 or 56. Layers with weights along the longest path.
        width: float > 0. Multiplies the paper's 16, 32 and 64 channels (no unit).
        attention: `AttentionActor` used as a pattern, such as `SqueezeExcite(4)`, or None.
            Its `placement` defines its position in a block.
        attention_stages: collection of str, such as {"conv4"}; None for the stages of its placement.
        attention_blocks: "all", "last" or a collection of int, the blocks of these stages that get
            attention, counted from 1; None for the blocks of its placement.
        attention_pruned: collection of str, blocks whose attention is removed, such as {"conv3_1"};
            None for none.
        shortcut: "identity" (subsampled and padded with zero channels, the paper's option A) or
            "projection" (1×1 convolution and BatchNorm, option B): the skip path of a block that
            changes the shape.
        bnneck: bool. Whether a BatchNorm precedes the logits, as in re-identification (Luo 2019). The
            network then has two more outputs (batch, channels): `feature`, its input, and
            `embedding`, its output.
        weight_decay: float >= 0. Half of it times the squared kernels is added to the loss.
        synchronized: bool. Whether BatchNorm's statistics span all replicas.
        name: str, the name of the network, or None.
    Returns:
        Functional `keras.Model` from images to a dict: `logits` (batch, classes), and `states` and
        `actions` by module name.
    Raises:
        InputError: if the depth is not 6n + 2, a stage, block or shortcut is unknown, or the images
            are smaller than the network's total stride.
    Example:
        >>> network = residual_network((32, 32, 3), 10, depth=20)
        >>> sum(int(np.prod(v.shape)) for v in network.trainable_variables)  # Paper: 0.27 million
        269722
    Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv
    1512.03385, section 4.2. Departs from it in: nothing by default.
    """
    blocks, remainder = divmod(depth - 2, 6)
    if remainder or blocks < 1:
        raise InputError(
            f"`depth` must be 6n + 2: 8, 14, 20, 26, 32, ..., 56. Received: depth={depth}. "
            "Choose one of these."
        )
    if shortcut not in ("identity", "projection"):
        raise InputError(
            "`shortcut` must be 'identity' or 'projection'. Received: "
            f"shortcut={shortcut!r}. Choose one of these."
        )
    wiring = ResidualWiring(
        attention,
        attention_stages,
        attention_blocks,
        attention_pruned,
        dict.fromkeys(STAGES, blocks),
        weight_decay,
        synchronized,
    )
    images = wiring.images(image_shape, TOTAL_STRIDE)
    hidden = wiring.convolution(images, stage_channels(FIRST_CHANNELS, width, 0), 3, 1, "conv1")
    hidden = keras.layers.ReLU(name="conv1_relu")(hidden)
    for position, stage in enumerate(STAGES):
        channels = stage_channels(FIRST_CHANNELS, width, position)
        for number in range(1, blocks + 1):
            strides = 2 if position > 0 and number == 1 else 1
            branch = [(channels, 3, strides), (channels, 3, 1)]
            hidden = wiring.block(hidden, branch, f"{stage}_{number}", shortcut)
    logits = wiring.classifier(hidden, classes, bnneck=bnneck)
    return wiring.network(images, logits, name or f"resnet{depth}")
