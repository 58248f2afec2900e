"""Steps: what actors emit and critics read. Layers and critics meet only here."""

import re
from typing import NamedTuple

ACTION_KINDS = ("channel", "spatial", "pairwise")

# The axes along which an action of each kind selects.
SELECTIVE_AXES = {"channel": (3,), "spatial": (1, 2), "pairwise": (-1,)}

# What an axis of a pairwise action can stand for: heads of attention; places of the state, row by
# row; its rows and its columns; places after the state is halved along each side; the height places
# of a query's column and then the width places of its row; offsets of a square window around a
# query, row by row; a fixed number of learnt things, such as descriptors, bases or channels.
AXES = ("heads", "places", "rows", "columns", "halved", "cross", "window", "members")


class Step(NamedTuple):
    """One decision of an actor.

    Attributes:
        state: float tensor (batch, height, width, channels), what the actor read.
        action: float tensor, the attention map before it is applied: (batch, 1, 1, channels) for a
            channel action, (batch, height, width, 1) for a spatial one, (batch, ..., queries, keys)
            for a pairwise one.
    """

    state: object
    action: object


class StepSpec(NamedTuple):
    """What is known of a step before any image is seen.

    Attributes:
        module: str. The step's place in the network, such as "conv4_3/se".
        stage: str. Consecutive blocks of one size and width, such as "conv4".
        kind: str, one of `ACTION_KINDS`.
        state_shape: tuple of int or None, without the batch axis.
        action_shape: tuple of int or None, without the batch axis.
        axes: tuple of str of `AXES`, what each axis of a pairwise action stands for; empty for any
            other kind.
    """

    module: str
    stage: str
    kind: str
    state_shape: tuple
    action_shape: tuple
    axes: tuple = ()


def module_name(layer_name, suffix, kind):
    """The module's name in logs, keys and figures, from the Keras layer's name.

    A layer that is called `<place>_<kind>` gives `<place>/<suffix>`; any other name is a place.

    Args:
        layer_name: str. Name of the attention layer; Keras allows no "/" in it.
        suffix: str. The step's suffix, such as "se" or "cbam_spatial".
        kind: str. The attention kind, such as "se" or "cbam".
    Example:
        >>> module_name("conv4_3_se", "se", "se"), module_name("gate", "se", "se")
        ('conv4_3/se', 'gate/se')
        >>> module_name("conv4_3_cbam", "cbam_spatial", "cbam")
        'conv4_3/cbam_spatial'
    """
    return f"{layer_name.removesuffix('_' + kind)}/{suffix}"


def stage_name(module):
    """The stage a module belongs to: its place without the block's number.

    Example:
        >>> stage_name("conv4_3/se"), stage_name("gate/se")
        ('conv4', 'gate')
    """
    return re.sub(r"_\d+$", "", module.split("/")[0])
