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


def staged(specs):
    """Steps with their stages, which are numbered where names do not tell them.

    Names tell the stages where every module stands at a `<stage>_<number>` and what is called one
    stage has one size and width; those of our own networks, `conv<n>_<number>`, always do. Else
    stages are "stage1", "stage2", ...: consecutive steps whose states have one size and width.

    Args:
        specs: sequence of `StepSpec`, all steps of a network in depth order.
    Returns:
        List of `StepSpec`.
    Example:
        >>> widths = {"block1a/gate": 8, "block1b/gate": 8, "block2a/gate": 16}
        >>> specs = [StepSpec(module, stage_name(module), "channel", (4, 4, width), (1, 1, width))
        ...          for module, width in widths.items()]
        >>> [spec.stage for spec in staged(specs)]
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
    places = [spec.module.split("/")[0] for spec in specs]
    if all(re.fullmatch(r"conv\d+_\d+", place) for place in places):
        return True
    shapes = {spec.stage: spec.state_shape for spec in specs}
    return all(re.fullmatch(r".*\D.*_\d+", place) for place in places) and all(
        spec.state_shape == shapes[spec.stage] for spec in specs
    )
