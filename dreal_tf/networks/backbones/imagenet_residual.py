"""Residual networks for large images, such as ImageNet's."""

from collections.abc import Collection

import keras

from dreal_tf.errors import InputError
from dreal_tf.layers import AttentionActor
from dreal_tf.networks.backbones.residual_wiring import ResidualWiring, stage_channels

STAGES = ("conv2", "conv3", "conv4", "conv5")
FIRST_CHANNELS = 64  # Paper, table 1; doubled from stage to stage.
EXPANSION = 4  # Paper, table 1: a bottleneck block ends with 4 times the channels it works on.
STAGE_BLOCKS = {  # Paper, table 1: blocks of each stage by depth.
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK_DEPTHS = (50, 101, 152)
FAN_OUT_NORMAL = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"},
}


def imagenet_residual_network(
    image_shape: tuple[int | None, int | None, int],
    classes: int,
    depth: int = 50,
    width: float = 1.0,
    attention: AttentionActor | None = None,
    attention_stages: Collection[str] | None = None,
    attention_blocks: str | Collection[int] | None = None,
    attention_pruned: Collection[str] | None = None,
    stride_placement: str = "3x3",
    zero_gamma: bool = False,
    last_stride: int = 2,
    bnneck: bool = False,
    weight_decay: float = 0.0,
    synchronized: bool = False,
    name: str | None = None,
) -> keras.Model:
    """A residual network for large images, with attention in its blocks.

    A 7×7 convolution and a 3×3 max pooling, both of stride 2, then four stages, conv2 to conv5, of
    basic blocks (two 3×3 convolutions; depths 18 and 34) or bottleneck blocks (1×1, 3×3 and 1×1;
    depths 50, 101 and 152). Each later stage halves the map and doubles the channels. If a block
    changes the shape, its skip path is a 1×1 convolution and BatchNorm (the paper's option B).

    Args:
        image_shape: tuple (height, width, channels), at least 32 × 32 pixels (16 × 16 with
            `last_stride` 1); None for a free height or width.
        classes: int >= 2. Number of classes.
        depth: int, 18, 34, 50, 101 or 152. Layers with weights along the longest path.
        width: float > 0. Multiplies all of the paper's channels, 64 to 512 (no unit).
        attention: `AttentionActor` used as a pattern, such as `SqueezeExcite()`, or None.
            Its `placement` defines its position in a block.
        attention_stages: collection of str, such as {"conv4"}; None for the stages of its placement.
        attention_blocks: "all", "last" or a collection of int, the blocks of these stages that get
            attention, counted from 1; None for the blocks of its placement.
        attention_pruned: collection of str, blocks whose attention is removed, such as {"conv3_1"};
            None for none.
        stride_placement: "3x3" or "1x1": which convolution of a bottleneck block halves the map.
            Defaults to "3x3", as in Goyal 2017, torchvision and the CBAM and SRM authors' code;
            "1x1" as in He 2016 and the SE authors' code.
        zero_gamma: bool. Whether the last BatchNorm of each block starts at 0 (Goyal 2017). The block
            then passes its skip path through, and its actor reads a map of zeros. Defaults to False,
            as in the CBAM and SRM authors' code.
        last_stride: 2, or 1 as in re-identification (Sun 2018, Luo 2019): the stride of conv5.
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
        InputError: if an argument is unknown or does not fit the depth, or the images are smaller
            than the network's total stride.
    Example:
        >>> network = imagenet_residual_network((64, 64, 3), 10, depth=18, width=0.25,
        ...                                     attention=SqueezeExcite(4))
        >>> sorted(network.output["actions"])[-2:]
        ['conv5_1/se', 'conv5_2/se']
    Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv
    1512.03385, section 4.1 and table 1; Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv
    1706.02677, section 5.1; Sun et al., ECCV 2018, arXiv 1711.09349; Luo et al., CVPR Workshops
    2019, arXiv 1903.07071. Departs from He 2016 in: the position of the stride (set "1x1" for He's);
    the initial kernels, which are normal with variance 2 / fan-out instead of 2 / fan-in; the initial
    kernel of the logits, which has standard deviation 0.01. The last two follow Goyal 2017.
    """
    _check(depth, stride_placement, last_stride)
    wiring = ResidualWiring(
        attention,
        attention_stages,
        attention_blocks,
        attention_pruned,
        dict(zip(STAGES, STAGE_BLOCKS[depth], strict=True)),
        weight_decay,
        synchronized,
        zero_gamma,
        symmetric=True,
        kernel_initializer=FAN_OUT_NORMAL,
    )
    images = wiring.images(image_shape, total_stride=16 * last_stride)
    hidden = wiring.convolution(images, stage_channels(FIRST_CHANNELS, width, 0), 7, 2, "conv1")
    hidden = keras.layers.ReLU(name="conv1_relu")(hidden)
    # The map has no negative values, so that zeros around it never change a maximum.
    hidden = keras.layers.ZeroPadding2D(1, name="conv1_pool_pad")(hidden)
    hidden = keras.layers.MaxPooling2D(3, 2, name="conv1_pool")(hidden)
    for position, stage in enumerate(STAGES):
        channels = stage_channels(FIRST_CHANNELS, width, position)
        for number in range(1, STAGE_BLOCKS[depth][position] + 1):
            strides = (1, 2, 2, last_stride)[position] if number == 1 else 1
            branch = _branch(depth, channels, strides, stride_placement)
            hidden = wiring.block(hidden, branch, f"{stage}_{number}")
    initializer = keras.initializers.RandomNormal(stddev=0.01)
    logits = wiring.classifier(hidden, classes, initializer, bnneck)
    return wiring.network(images, logits, name or f"imagenet_resnet{depth}")


def _branch(depth, channels, strides, stride_placement):
    """The (channels, size, strides) of each convolution of a block."""
    if depth not in BOTTLENECK_DEPTHS:
        return [(channels, 3, strides), (channels, 3, 1)]
    first, second = (strides, 1) if stride_placement == "1x1" else (1, strides)
    return [(channels, 1, first), (channels, 3, second), (EXPANSION * channels, 1, 1)]


def _check(depth, stride_placement, last_stride):
    if depth not in STAGE_BLOCKS:
        raise InputError(
            f"`depth` must be one of {', '.join(map(str, STAGE_BLOCKS))}. Received: depth={depth}. "
            "Choose one of these; `residual_network` has other depths, for small images."
        )
    if stride_placement not in ("3x3", "1x1"):
        raise InputError(
            "`stride_placement` must be '3x3' or '1x1'. Received: "
            f"stride_placement={stride_placement!r}. Choose one of these."
        )
    if stride_placement == "1x1" and depth not in BOTTLENECK_DEPTHS:
        raise InputError(
            f"`stride_placement` must be '3x3' at depth {depth}, whose blocks have no 1×1 "
            "convolution. Received: stride_placement='1x1'. Leave it out, or choose a depth of "
            f"{', '.join(map(str, BOTTLENECK_DEPTHS))}."
        )
    if last_stride not in (1, 2):
        raise InputError(
            f"`last_stride` must be 1 or 2. Received: last_stride={last_stride!r}. Choose one of these."
        )
