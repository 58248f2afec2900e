"""`dreal-tf audit`."""

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from dreal_tf.auditing.sources import check_images, source_of
from dreal_tf.cli.critic_lines import critic_lines
from dreal_tf.cli.output import next_command, result, say, shown
from dreal_tf.cli.quiet import import_quietly
from dreal_tf.cli.value_lines import earns_nothing, meaning, value_lines
from dreal_tf.errors import InputError
from dreal_tf.run_directory import RunDirectory


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
    measured = import_quietly("dreal_tf.auditing.audit").audit(target, images, data, data_dir, shown)
    folder = import_quietly("dreal_tf.auditing.files").write_audit(measured, out or source.folder)
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
    measuring = import_quietly("dreal_tf.auditing.critic")
    found = measuring.audit_critic(critic, images, data_dir, shown)
    result(found, as_json, critic_lines(found))
    say(
        f"{found['images']} test images, network and critic after {found['epochs']} epochs. Alignment: "
        "cosine with the true direction. Explained: of the reward, by the critique. Differences: of "
        "log p, by the direction. Direction: nats gained over random signs."
    )
    next_command(f"dreal-tf evaluate {shlex.quote(str(critic))}")
