"""The value of each module, by both reference actions, beside the baseline run's."""

from dreal_tf.analysis.report.page import Column, Picture, ReportSection, Table, written
from dreal_tf.method.rewards import ABLATIONS

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
        "modules", "Value of each module", text, (_picture(evidence),), (_table(evidence),)
    )


def _picture(evidence):
    rows = [
        (name, module, values["stage"], baseline, *(values[baseline][number] for number in NUMBERS))
        for name, run in evidence.runs.items()
        if run.audit is not None
        for module, values in run.audit["modules"].items()
        for baseline in ABLATIONS
    ]
    columns = [Column(name) for name in ("run", "module", "stage", "baseline action", *NUMBERS)]
    caption = "The value of each module of this run, in depth order; bars are 95 % intervals."
    modules = {module: values["mean"] for module, values in evidence.ours.audit["modules"].items()}
    most, least = (pick(modules, key=lambda m: modules[m]["value"]) for pick in (max, min))
    alt = (
        f"Values of {len(modules)} modules with intervals. By their mean, {most} has the greatest value, "
        f"{_with_interval(modules[most])}, and {least} the least, {_with_interval(modules[least])}."
    )
    return Picture(evidence.ours.audit.figure, Table("module_values", columns, rows, caption), alt)


def _table(evidence):
    ours, other = evidence.ours.audit["modules"], {}
    if evidence.baseline is not None and evidence.baseline.audit is not None:
        other = {m: values for m, values in evidence.baseline.audit["modules"].items() if m in ours}
    rows = []
    for module, values in ours.items():
        row = (module, *_interval(values["mean"]), *_interval(values["static"]))
        row += tuple(100 * values["mean"][name] for name in ("accuracy_drop", "helped", "harmed"))
        if other:
            row += _interval(other[module]["mean"]) if module in other else (None, None, None)
        rows.append(row)
    names = ["mean", "low", "high", "static", "low", "high"]
    columns = [Column("module"), *(Column(name, ".3f") for name in names)]
    columns += [
        Column("accuracy (points)", ".2f"),
        Column("helped (%)", ".1f"),
        Column("harmed (%)", ".1f"),
    ]
    columns += [Column(name, ".3f") for name in ("baseline's mean", "low", "high")] if other else []
    caption = (
        "Values in nats, with the ends of 95 % intervals. Accuracy, helped and harmed are by the mean: the "
        "accuracy lost without the module, and the images whose label it makes more or less probable."
    )
    return Table("modules", columns, rows, caption)


def _interval(value):
    return value["value"], value["low"], value["high"]


def _with_interval(value):
    mean, low, high = (written(end, ".3f") for end in _interval(value))
    return f"{mean} nats ({low} to {high})"
