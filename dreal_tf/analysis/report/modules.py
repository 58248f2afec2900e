"""What each module is worth, by both baselines, beside the baseline run's."""

from dreal_tf.analysis.audit import values_figure
from dreal_tf.analysis.report.page import Column, Picture, Section, Table, written
from dreal_tf.method.rewards import ABLATIONS

NAME, TITLE = "modules", "What each module is worth"
NUMBERS = ("value", "low", "high", "accuracy_drop", "p_value", "helped", "harmed", "untouched")


def modules_section(evidence):
    """What the answer loses when a module's action is replaced.

    Args:
        evidence: `dreal_tf.analysis.report.gathering.Evidence`.
    Returns:
        `Section`.
    """
    audited = evidence.ours.audit
    text = (
        f"On {audited['images']:,} test images each module's action was replaced, right and wrong answers "
        "alike, and the label's log probability taken with and without: what it falls by is what the "
        "module is worth (nats). Above 0 the module helps. Replaced by its own mean it loses its "
        "selectivity, by its mean over training images (static) its dependence on the image.",
        "An interval that covers 0 says that nothing was found, not that there is nothing. All modules at "
        "once are worth " + _said(audited["attention"]["mean"]) + " by their mean, "
        f"{_said(audited['attention']['static'])} by static. dreal-tf audit says it by class.",
    )
    return Section(NAME, TITLE, text, (_values(evidence),), (_table(evidence),))


def _values(evidence):
    rows = [
        (name, module, found["stage"], baseline, *(found[baseline][n] for n in NUMBERS))
        for name, run in evidence.runs.items()
        if run.audit is not None
        for module, found in run.audit["modules"].items()
        for baseline in ABLATIONS
    ]
    columns = [Column(n) for n in ("run", "module", "stage", "baseline action", *NUMBERS)]
    caption = "What each module of this run is worth, in depth order; bars are 95 % intervals."
    modules = evidence.ours.audit["modules"]
    worth = {module: found["mean"]["value"] for module, found in modules.items()}
    most, least = max(worth, key=worth.get), min(worth, key=worth.get)
    alt = (
        f"Values of {len(modules)} modules with intervals. By their mean, {most} is worth most, "
        f"{_said(modules[most]['mean'])}, and {least} least, {_said(modules[least]['mean'])}."
    )
    numbers = Table("module_values", columns, rows, caption)
    return Picture(values_figure(evidence.ours.audit), numbers, alt)


def _table(evidence):
    ours, other = evidence.ours.audit["modules"], {}
    if evidence.baseline is not None and evidence.baseline.audit is not None:
        other = {m: found for m, found in evidence.baseline.audit["modules"].items() if m in ours}
    rows = []
    for module, found in ours.items():
        mean = found["mean"]
        row = (module, *_interval(mean), *_interval(found["static"]))
        row += tuple(100 * mean[share] for share in ("accuracy_drop", "helped", "harmed"))
        if other:
            same = other.get(module)
            row += _interval(same["mean"]) if same else (None, None, None)
        rows.append(row)
    names = ["mean", "low", "high", "static", "low", "high"]
    columns = [Column("module"), *(Column(name, ".3f") for name in names)]
    columns += [Column("accuracy (points)", ".2f")]
    columns += [Column("helped (%)", ".1f"), Column("harmed (%)", ".1f")]
    columns += [Column(name, ".3f") for name in ("baseline's mean", "low", "high")] if other else []
    caption = (
        "Values in nats, with the ends of 95 % intervals. Accuracy, helped and harmed are by the mean: what "
        "is lost without the module, and the images whose label it makes more or less probable."
    )
    return Table("modules", columns, rows, caption)


def _interval(found):
    return found["value"], found["low"], found["high"]


def _said(found):
    value, low, high = (written(end, ".3f") for end in _interval(found))
    return f"{value} nats ({low} to {high})"
