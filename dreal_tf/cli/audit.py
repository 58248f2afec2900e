"""`dreal-tf audit`."""

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf.analysis.sources import check_images, source_of
from dreal_tf.cli.output import aligned, import_quietly, next_command, result, say, shown
from dreal_tf.errors import InputError
from dreal_tf.training.run_directory import RunDirectory

CRITIC_HEADINGS = (
    "module",
    "alignment [95 %]",
    "positive",
    "r2: all",
    "right",
    "held",
    "differences: reference",
    "permuted",
    "noise",
    "direction [95 %]",
)


def critic_lines(found):
    """What was measured as aligned lines, one a module.

    Args:
        found: dict, see `dreal_tf.analysis.audit_critic.measure_critic`.
    Returns:
        List of str.
    Example:
        >>> interval = {"mean": 0.5, "low": 0.25, "high": 0.75}
        >>> found = {"alignment": {"gate/se": interval | {"positive": 1.0}},
        ...     "r2": {"gate/se": {"all": 0.5, "right": None, "held": 0.25}},
        ...     "differences": {"gate/se": {"reference": 0.5, "permuted": 0.0, "noise": -1.0}},
        ...     "direction": {"gate/se": interval | {"along": 0.5, "random": 0.0}}}
        >>> critic_lines(found)[1].split()[:6]
        ['gate/se', '0.500', '[0.250,', '0.750]', '1.000', '0.500']
    """
    rows = [CRITIC_HEADINGS]
    for module, alignment in found["alignment"].items():
        r2, differences = found["r2"][module], found["differences"][module]
        numbers = [alignment["positive"], *r2.values(), *differences.values()]
        rows.append(
            [
                module,
                _interval(alignment, 3),
                *(_number(number, 3) for number in numbers),
                _interval(found["direction"][module], 4),
            ]
        )
    return aligned(rows)


