"""What residual networks have in common: convolutions with BatchNorm, blocks, a classifier."""

import keras
from keras import ops

from dreal_tf.errors import InputError
from dreal_tf.layers import Placement
from dreal_tf.modules import stage_name
from dreal_tf.networks.backbones.backbone import Wiring
from dreal_tf.networks.backbones.fused_normalization import FusedBatchNormalization
from dreal_tf.networks.backbones.small_map_convolution import SmallMapConv2D


class ResidualWiring(Wiring):
    """Wires residual networks from their parts, with attention where its `placement` has it.

    Args:
        attention: `AttentionActor` used as a pattern, or None.
        attention_stages: collection of str, the stages that get attention; None for those of the
            attention's placement.
        attention_blocks: "all" or "last", or a collection of int, the numbers of the blocks that
            get attention in each of these stages; None for those of the placement.
        attention_pruned: collection of str, places that would get attention and go without, such as
            {"conv4_3"}; None for none.
        stage_blocks: dict of the number of blocks by stage, in depth order.
        weight_decay: float >= 0. Half of it times the squared kernels is added to the loss; biases
            and BatchNorm's weights are left alone.
        synchronized: bool. Whether BatchNorm's statistics span all replicas.
        zero_gamma: bool. Whether the last BatchNorm of each branch starts at 0, not 1.
        symmetric: bool. Whether convolutions of stride 2 pad alike on all sides; if not, they pad
            as Keras's "same" does: on maps of even size more at the end.
        kernel_initializer: str or dict, a Keras initializer's name or config; each convolution gets
            an initializer of its own.
    Raises:
        InputError: if a stage or a block that is to get attention is none of the network's, or one
            that is to go without would get none.
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

    def belongs(self, place):
        if not super().belongs(place) or self.blocks == "all":
            return super().belongs(place)
        number = int(place.rpartition("_")[2])
        if self.blocks == "last":
            return number == self.stage_blocks[stage_name(place)]
        return number in self.blocks

    def _prune(self, places):
        """Lets these go without attention."""
        numbered = [
            f"{stage}_{n + 1}" for stage, count in self.stage_blocks.items() for n in range(count)
        ]
        attended = [place for place in numbered if self.belongs(place)]
        unknown = [place for place in places if place not in attended]
        if unknown:
            raise InputError(
                "`attention_pruned` must be among the blocks that would get attention, "
                f"{', '.join(attended) or 'here none'}. Received: {', '.join(unknown)}. Leave that out."
            )
        self.pruned = frozenset(places)

    def images(self, image_shape, total_stride):
        """The network's input.

        Args:
            image_shape: tuple (height, width, channels); None for a free height or width.
            total_stride: int. Pixels of the image to one place of the last map, along each side.
        Raises:
            InputError: if the images would not fill one place of the last map.
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
            strides: int. Places from one application of the kernel to the next.
            name: str, the convolution's name; the BatchNorm is called `<name>_bn`.
            gamma: "ones" or "zeros": where the BatchNorm's scale starts.
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
        """BatchNorm called `<name>_bn`, whose scale starts at `gamma`."""
        return FusedBatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            gamma_initializer=gamma,
            synchronized=self.synchronized,
            name=f"{name}_bn",
        )(inputs)

    def block(self, inputs, convolutions, place, shortcut="projection"):
        """A residual block: relu(skip + branch), with attention where it belongs.

        Args:
            inputs: symbolic float tensor (batch, height, width, channels).
            convolutions: sequence of (channels, size, strides), the branch; all but its last are
                followed by a ReLU.
            place: str, the block, such as "conv4_3".
            shortcut: "projection" or "identity", the skip path where the shape changes, see
                `residual_network`.
        """
        replaced = self._replaced(convolutions, place)
        hidden, total_strides = inputs, 1
        for number, (channels, size, strides) in enumerate(convolutions, start=1):
            last, name = number == len(convolutions), f"{place}_{number}"
            gamma = self.last_gamma if last else "ones"
            if number == replaced:
                hidden = self.attend(hidden, place, filters=channels, strides=strides)
                hidden = self.normalization(hidden, name, gamma)
            else:
                hidden = self.convolution(hidden, channels, size, strides, name, gamma)
            if not last:
                hidden = keras.layers.ReLU(name=f"{name}_relu")(hidden)
            total_strides *= strides
        if self.where == "branch":
            hidden = self.attend(hidden, place)
        skip = self._skip(inputs, channels, total_strides, place, shortcut)
        hidden = keras.layers.Add(name=f"{place}_add")([skip, hidden])
        hidden = keras.layers.ReLU(name=f"{place}_relu")(hidden)
        return self.attend(hidden, place) if self.where == "stage" else hidden

    def _replaced(self, convolutions, place):
        """The number of the convolution that an actor takes the place of, or None."""
        if self.where != "convolution" or not self.belongs(place):
            return None
        return next(n for n, (_, size, _) in enumerate(convolutions, start=1) if size == 3)

    def classifier(self, hidden, classes, kernel_initializer="glorot_uniform", neck=False):
        """The logits (batch, classes) of the last map's mean over places.

        Args:
            hidden: symbolic float tensor (batch, height, width, channels).
            classes: int.
            kernel_initializer: of the logits.
            neck: bool. Whether a BatchNorm without offset stands between the mean over places, which
                becomes the output `feature`, and the logits, which have no bias then: what it gives
                becomes the output `embedding`.
        Source: of the neck Luo et al., CVPR Workshops 2019, arXiv 1903.07071, section 3.5.
        """
        pooled = keras.layers.GlobalAveragePooling2D(name="pool")(hidden)
        if neck:
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
            use_bias=not neck,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=self._l2(),
            dtype="float32",
            name="logits",
        )(pooled)

    def _skip(self, inputs, channels, strides, place, shortcut):
        if strides == 1 and inputs.shape[-1] == channels:
            return inputs
        if shortcut == "projection":
            return self.convolution(inputs, channels, 1, strides, f"{place}_skip")
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
    """Channels of a stage: the first stage's, times the width multiplier, doubled stage by stage.

    Args:
        first_channels: int. The paper's channels of the first stage.
        width: float > 0. The multiplier (no unit).
        position: int. The stage's position, from 0.
    Example:
        >>> [stage_channels(16, 0.5, position) for position in range(3)]
        [8, 16, 32]
    """
    return max(1, round(first_channels * width)) * 2**position
