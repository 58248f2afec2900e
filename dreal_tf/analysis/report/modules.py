"""The value of each module, and Figure 1: the factor of every channel."""

import numpy as np

from dreal_tf.analysis.report.page import Column, Picture, ReportSection, Table, written
from dreal_tf.method.rewards import ABLATIONS
from dreal_tf.modules import stage_name
from dreal_tf.networks.backbones import actors_of
from dreal_tf.visualization.module_figures import channel_actions, channel_attention

NUMBERS = ("value", "low", "high", "accuracy_drop", "p_value", "helped", "harmed", "untouched")


def modules_section(evidence):
    """The loss of log probability when a module's action is replaced.

    Args:
        evidence: `dreal_tf.analysis.report.evidence.Evidence`.
    Returns:
        `ReportSection`.
    """
    audit = evidence.ours.audit
    mean, static = (_with_interval(audit["attention"][baseline]) for baseline in ABLATIONS)
    text = (
        f"On {audit['images']:,} test images, whether predicted correctly or not, each module's action was "
        "replaced. The value of the module is what the log probability of the label then loses (nats). "
        "Above 0 the module helps. Replaced by its own mean it loses its selectivity; replaced by its mean "
        "over training images (static), its dependence on the image.",
        "An interval that covers 0 says that no effect was found, not that there is none. The value of all "
        f"modules together is {mean} by their mean, {static} by static. dreal-tf audit shows it by class.",
    )
    return ReportSection(
        "modules", "Value of each module", text, (_values(evidence),), (_values_table(evidence),)
    )


def _values(evidence):
    rows = [
        (name, module, values["stage"], baseline, *(values[baseline][number] for number in NUMBERS))
        for name, run in evidence.runs.items()
        if run.audit is not None
        for module, values in run.audit["modules"].items()
        for baseline in ABLATIONS
    ]
    columns = ("run", "module", "stage", "baseline action", *NUMBERS)
    caption = "The value of each module of this run, in depth order; bars are 95 % intervals."
    modules = {module: values["mean"] for module, values in evidence.ours.audit["modules"].items()}
    most, least = (pick(modules, key=lambda m: modules[m]["value"]) for pick in (max, min))
    alt = (
        f"Values of {len(modules)} modules with intervals. By their mean, {most} has the greatest value, "
        f"{_with_interval(modules[most])}, and {least} the least, {_with_interval(modules[least])}."
    )
    return Picture(evidence.ours.audit.figure(), Table("module_values", columns, rows, caption), alt)


def _values_table(evidence):
    ours, *others = [run.audit["modules"] for run in evidence.runs.values() if run.audit is not None]
    others = [other for other in others if other.keys() & ours.keys()]
    rows = []
    for module, values in ours.items():
        row = [module, *_interval(values["mean"]), *_interval(values["static"])]
        row += [100 * values["mean"][name] for name in ("accuracy_drop", "helped", "harmed")]
        row.append(values["parameters"])
        for other in others:
            row += _interval(other[module]["mean"]) if module in other else [None] * 3
        rows.append(row)
    forms = {"accuracy (points)": ".2f", "helped (%)": ".1f", "harmed (%)": ".1f"}
    forms["parameters"] = ",d"
    names = ["mean", "low", "high", "static", "low", "high", *forms]
    names += ["baseline's mean", "low", "high"] * len(others)
    columns = ["module", *(Column(name, forms.get(name, ".3f")) for name in names)]
    caption = (
        "Values in nats, with the ends of 95 % intervals. Accuracy, helped and harmed are by the mean: the "
        "accuracy lost without the module, and the images whose label it makes more or less probable; parameters are those of the module's layer."
    )
    return Table("modules", columns, rows, caption)


def _interval(value):
    return value["value"], value["low"], value["high"]


def _with_interval(value):
    mean, low, high = (written(end, ".3f") for end in _interval(value))
    return f"{mean} nats ({low} to {high})"


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
    return ReportSection(name, title, text, (_channels(actions),), (_diversity(actions),))


def _channels(actions):
    ours, other = actions["this run"], actions.get("baseline", {})
    shared = {module: other[module] for module in ours if module in other}
    rows = [
        (name, module, channel, float(of.mean[channel]), float(of.spread[channel]))
        for name, modules in actions.items()
        for module, of in modules.items()
        for channel in range(len(of.mean))
    ]
    columns = ("run", "module", "channel", "mean", "spread between images")
    caption = (
        f"Channel attention of every block{', baseline above this run' if shared else ''}. Over each panel: "
        "the standard deviation across the channels of an image, and between images."
    )
    levels = ", ".join(f"{module} {of.mean.mean():.2f}" for module, of in list(ours.items())[:8])
    return Picture(
        channel_attention(ours, shared or None, ("this run", "baseline")),
        Table("channel_attention", columns, rows, caption),
        f"Lines over channels for {len(ours)} blocks. Mean levels: {levels}.",
    )


def _diversity(actions):
    ours = actions["this run"]
    runs = {name: modules for name, modules in actions.items() if modules.keys() & ours}
    columns, rows = ["module"], []
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
