"""`dreal-tf audit`."""

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.progress import track

from dreal_tf.cli.output import console, next_command, result, say
from dreal_tf.cli.quiet import import_quietly
from dreal_tf.errors import InputError
from dreal_tf.run_directory import RunDirectory

HEADINGS = (
    "module",
    "alignment [95 %]",
    "positive",
    "explained: all",
    "right",
    "held",
    "differences: baseline",
    "permuted",
    "noise",
    "direction [95 %]",
)


def audit(
    target: Annotated[
        Optional[str], typer.Argument(metavar="", hidden=True, show_default=False)
    ] = None,
    critic: Annotated[
        Optional[Path],
        typer.Option("--critic", metavar="RUN", help="Run whose critic is to be judged."),
    ] = None,
    images: Annotated[int, typer.Option(help="Test images to measure on, at most.")] = 2000,
    data_dir: Annotated[
        Optional[str], typer.Option(help="Folder of the data. [default: the run's]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
):
    """Measure whether the advice of a run's critic can be trusted."""
    if critic is None or target is not None:
        received = "no --critic" if critic is None else f"{target!r} beside --critic"
        raise InputError(
            f"Expected --critic and a run, nothing else. Received: {received}. Write `dreal-tf audit "
            "--critic RUN`."
        )
    RunDirectory(critic).read_recipe()  # Bad input is met before TensorFlow is loaded.
    measuring = import_quietly("dreal_tf.auditing.critic")

    def shown(batches):
        return track(batches, description="Measuring", console=console, transient=True)

    found = measuring.audit_critic(critic, images, data_dir, shown)
    result(found, as_json, audit_lines(found))
    say(
        f"{found['images']} test images, network and critic after {found['epochs']} epochs. Alignment: "
        "cosine with the true direction. Explained: of the reward, by the critique. Differences: of "
        "log p, by the direction. Direction: nats gained over random signs."
    )
    next_command(f"dreal-tf evaluate {shlex.quote(str(critic))}")


def audit_lines(found):
    """What was measured as aligned lines, one a module.

    Args:
        found: dict, see `dreal_tf.auditing.critic.measure_critic`.
    Returns:
        List of str.
    Example:
        >>> interval = {"mean": 0.5, "low": 0.25, "high": 0.75}
        >>> found = {"alignment": {"gate/se": interval | {"positive": 1.0}},
        ...     "explained": {"gate/se": {"all": 0.5, "right": None, "held": 0.25}},
        ...     "differences": {"gate/se": {"baseline": 0.5, "permuted": 0.0, "noise": -1.0}},
        ...     "direction": {"gate/se": interval | {"advised": 0.5, "random": 0.0}}}
        >>> audit_lines(found)[1].split()[:6]
        ['gate/se', '0.500', '[0.250,', '0.750]', '1.000', '0.500']
    """
    rows = [HEADINGS]
    for module, alignment in found["alignment"].items():
        explained, differences = found["explained"][module], found["differences"][module]
        numbers = [alignment["positive"], *explained.values(), *differences.values()]
        rows.append(
            [
                module,
                _interval(alignment, 3),
                *(_number(number, 3) for number in numbers),
                _interval(found["direction"][module], 4),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [[cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in rows]
    return ["  ".join(row).rstrip() for row in aligned]


def _number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(found, digits):
    mean, low, high = (_number(found[name], digits) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
