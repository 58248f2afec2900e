"""The verb `study`."""

import shlex
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from dreal_tf import api
from dreal_tf.cli.options import DataDir, Json, Plugins, plugin_options
from dreal_tf.cli.output import next_command, result, say
from dreal_tf.errors import InputError, received


def study(
    study: Annotated[str, Argument(help="Bundled name or .py study.")],
    out: Annotated[Path, Option(help="Folder of the study; existing rows are kept.")],
    smoke: Annotated[bool, Option("--smoke", help="Shrink the study to seconds a run.")] = False,
    data_dir: DataDir = None,
    networks: Annotated[
        Path | None,
        Option(help="Folder of trained networks, seed<N>, to reuse. [default: train them into --out]"),
    ] = None,
    arms: Annotated[str | None, Option(help="Arms to run, separated by commas. [default: all]")] = None,
    seeds: Annotated[
        str | None, Option(help="Seeds to run, separated by commas. [default: the study's]")
    ] = None,
    known: Annotated[
        Path | None, Option("--rows", help="CSV file with rows of the same study, made elsewhere.")
    ] = None,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Run the arms of a study with several seeds.

    Repeat the command to continue from the rows in --out.
    """
    chosen = [arm.strip() for arm in arms.split(",")] if arms is not None else None
    numbers = seeds_of(seeds) if seeds is not None else None
    results = api.study(
        study,
        out=out,
        smoke=smoke,
        data_dir=data_dir,
        networks=networks,
        arms=chosen,
        seeds=numbers,
        rows=known,
        say=say,
    )
    lines = [line for table in results.tables() for line in (*table.terminal(), "")]
    result(results.to_json(), as_json, lines)
    if results.study.against is None:
        say("For differences with intervals, name the arm to compare with in the study: against='ARM'.")
    say(f"Every quantity (table.md), rows and figure: {out}")
    folder = f" --data-dir {shlex.quote(str(data_dir))}" if data_dir else ""
    shrunk = " --smoke" if smoke else ""
    next_seed = max(row["seed"] for row in results.rows) + 1
    command = f"dreal-tf study {shlex.quote(study)} --out {shlex.quote(str(out))}"
    next_command(f"{command}{shrunk}{folder} --seeds {next_seed}{plugin_options(plugin)}")


def seeds_of(text):
    """The seeds in the value of `--seeds`.

    Args:
        text: str, such as "0,1".
    Returns:
        List of int.
    Raises:
        InputError: if it is not a list of integers from 0.
    Example:
        >>> seeds_of("0, 2")
        [0, 2]
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= 10 for part in parts):
        raise InputError(
            f"Expected seeds from 0, separated by commas. Received: --seeds {received(text)}. Write for "
            "example --seeds 0,1,2."
        )
    return [int(part) for part in parts]
