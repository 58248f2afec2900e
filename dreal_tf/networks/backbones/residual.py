"""Residual networks, for small images and for large ones such as ImageNet's."""

from collections.abc import Collection

import keras
from keras import ops

from dreal_tf.errors import InputError, check_objects
from dreal_tf.layers import AttentionActor, Placement
from dreal_tf.modules import stage_name
from dreal_tf.networks.backbones.backbone import Wiring
from dreal_tf.networks.backbones.kernels import FusedBatchNormalization, SmallMapConv2D

SMALL_STAGES = ("conv2", "conv3", "conv4")
SMALL_CHANNELS = 16  # Paper, section 4.2; doubled from stage to stage.


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
        dict.fromkeys(SMALL_STAGES, blocks),
        weight_decay,
        synchronized,
    )
    images = wiring.images(image_shape, total_stride=4)  # Two stages halve the map.
    hidden = wiring.convolution(images, stage_channels(SMALL_CHANNELS, width, 0), 3, 1, "conv1")
    hidden = keras.layers.ReLU(name="conv1_relu")(hidden)
    for position, stage in enumerate(SMALL_STAGES):
        channels = stage_channels(SMALL_CHANNELS, width, position)
        for number in range(1, blocks + 1):
            strides = 2 if position > 0 and number == 1 else 1
            branch = [(channels, 3, strides), (channels, 3, 1)]
            hidden = wiring.block(hidden, branch, f"{stage}_{number}", shortcut)
    logits = wiring.classifier(hidden, classes, bnneck=bnneck)
    return wiring.network(images, logits, name or f"resnet{depth}")


