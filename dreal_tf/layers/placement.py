"""Where an attention layer stands in a network of stages and blocks."""

from typing import NamedTuple

PLACES = ("branch", "stage", "convolution")


class Placement(NamedTuple):
    """Where the layers of an attention kind stand, as its paper has it.

    Attributes:
        where: "branch": after the last BatchNorm of a block's branch; "stage": after a block's last
            activation; "convolution": in place of a block's first 3×3 convolution. A layer that takes the
            place of a convolution takes arguments `filters` and `strides`.
        stages: slice of a network's stages, in depth order.
        blocks: "all" or "last" of each stage.
    Example:
        >>> Placement(stages=slice(1, 3)).chosen(("conv2", "conv3", "conv4", "conv5"))
        ('conv3', 'conv4')
    """

    where: str = "branch"
    stages: slice = slice(None)
    blocks: str = "all"

    def chosen(self, stages):
        """The stages that get the layer, of a network's stages in depth order (tuple of str)."""
        return tuple(stages[self.stages])
