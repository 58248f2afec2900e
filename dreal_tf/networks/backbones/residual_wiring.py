"""Shared parts of residual networks: convolutions with BatchNorm, blocks, a classifier."""

import keras
from keras import ops

from dreal_tf.errors import InputError
from dreal_tf.layers import Placement
from dreal_tf.modules import stage_name
from dreal_tf.networks.backbones.backbone import Wiring
from dreal_tf.networks.backbones.kernels import FusedBatchNormalization, SmallMapConv2D


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
        placement = attention.placement if attention else Placement()
        if attention_stages is None:
            attention_stages = placement.chosen(tuple(stage_blocks))
        _check(attention_stages, attention_blocks, stage_blocks)
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


def _check(stages, blocks, stage_blocks):
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