IMAGENET_STAGES = ("conv2", "conv3", "conv4", "conv5")
IMAGENET_CHANNELS = 64  # Paper, table 1; doubled from stage to stage.
EXPANSION = 4  # Paper, table 1: a bottleneck block ends with 4 times the channels it works on.
IMAGENET_BLOCKS = {  # Paper, table 1: blocks of each stage by depth.
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
    _check_imagenet(depth, stride_placement, last_stride)
    wiring = ResidualWiring(
        attention,
        attention_stages,
        attention_blocks,
        attention_pruned,
        dict(zip(IMAGENET_STAGES, IMAGENET_BLOCKS[depth], strict=True)),
        weight_decay,
        synchronized,
        zero_gamma,
        symmetric=True,
        kernel_initializer=FAN_OUT_NORMAL,
    )
    images = wiring.images(image_shape, total_stride=16 * last_stride)
    hidden = wiring.convolution(images, stage_channels(IMAGENET_CHANNELS, width, 0), 7, 2, "conv1")
    hidden = keras.layers.ReLU(name="conv1_relu")(hidden)
    # The map has no negative values, so that zeros around it never change a maximum.
    hidden = keras.layers.ZeroPadding2D(1, name="conv1_pool_pad")(hidden)
    hidden = keras.layers.MaxPooling2D(3, 2, name="conv1_pool")(hidden)
    for position, stage in enumerate(IMAGENET_STAGES):
        channels = stage_channels(IMAGENET_CHANNELS, width, position)
        for number in range(1, IMAGENET_BLOCKS[depth][position] + 1):
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


def _check_imagenet(depth, stride_placement, last_stride):
    if depth not in IMAGENET_BLOCKS:
        raise InputError(
            f"`depth` must be one of {', '.join(map(str, IMAGENET_BLOCKS))}. Received: depth={depth}. "
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
            "convolution. Received: stride_placement='1x1'. Set it to '3x3', or choose a depth of "
            f"{', '.join(map(str, BOTTLENECK_DEPTHS))}."
        )
    if last_stride not in (1, 2):
        raise InputError(
            f"`last_stride` must be 1 or 2. Received: last_stride={last_stride!r}. Choose one of these."
        )


class ResidualWiring(Wiring):
    """Wires residual networks from their parts, with attention at the position of its `placement`.

    Args:
        attention: `AttentionActor` used as a pattern, or None.
        attention_stages: collection of str, the stages that get attention; None for the stages of the
            attention's placement.
        attention_blocks: "all" or "last", or a collection of int, the numbers of the blocks that
            get attention in each of these stages; None for the blocks of the placement.
        attention_pruned: collection of str, blocks whose attention is removed, such as {"conv4_3"};
            None for none.
        stage_blocks: dict of the number of blocks by stage, in depth order.
        weight_decay: float >= 0. Half of it times the squared kernels is added to the loss; biases
            and BatchNorm's weights do not decay.
        synchronized: bool. Whether BatchNorm's statistics span all replicas.
        zero_gamma: bool. Whether the last BatchNorm of each branch starts at 0, not 1.
        symmetric: bool. Whether convolutions of stride 2 pad all sides equally. If not, they pad as
            Keras's "same" does, which pads maps of even size more at the end.
        kernel_initializer: str or dict, name or config of a Keras initializer; each convolution gets
            its own instance.
    Raises:
        InputError: if `attention_stages` or `attention_blocks` names one that the network does not
            have, or `attention_pruned` a block without attention.
    Example:
        >>> wiring = ResidualWiring(SqueezeExcite(4), None, None, None, {"conv2": 1})
        >>> images = wiring.images((8, 8, 3), total_stride=2)
        >>> hidden = wiring.block(images, [(4, 1, 1), (4, 3, 2), (16, 1, 1)], "conv2_1")
        >>> logits = wiring.classifier(hidden, classes=10)
        >>> hidden.shape, sorted(wiring.actions)
        ((None, 4, 4, 16), ['conv2_1/se'])
    """

    def __init__(
        self,
        attention,
        attention_stages,
        attention_blocks,
        attention_pruned,
        stage_blocks,
        weight_decay=0.0,
        synchronized=False,
        zero_gamma=False,
        symmetric=False,
        kernel_initializer="he_normal",
    ):
        check_objects(attention=attention)
        placement = attention.placement if attention else Placement()
        if attention_stages is None:
            attention_stages = placement.chosen(tuple(stage_blocks))
        _check_attention(attention_stages, attention_blocks, stage_blocks)
        super().__init__(attention, attention_stages)
        self.where = placement.where
        self.blocks = attention_blocks if attention_blocks is not None else placement.blocks
        self.stage_blocks = stage_blocks
        self._prune(attention_pruned or ())
        self.weight_decay = weight_decay
        self.synchronized = synchronized
        self.last_gamma = "zeros" if zero_gamma else "ones"
        self.symmetric = symmetric
        self.kernel_initializer = kernel_initializer

    def belongs(self, block):
        if not super().belongs(block) or self.blocks == "all":
            return super().belongs(block)
        number = int(block.rpartition("_")[2])
        if self.blocks == "last":
            return number == self.stage_blocks[stage_name(block)]
        return number in self.blocks

    def _prune(self, pruned):
        """Removes the attention of these blocks."""
        numbered = [
            f"{stage}_{n + 1}" for stage, count in self.stage_blocks.items() for n in range(count)
        ]
        attended = [block for block in numbered if self.belongs(block)]
        unknown = [block for block in pruned if block not in attended]
        if unknown:
            raise InputError(
                "`attention_pruned` must be among the blocks that would get attention, "
                f"{', '.join(attended) or 'here none'}. Received: {', '.join(unknown)}. Leave that out."
            )
        self.pruned = frozenset(pruned)

    def images(self, image_shape, total_stride):
        """The network's input.

        Args:
            image_shape: tuple (height, width, channels); None for a free height or width.
            total_stride: int. Pixels of the image per position of the last map, along each side.
        Raises:
            InputError: if the images are smaller than one position of the last map.
        """
        if any(side is not None and side < total_stride for side in image_shape[:2]):
            raise InputError(
                f"`image_shape` must be at least {total_stride} × {total_stride} pixels, the "
                f"network's total stride. Received: image_shape={tuple(image_shape)}. Enlarge the "
                "images, or choose a network of smaller stride."
            )
        return keras.Input(image_shape, name="images")

    def convolution(self, inputs, channels, size, strides, name, gamma="ones"):
        """A convolution without bias, then BatchNorm.

        Args:
            inputs: symbolic float tensor (batch, height, width, channels).
            channels: int. Channels of the result.
            size: int. Side of the kernel.
            strides: int. Positions between two applications of the kernel.
            name: str, the convolution's name; the BatchNorm is called `<name>_bn`.
            gamma: "ones" or "zeros", the initial scale of the BatchNorm.
        """
        padding = "same"
        if self.symmetric and strides > 1 and size > 1:
            inputs = keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(inputs)
            padding = "valid"
        outputs = SmallMapConv2D(
            channels,
            size,
            strides,
            padding=padding,
            use_bias=False,
            kernel_initializer=self.kernel_initializer,
            kernel_regularizer=self._l2(),
            name=name,
        )(inputs)
        return self.normalization(outputs, name, gamma)

    def normalization(self, inputs, name, gamma="ones"):
        """BatchNorm called `<name>_bn`, whose initial scale is `gamma`."""
        return FusedBatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            gamma_initializer=gamma,
            synchronized=self.synchronized,
            name=f"{name}_bn",
        )(inputs)

    def block(self, inputs, convolutions, name, shortcut="projection"):
        """A residual block, relu(skip + branch), with the attention that belongs to it.

        Args:
            inputs: symbolic float tensor (batch, height, width, channels).
            convolutions: sequence of (channels, size, strides), the branch; a ReLU follows each but
                the last.
            name: str, the block's name, such as "conv4_3".
            shortcut: "projection" or "identity", the skip path of a block that changes the shape, see
                `residual_network`.
        """
        replaced = self._replaced(convolutions, name)
        hidden, total_strides = inputs, 1
        for number, (channels, size, strides) in enumerate(convolutions, start=1):
            last, layer = number == len(convolutions), f"{name}_{number}"
            gamma = self.last_gamma if last else "ones"
            if number == replaced:
                hidden = self.attend(hidden, name, filters=channels, strides=strides)
                hidden = self.normalization(hidden, layer, gamma)
            else:
                hidden = self.convolution(hidden, channels, size, strides, layer, gamma)
            if not last:
                hidden = keras.layers.ReLU(name=f"{layer}_relu")(hidden)
            total_strides *= strides
        if self.where == "branch":
            hidden = self.attend(hidden, name)
        skip = self._skip(inputs, channels, total_strides, name, shortcut)
        hidden = keras.layers.Add(name=f"{name}_add")([skip, hidden])
        hidden = keras.layers.ReLU(name=f"{name}_relu")(hidden)
        return self.attend(hidden, name) if self.where == "stage" else hidden

    def _replaced(self, convolutions, block):
        """The number of the convolution that an actor replaces, or None."""
        if self.where != "convolution" or not self.belongs(block):
            return None
        return next(n for n, (_, size, _) in enumerate(convolutions, start=1) if size == 3)

    def classifier(self, hidden, classes, kernel_initializer="glorot_uniform", bnneck=False):
        """The logits (batch, classes), computed from the last map's mean over positions.

        Args:
            hidden: symbolic float tensor (batch, height, width, channels).
            classes: int.
            kernel_initializer: initializer of the logits' kernel; unused with `bnneck`.
            bnneck: bool. Whether a BatchNorm without offset precedes the logits, which then have no
                bias. Its input, the mean over positions, becomes the output `feature`, and its output
                the output `embedding`.
        Source: Luo et al., CVPR Workshops 2019, arXiv 1903.07071, section 3.5, for `bnneck`.
        """
        pooled = keras.layers.GlobalAveragePooling2D(name="pool")(hidden)
        if bnneck:
            self.of_images["feature"] = pooled
            pooled = keras.layers.BatchNormalization(
                momentum=0.9,
                epsilon=1e-5,
                center=False,
                synchronized=self.synchronized,
                dtype="float32",
                name="neck",
            )(pooled)
            self.of_images["embedding"] = pooled
            kernel_initializer = keras.initializers.RandomNormal(stddev=0.001)
        return keras.layers.Dense(
            classes,
            use_bias=not bnneck,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=self._l2(),
            dtype="float32",
            name="logits",
        )(pooled)

    def _skip(self, inputs, channels, strides, block, shortcut):
        if strides == 1 and inputs.shape[-1] == channels:
            return inputs
        if shortcut == "projection":
            return self.convolution(inputs, channels, 1, strides, f"{block}_skip")
        skip = inputs[:, ::strides, ::strides]
        return ops.pad(skip, [[0, 0], [0, 0], [0, 0], [0, channels - inputs.shape[-1]]])

    def _l2(self):
        return keras.regularizers.L2(self.weight_decay / 2) if self.weight_decay else None


def _check_attention(stages, blocks, stage_blocks):
    unknown = set(stages) - set(stage_blocks)
    if unknown:
        raise InputError(
            f"`attention_stages` must be among {tuple(stage_blocks)}. Received: {sorted(unknown)}. "
            "Name stages of this network."
        )
    if blocks in (None, "all", "last"):
        return
    deepest = max((stage_blocks[stage] for stage in stages), default=0)
    if isinstance(blocks, str) or not blocks or not set(blocks) <= set(range(1, deepest + 1)):
        raise InputError(
            f"`attention_blocks` must be 'all', 'last' or numbers from 1 to {deepest}, the most "
            f"blocks of a stage. Received: attention_blocks={blocks!r}. Choose one of these."
        )


def stage_channels(first_channels, width, position):
    """Channels of a stage: those of the first stage, times the width, doubled from stage to stage.

    Args:
        first_channels: int. The paper's channels of the first stage.
        width: float > 0. The multiplier (no unit).
        position: int. The stage's position, from 0.
    Example:
        >>> [stage_channels(16, 0.5, position) for position in range(3)]
        [8, 16, 32]
    """
    return max(1, round(first_channels * width)) * 2**position
