"""The table of attention modules: `python tools/module_table.py` prints it as Markdown."""

import functools
import math
import re
from typing import NamedTuple

from dreal_tf.layers import ACTORS
from dreal_tf.networks.backbones import imagenet_residual_network
from dreal_tf.networks.flops import multiply_adds

IMAGES, CLASSES, DEPTH = (224, 224, 3), 1000, 50
# How the shape of an action is written; M is a fixed number of bases, descriptors or channels.
SYMBOLS = {
    "heads": "heads",
    "places": "N",
    "rows": "H",
    "columns": "W",
    "halved": "N/4",
    "cross": "H+W",
    "window": "k²",
    "members": "M",
}
SHAPES = {"channel": "(1, 1, C)", "spatial": "(H, W, 1)"}
FLAT = {"channel": "mean over C", "spatial": "mean over N"}


class Row(NamedTuple):
    """A row of the table: an attention kind.

    Attributes:
        kind: str, as a recipe has it.
        actor: str, the class.
        actions: str, the actions and their shapes, without the batch axis.
        reference: str, the reference actions of kind "mean".
        where: str, where the modules stand in ResNet-50.
        parameters: int, trainable ones that the attention adds to ResNet-50.
        multiply_adds: int, those that it adds for an image of 224×224.
        paper: str, a link.
    """

    kind: str
    actor: str
    actions: str
    reference: str
    where: str
    parameters: int
    multiply_adds: int
    paper: str


def module_rows(kinds=tuple(ACTORS)):
    """One `Row` per attention kind, counted on ResNet-50 for ImageNet.

    Args:
        kinds: sequence of str, attention kinds.
    Returns:
        List of `Row`.
    """
    plain = _counts(None)
    return [_row(ACTORS[kind], plain) for kind in kinds]


def markdown(rows):
    """The table as Markdown.

    Args:
        rows: list of `Row`.
    Returns:
        List of str, its lines.
    """
    lines = [
        "| `attention.kind` | actor | action, shape | reference action | where in ResNet-50 | parameters | "
        "multiply-adds | paper |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        counts = f"{row.parameters / 1e6:+.3f} M | {row.multiply_adds / 1e6:+,.1f} M"
        lines.append(
            f"| `{row.kind}` | `{row.actor}` | {row.actions} | {row.reference} | {row.where} | {counts} "
            f"| {row.paper} |"
        )
    return lines


def _row(actor, plain):
    counts = _counts(actor)
    differences = [ours - without for ours, without in zip(counts, plain, strict=True)]
    axes = actor.axes or ((),) * len(actor.kinds)
    modules = list(zip(actor.suffixes, actor.kinds, axes, strict=True))
    actions = ", ".join(f"`{suffix}` {_shape(kind, axes)}" for suffix, kind, axes in modules)
    flat = "; ".join(dict.fromkeys(_flat(kind, axes) for _, kind, axes in modules))
    where = _where(actor.placement)
    return Row(actor.attention, actor.__name__, actions, flat, where, *differences, _paper(actor))


@functools.cache
def _counts(actor):
    attention = None if actor is None else actor()
    network = imagenet_residual_network(IMAGES, CLASSES, depth=DEPTH, attention=attention)
    parameters = sum(math.prod(variable.shape) for variable in network.trainable_variables)
    return parameters, multiply_adds(network)


def _shape(kind, axes):
    return SHAPES.get(kind) or f"({', '.join(SYMBOLS[axis] for axis in axes)})"


def _flat(kind, axes):
    if axes[-1:] == ("cross",):
        return "1/(H+W-1), 0 on the masked key"
    if kind in FLAT:
        return FLAT[kind]
    keys = SYMBOLS[axes[-1]]
    return f"1/({keys})" if "/" in keys else f"1/{keys}"


def _where(placement):
    stages = placement.chosen(("conv2", "conv3", "conv4", "conv5"))
    among = "every stage" if len(stages) == 4 else ", ".join(stages)
    blocks = "every block of " if placement.blocks == "all" else ""
    return {
        "branch": f"{blocks}{among}",
        "stage": f"after {among}",
        "convolution": f"the 3×3 convolution in {blocks}{among}",
    }[placement.where]


def _paper(actor):
    source = " ".join(actor.__doc__[actor.__doc__.index("Source:") :].split())
    authors, venue, number = re.match(
        r'Source: ([^"]+), ".+?", (.+? \d{4}), arXiv (\d+\.\d+)', source
    ).groups()
    first = authors.split(",")[0]
    return f"[{first} et al., {venue}](https://arxiv.org/abs/{number})"


if __name__ == "__main__":
    print("\n".join(markdown(module_rows())))
