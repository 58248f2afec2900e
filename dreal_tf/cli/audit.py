"""The verb `audit`."""

import shlex
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from dreal_tf import api
from dreal_tf.analysis.inputs import check_images, source_of
from dreal_tf.cli.options import Json, Plugins, RunDataDir, TestImages
from dreal_tf.cli.output import next_command, result, say, shown, table_lines
from dreal_tf.errors import InputError


def critic_lines(critic):
    """The measurements of a critic as two tables, a row for each module.

    Args:
        critic: `dreal_tf.analysis.audit_critic.CriticAudit`.
    Returns:
        List of str.
    Example:
        >>> interval = {"mean": 0.5, "low": 0.25, "high": 0.75}
        >>> critic = {"alignment": {"gate/se": interval | {"positive": 1.0}},
        ...     "r2": {"gate/se": {"all": 0.5, "right": None, "held": 0.25}},
        ...     "differences": {"gate/se": {"reference": 0.5, "permuted": 0.0, "noise": -1.0}},
        ...     "direction": {"gate/se": interval | {"along": 0.5, "random": 0.0}}}
        >>> critic_lines(critic)[1].split()
        ['gate/se', '0.500', '[0.250,', '0.750]', '1.000', '0.5000', '[0.2500,', '0.7500]']
    """
    gradients, predictions = [], []
    for module, alignment in critic["alignment"].items():
        positive, direction = _number(alignment["positive"], 3), critic["direction"][module]
        gradients.append([module, _interval(alignment, 3), positive, _interval(direction, 4)])
        numbers = [*critic["r2"][module].values(), *critic["differences"][module].values()]
        predictions.append([module, *(_number(number, 3) for number in numbers)])
    headings = ["module", "R²: all", "right", "held", "Δ: reference", "permuted", "noise"]
    return [
        *table_lines(["module", "alignment [95 %]", "positive", "direction [95 %]"], gradients),
        "",
        *table_lines(headings, predictions),
    ]