def _number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(found, digits):
    mean, low, high = (_number(found[name], digits) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


VALUE_HEADINGS = ["module"]
for _baseline in ("mean", "static"):
    VALUE_HEADINGS += [f"{_baseline}: nats [95 %]", "accuracy", "p", "images"]


def value_lines(found):
    """Modules, stages of several modules, and all attention together, as aligned lines.

    Args:
        found: dict, see `dreal_tf.analysis.audit.audit`.
    Returns:
        List of str. `accuracy`: points gained by the module; `images`: percent of them helped,
        harmed and untouched.
    Example:
        >>> value = {"value": 0.5, "low": 0.25, "high": 0.75, "accuracy_drop": 0.01, "p_value": 0.5}
        >>> value |= {"helped": 0.5, "harmed": 0.25, "untouched": 0.25}
        >>> both = {"mean": value, "static": value}
        >>> found = {"modules": {"gate/se": {"stage": "gate"} | both}, "stages": {"gate": both}}
        >>> value_lines(found | {"attention": both})[1].split()[:6]
        ['gate/se', '+0.5000', '[+0.2500,', '+0.7500]', '+1.0', '0.5']
    """
    members = [module["stage"] for module in found["modules"].values()]
    rows = dict(found["modules"])
    rows |= {f"all of {s}": both for s, both in found["stages"].items() if members.count(s) > 1}
    if len(members) > 1:
        rows["all attention"] = found["attention"]
    table = [[name, *_cells(both["mean"]), *_cells(both["static"])] for name, both in rows.items()]
    return aligned([VALUE_HEADINGS, *table])


def meaning(found):
    """What an audit found, in plain sentences.

    Args:
        found: dict, see `dreal_tf.analysis.audit.audit`.
    Returns:
        List of str.
    """
    sentences = [
        f"{found['images']} test images, accuracy {found['accuracy']:.3f}. A value is what log p of the "
        "label loses (nats) when a module treats all channels or places alike (mean), or all images "
        f"alike, as it treats {found['calibration_images']} training images on average (static). "
        "Accuracy: points lost with it, and McNemar's p. Images: percent that the module helps/harms/"
        f"leaves untouched (log p moves by {found['tolerance']} or less).",
    ]
    modules = found["modules"]
    best = max(modules, key=lambda module: modules[module]["mean"]["value"])
    if modules[best]["mean"]["low"] > 0:
        sentences.append(f"{best} earns most by selecting{_for_classes(found, best)}.")
    harmful = [module for module, both in modules.items() if both["static"]["high"] < 0]
    idle = [module for module in earns_nothing(found) if module not in harmful]
    if idle:
        sentences.append(f"Not seen to earn anything by looking at the image: {', '.join(idle)}.")
    if harmful:
        sentences.append(f"Seen to do harm by looking at the image: {', '.join(harmful)}.")
    return sentences


def earns_nothing(found):
    """Modules whose dependence on the image is not seen to be worth anything.

    Args:
        found: dict, see `dreal_tf.analysis.audit.audit`.
    Returns:
        List of str: modules whose interval for `static` does not lie above 0.
    Example:
        >>> earns_nothing({"modules": {"gate/se": {"static": {"low": 0.0}}}})
        ['gate/se']
    """
    return [module for module, both in found["modules"].items() if both["static"]["low"] <= 0]


def _cells(found):
    value, low, high = (f"{found[name]:+.4f}" for name in ("value", "low", "high"))
    shares = "/".join(f"{100 * found[name]:.0f}" for name in ("helped", "harmed", "untouched"))
    accuracy = f"{100 * found['accuracy_drop']:+.1f}"
    return [f"{value} [{low}, {high}]", accuracy, f"{found['p_value']:.2g}", shares]


def _for_classes(found, module):
    """For which class it is worth most and least, where there are several."""
    values = {name: both[module]["mean"]["value"] for name, both in found["classes"].items()}
    if len(values) < 2:
        return ""
    most, least = max(values, key=values.get), min(values, key=values.get)
    return f": {values[most]:+.3f} nats for {most!r}, {values[least]:+.3f} for {least!r}"


def audit(
    target: Annotated[
        Optional[Path],
        typer.Argument(help="Run directory or .keras file whose modules are to be valued."),
    ] = None,
    critic: Annotated[
        Optional[Path],
        typer.Option("--critic", metavar="RUN", help="Run whose critic is to be judged instead."),
    ] = None,
    data: Annotated[
        Optional[str], typer.Option(help="Recipe whose data a .keras file was trained on.")
    ] = None,
    images: Annotated[int, typer.Option(help="Test images to measure on, at most.")] = 2000,
    data_dir: Annotated[
        Optional[str], typer.Option(help="Folder of the data. [default: the recipe's]")
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(help="Folder to write. [default: RUN/audit, or MODEL_audit beside the file]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
):
    """Measure what each attention module is worth, or whether a critic can be trusted."""
    if (critic is None) == (target is None):
        received = "neither" if critic is None else f"{str(target)!r} beside --critic"
        raise InputError(
            f"Expected a run or a .keras file, or --critic and a run. Received: {received}. Write "
            "`dreal-tf audit RUN`, or `dreal-tf audit --critic RUN`."
        )
    if critic is None:
        _audit_modules(target, data, images, data_dir, out, as_json)
    elif data is not None or out is not None:
        raise InputError(
            "Expected --critic and a run, whose own data it is judged on and which is left as it is. "
            "Received: --data or --out beside it. Leave them out."
        )
    else:
        _audit_critic(critic, images, data_dir, as_json)


def _audit_modules(target, data, images, data_dir, out, as_json):
    check_images(images)
    source = source_of(target, data, data_dir)  # Bad input is met before TensorFlow is loaded.
    measured = import_quietly("dreal_tf.analysis.audit").audit(target, images, data, data_dir, shown)
    folder = import_quietly("dreal_tf.analysis.audit").write_audit(measured, out or source.folder)
    result(measured, as_json, value_lines(measured))
    say("")
    for sentence in meaning(measured):
        say(sentence)
    say(f"Table, classes and figure: {folder}")
    path = shlex.quote(str(target))
    if not source.is_run:
        next_command(f"dreal-tf predict {path} IMAGES --data {shlex.quote(data)}")
    elif earns_nothing(measured):
        next_command(f"dreal-tf prune {path}")
    else:
        next_command(f"dreal-tf evaluate {path}")


def _audit_critic(critic, images, data_dir, as_json):
    RunDirectory(critic).read_recipe()  # Bad input is met before TensorFlow is loaded.
    measuring = import_quietly("dreal_tf.analysis.audit_critic")
    found = measuring.audit_critic(critic, images, data_dir, shown)
    result(found, as_json, critic_lines(found))
    say(
        f"{found['images']} test images, network and critic after {found['epochs']} epochs. Alignment: "
        "cosine with the true direction. Explained: of the reward, by the critique. Differences: of "
        "log p, by the direction. Direction: nats gained over random signs."
    )
    next_command(f"dreal-tf evaluate {shlex.quote(str(critic))}")
