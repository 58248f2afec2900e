"""Figure 1: what every channel is multiplied with, block by block."""

import numpy as np

from dreal_tf.analysis.report.page import Column, Picture, Section, Table, left_out, written
from dreal_tf.modules import stage_name
from dreal_tf.visualization.channel_actions import channel_attention

NAME, TITLE = "channels", "Channel attention"


def channels_section(evidence):
    """The distribution of channel attention in every block, and how diverse it is.

    Args:
        evidence: `dreal_tf.analysis.report.gathering.Evidence`.
    Returns:
        `Section`.
    """
    if not evidence.ours.channels:
        kind = evidence.ours.recipe.attention.kind
        return left_out(NAME, TITLE, f"Attention of the kind {kind} gives channels no weights to draw.")
    text = (
        "A panel for each block: what each channel is multiplied with, mean and spread over the "
        f"{evidence.ours.audit['images']:,} test images (the paper's Figure 1). Channels that are told "
        "apart make the line uneven; images that are told apart make the band wide.",
        _last_stage(evidence),
    )
    return Section(NAME, TITLE, text, (_picture(evidence),), (_table(evidence),))


def _picture(evidence):
    ours, other = evidence.ours.channels, evidence.baseline and evidence.baseline.channels
    same = {module: other[module] for module in ours if module in other} if other else None
    rows = [
        (name, module, channel, float(actions.mean[channel]), float(actions.spread[channel]))
        for name, run in evidence.runs.items()
        for module, actions in run.channels.items()
        for channel in range(len(actions.mean))
    ]
    columns = [Column(n) for n in ("run", "module", "channel", "mean", "spread between images")]
    above = ", baseline above this run" if same else ""
    caption = (
        f"Channel attention of every block{above}. Over each panel: the standard deviation across the "
        "channels of an image, and between images."
    )
    levels = ", ".join(f"{m} {a.mean.mean():.2f}" for m, a in list(ours.items())[:8])
    alt = f"Lines over channels for {len(ours)} blocks. Mean levels: {levels}."
    figure = channel_attention(ours, same or None, ("this run", "baseline"))
    return Picture(figure, Table("channel_attention", columns, rows, caption), alt)


def _table(evidence):
    quantities = {"across_channels": "across channels", "between_images": "between images"}
    runs = {n: run for n, run in evidence.runs.items() if run.channels.keys() & evidence.ours.channels}
    columns, rows = [Column("module")], []
    for said in quantities.values():
        columns += [Column(f"{said}, {name}", ".4f") for name in runs]
    for module in evidence.ours.channels:
        of_runs = [run.channels.get(module) for run in runs.values()]
        row = (getattr(found, q) if found else None for q in quantities for found in of_runs)
        rows.append((module, *row))
    caption = "How diverse channel attention is: mean standard deviations."
    return Table("channel_diversity", columns, rows, caption)


def _last_stage(evidence):
    """The spread across channels in the last stage, where the paper found more of it."""
    stage = stage_name(list(evidence.ours.channels)[-1])
    found = {
        name: [a.across_channels for m, a in run.channels.items() if stage_name(m) == stage]
        for name, run in evidence.runs.items()
    }
    means = {name: written(float(np.mean(values)), ".4f") for name, values in found.items() if values}
    said = (
        f"In the last stage, {stage}, the weights of an image's channels have a standard deviation of "
    )
    if "baseline" not in means:
        return f"{said}{means['this run']}."
    return (
        f"{said}{means['this run']}, in the baseline of {means['baseline']}. In the paper they became "
        "more diverse there."
    )