def _number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(values, digits):
    mean, low, high = (_number(values[name], digits) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


COSTS = ("parameters", "multiply_adds")
REFERENCE_ACTIONS = {
    "mean": "Each action replaced by its own mean (selectivity):",
    "static": "Each action replaced by its mean over training images (dependence on images):",
}


def value_lines(audit):
    """Modules, stages of several modules, and all attention together, a table for each reference action.

    Args:
        audit: `dreal_tf.analysis.audit.Audit`.
    Returns:
        List of str. `accuracy`: points gained by the module; `images`: percent of them helped,
        harmed and untouched.
    Example:
        >>> value = {"value": 0.5, "low": 0.25, "high": 0.75, "accuracy_drop": 0.01, "p_value": 0.5}
        >>> value |= {"helped": 0.5, "harmed": 0.25, "untouched": 0.25}
        >>> both = {"mean": value, "static": value}
        >>> audit = {"modules": {"gate/se": {"stage": "gate"} | both}, "stages": {"gate": both}}
        >>> value_lines(audit | {"attention": both, "unit": "nats"})[2].split()
        ['gate/se', '+0.5000', '[+0.2500,', '+0.7500]', '+1.0', '0.5', '50/25/25']
    """
    stages = [module["stage"] for module in audit["modules"].values()]
    parts = dict(audit["modules"])
    parts |= {f"all of {s}": both for s, both in audit["stages"].items() if stages.count(s) > 1}
    if len(stages) > 1:
        parts["all attention"] = audit["attention"]
    lines = []
    for reference, sentence in REFERENCE_ACTIONS.items():
        rows = [[name, *_cells(both[reference])] for name, both in parts.items()]
        accuracy = [] if audit["attention"][reference]["accuracy_drop"] is None else ["accuracy", "p"]
        table = table_lines(["module", f"{audit['unit']} [95 %]", *accuracy, "images"], rows)
        lines += [*([""] if lines else []), sentence, *table]
    return lines


def cost_lines(audit):
    """The cost of each module's layer, as a table.

    Args:
        audit: `dreal_tf.analysis.audit.Audit`.
    Returns:
        List of str; "-" where a cost is unknown, see `dreal_tf.analysis.audit.module_costs`.
    Example:
        >>> cost = {"parameters": 148, "multiply_adds": None}
        >>> audit = {"parameters": 1480, "multiply_adds": 9000, "modules": {"gate/se": cost}}
        >>> cost_lines(audit)[2].split()
        ['gate/se', '148', '(10.0', '%)', '-']
    """
    rows = [
        [name, *(_with_fraction(module[cost], audit[cost]) for cost in COSTS)]
        for name, module in audit["modules"].items()
    ]
    heading = "Cost of the layer of each module, and its share of the network:"
    return [heading, *table_lines(["module", "parameters", "multiply-adds"], rows)]


def _with_fraction(cost, whole):
    return "-" if cost is None or not whole else f"{cost:,} ({100 * cost / whole:.1f} %)"


def meaning(audit):
    """The results of an audit in sentences.

    Args:
        audit: `dreal_tf.analysis.audit.Audit`.
    Returns:
        List of str.
    """
    nats, accuracy = audit["unit"] == "nats", audit["accuracy"]
    lost = (
        "the drop of log p of the label (nats)"
        if accuracy is not None
        else f"the rise of {audit['loss']}"
    )
    sentences = [
        f"{audit['images']} test images{'' if accuracy is None else f', accuracy {accuracy:.3f}'}. Value: "
        f"{lost} if a module treats all "
        "channels or positions equally (mean), or all images equally, as the average of "
        f"{audit['calibration_images']} images (static). "
        f"{'' if accuracy is None else 'Accuracy: points lost, with the p of McNemar. '}Images: percent that the "
        f"module helps/harms/leaves untouched ({'log p' if nats else 'the loss'} changes by "
        f"{audit['tolerance']:.2g} or less)."
    ]
    modules = audit["modules"]
    best = max(modules, key=lambda module: modules[module]["mean"]["value"])
    if modules[best]["mean"]["low"] > 0:
        sentences.append(f"{best} contributes most by its selectivity{_for_classes(audit, best)}.")
    harmful = [module for module, both in modules.items() if both["static"]["high"] < 0]
    idle = [module for module in without_value(audit) if module not in harmful]
    if idle:
        sentences.append(f"No measurable contribution from looking at the image: {', '.join(idle)}.")
    if harmful:
        sentences.append(f"Measurable harm from looking at the image: {', '.join(harmful)}.")
    return sentences + audit["notes"]


def without_value(audit):
    """Modules whose dependence on the image has no measurable value.

    Args:
        audit: `dreal_tf.analysis.audit.Audit`.
    Returns:
        List of str: modules whose interval for `static` does not lie above 0.
    Example:
        >>> without_value({"modules": {"gate/se": {"static": {"low": 0.0}}}})
        ['gate/se']
    """
    return [module for module, both in audit["modules"].items() if both["static"]["low"] <= 0]


def _cells(value):
    mean, low, high = (f"{value[name]:+.4f}" for name in ("value", "low", "high"))
    images = "/".join(f"{100 * value[name]:.0f}" for name in ("helped", "harmed", "untouched"))
    if value["accuracy_drop"] is None:
        return [f"{mean} [{low}, {high}]", images]
    accuracy = f"{100 * value['accuracy_drop']:+.1f}"
    return [f"{mean} [{low}, {high}]", accuracy, f"{value['p_value']:.2g}", images]


def _for_classes(audit, module):
    """The classes with the greatest and the least value, if there are several."""
    values = {name: both[module]["mean"]["value"] for name, both in audit["classes"].items()}
    if len(values) < 2:
        return ""
    most, least = max(values, key=values.get), min(values, key=values.get)
    return f": {values[most]:+.3f} nats for {most!r}, {values[least]:+.3f} for {least!r}"


def audit(
    target: Annotated[Path | None, Argument(help="Run directory or .keras file to audit.")] = None,
    critic: Annotated[
        Path | None, Option("--critic", metavar="RUN", help="Run whose critic to audit instead.")
    ] = None,
    data: Annotated[
        str | None,
        Option(help="Data of a .keras file: a recipe, a run, or a folder with a folder of each class."),
    ] = None,
    gates: Annotated[
        list[str] | None,
        Option(metavar="PATTERN", help="Attention that is not ours; repeatable. [default: all]"),
    ] = None,
    images: TestImages = 2000,
    data_dir: RunDataDir = None,
    out: Annotated[
        Path | None,
        Option(help="Folder to write. [default: RUN/audit, or MODEL_audit beside the file]"),
    ] = None,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Measure what each attention module contributes.

    With --critic RUN, measure the quality of the run's critic instead.
    """
    if (critic is None) == (target is None):
        received = "neither" if critic is None else f"{str(target)!r} beside --critic"
        raise InputError(
            f"Expected a run or a .keras file, or --critic and a run. Received: {received}. Write "
            "`dreal-tf audit RUN`, or `dreal-tf audit --critic RUN`."
        )
    if critic is None:
        _audit_modules(target, data, gates or None, images, data_dir, out, as_json)
    elif given := [f"--{n}" for n, v in (("data", data), ("gates", gates), ("out", out)) if v]:
        raise InputError(
            "Expected --critic and a run alone: the audit uses the run's data and writes nothing. "
            f"Received: {', '.join(given)} beside it. Leave them out."
        )
    else:
        _audit_critic(critic, images, data_dir, as_json)


def _audit_modules(target, data, gates, images, data_dir, out, as_json):
    check_images(images)
    source = source_of(target, data, data_dir)
    folder = out or source.folder
    measured = api.audit(target, images, data, data_dir, gates=gates, out=folder, progress=shown)
    result(measured, as_json, [*value_lines(measured), "", *cost_lines(measured)])
    say("")
    for sentence in meaning(measured):
        say(sentence)
    say(f"Table, classes and figure: {folder}")
    path = shlex.quote(str(target))
    if source.data.classes is not None:
        next_command(f"dreal-tf audit {path} --data {shlex.quote(data)} --images 10000")
    elif not source.is_run:
        next_command(f"dreal-tf predict {path} IMAGES --data {shlex.quote(data)}")
    elif without_value(measured):
        next_command(f"dreal-tf prune {path}")
    else:
        next_command(f"dreal-tf evaluate {path}")


def _audit_critic(critic, images, data_dir, as_json):
    measured = api.audit(critic=critic, images=images, data_dir=data_dir, progress=shown)
    result(measured, as_json, critic_lines(measured))
    say(
        f"{measured['images']} test images, network and critic after {measured['epochs']} epochs. "
        "Alignment: cosine of the critic's gradient with the true gradient. R²: of the critique for the "
        "reward. Δ: R² of the critic's gradient for differences of log p. Direction: nats gained over "
        "random signs."
    )
    next_command(f"dreal-tf evaluate {shlex.quote(str(critic))}")
