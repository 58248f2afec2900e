"""Modules: the outputs of actors that critics read. Layers and critics meet only here."""

import re
from typing import NamedTuple

ACTION_KINDS = ("channel", "spatial", "pairwise")

# The axes along which an action of each kind selects.
SELECTIVE_AXES = {"channel": (3,), "spatial": (1, 2), "pairwise": (-1,)}

# The meanings of an axis of a pairwise action: heads of attention; positions of the state, row by
# row; its rows and its columns; positions after the state is halved along each side; the height
# positions of a query's column and then the width positions of its row; offsets of a square window
# around a query, row by row; a fixed number of learnt entries, such as descriptors, bases or channels.
AXES = ("heads", "places", "rows", "columns", "halved", "cross", "window", "members")


class ModuleOutput(NamedTuple):
    """One decision of an actor.

    Attributes:
        state: float tensor (batch, height, width, channels), which the actor read.
        action: float tensor, the attention map before it is applied: (batch, 1, 1, channels) for a
            channel action, (batch, height, width, 1) for a spatial one, or a map for each channel,
            (batch, ..., queries, keys) for a pairwise one.
    """

    state: object
    action: object


class ModuleSpec(NamedTuple):
    """A module of a network, before any image is seen.

    Attributes:
        module: str. Its name, such as "conv4_3/se".
        stage: str. Consecutive blocks of one size and width, such as "conv4".
        kind: str, one of `ACTION_KINDS`.
        state_shape: tuple of int or None, without the batch axis.
        action_shape: tuple of int or None, without the batch axis.
        axes: tuple of str of `AXES`, the meaning of each axis of a pairwise action; empty for any
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

    A layer called `<block>_<kind>` gives `<block>/<suffix>`; any other name stays whole.

    Args:
        layer_name: str. Name of the attention layer; Keras allows no "/" in it.
        suffix: str. The module's suffix, such as "se" or "cbam_spatial".
        kind: str. The attention kind, such as "se" or "cbam".
    Example:
        >>> module_name("conv4_3_se", "se", "se"), module_name("gate", "se", "se")
        ('conv4_3/se', 'gate/se')
        >>> module_name("conv4_3_cbam", "cbam_spatial", "cbam")
        'conv4_3/cbam_spatial'
    """
    return f"{layer_name.removesuffix('_' + kind)}/{suffix}"


def stage_name(module):
    """The stage of a module: its name without the block's number and the suffix.

    Example:
        >>> stage_name("conv4_3/se"), stage_name("gate/se")
        ('conv4', 'gate')
    """
    return re.sub(r"_\d+$", "", module.split("/")[0])


def assign_stages(specs):
    """Modules with their stages, numbered if the names do not tell them.

    Names tell the stages if every module is called `<stage>_<number>` and the states of a stage have
    one size and width; the names of our own networks, `conv<n>_<number>`, always do. Otherwise the
    stages are "stage1", "stage2", ...: consecutive modules whose states have one size and width.

    Args:
        specs: sequence of `ModuleSpec`, all modules of a network in depth order.
    Returns:
        List of `ModuleSpec`.
    Example:
        >>> widths = {"block1a/gate": 8, "block1b/gate": 8, "block2a/gate": 16}
        >>> specs = [ModuleSpec(module, stage_name(module), "channel", (4, 4, width), (1, 1, width))
        ...          for module, width in widths.items()]
        >>> [spec.stage for spec in assign_stages(specs)]
        ['stage1', 'stage1', 'stage2']
    """
    if _names_tell(specs):
        return list(specs)
    numbered, number, before = [], 0, None
    for spec in specs:
        number += spec.state_shape != before
        before = spec.state_shape
        numbered.append(spec._replace(stage=f"stage{number}"))
    return numbered


def _names_tell(specs):
    blocks = [spec.module.split("/")[0] for spec in specs]
    if all(re.fullmatch(r"conv\d+_\d+", block) for block in blocks):
        return True
    shapes = {spec.stage: spec.state_shape for spec in specs}
    return all(re.fullmatch(r".*\D.*_\d+", block) for block in blocks) and all(
        spec.state_shape == shapes[spec.stage] for spec in specs
    )
