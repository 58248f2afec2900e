"""Figure 1: the factor of every channel, block by block."""

import numpy as np

from dreal_tf.analysis.report.page import Column, Picture, ReportSection, Table, written
from dreal_tf.modules import stage_name
from dreal_tf.networks.backbones import actors_of
from dreal_tf.visualization.channel_actions import channel_actions, channel_attention

DIVERSITY = {"across_channels": "across channels", "between_images": "between images"}


def channels_section(evidence):
    """The distribution of channel attention in every block, and its diversity.

    Args:
        evidence: `dreal_tf.analysis.report.evidence.Evidence`.
    Returns:
        `ReportSection`.
    """
    images, _ = evidence.examples
    actions = {
        name: channel_actions(run.network, images) if actors_of(run.network) else {}
        for name, run in evidence.runs.items()
    }
    name, title = "channels", "Channel attention"
    if not actions["this run"]:
        kind = evidence.ours.recipe.attention.kind
        why = f"Attention of the kind {kind} gives channels no weights to draw."
        return ReportSection(name, title, (why,), empty=True)
    text = (
        "A panel for each block: the factor of each channel, mean and spread over the "
        f"{evidence.ours.audit['images']:,} test images (the paper's Figure 1). The line is uneven if the "
        "module distinguishes channels; the band is wide if it distinguishes images.",
        _last_stage(actions),
    )
    return ReportSection(name, title, text, (_picture(actions),), (_table(actions),))


def _picture(actions):
    ours, other = actions["this run"], actions.get("baseline", {})
    shared = {module: other[module] for module in ours if module in other}
    rows = [
        (name, module, channel, float(of.mean[channel]), float(of.spread[channel]))
        for name, modules in actions.items()
        for module, of in modules.items()
        for channel in range(len(of.mean))
    ]
    columns = [Column(n) for n in ("run", "module", "channel", "mean", "spread between images")]
    caption = (
        f"Channel attention of every block{', baseline above this run' if shared else ''}. Over each panel: "
        "the standard deviation across the channels of an image, and between images."
    )
    levels = ", ".join(f"{module} {of.mean.mean():.2f}" for module, of in list(ours.items())[:8])
    return Picture(
        lambda style: channel_attention(ours, shared or None, ("this run", "baseline"), style),
        Table("channel_attention", columns, rows, caption),
        f"Lines over channels for {len(ours)} blocks. Mean levels: {levels}.",
    )


def _table(actions):
    ours = actions["this run"]
    runs = {name: modules for name, modules in actions.items() if modules.keys() & ours}
    columns, rows = [Column("module")], []
    for quantity in DIVERSITY.values():
        columns += [Column(f"{quantity}, {name}", ".4f") for name in runs]
    for module in ours:
        of_runs = [modules.get(module) for modules in runs.values()]
        rows.append((module, *(getattr(of, q) if of else None for q in DIVERSITY for of in of_runs)))
    caption = "The diversity of channel attention: mean standard deviations."
    return Table("channel_diversity", columns, rows, caption)


def _last_stage(actions):
    """The spread across channels in the last stage, where the paper found more of it."""
    stage = stage_name(list(actions["this run"])[-1])
    spreads = {
        name: [of.across_channels for module, of in modules.items() if stage_name(module) == stage]
        for name, modules in actions.items()
    }
    means = {name: written(float(np.mean(values)), ".4f") for name, values in spreads.items() if values}
    sentence = (
        f"In the last stage, {stage}, the weights of an image's channels have a standard deviation of "
        f"{means['this run']}"
    )
    if "baseline" not in means:
        return f"{sentence}."
    return f"{sentence}, in the baseline of {means['baseline']}. In the paper they became more diverse there."
