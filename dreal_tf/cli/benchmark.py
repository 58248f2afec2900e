"""The verb `benchmark`."""

import shlex
from typing import Annotated

from typer import Option

from dreal_tf import api
from dreal_tf.cli.options import Changes, Json, Plugins, RecipeName, Smoke, Strategy, plugin_options
from dreal_tf.cli.output import next_command, result, say, table_lines
from dreal_tf.cli.train import resolve


def benchmark(
    recipe: RecipeName,
    smoke: Smoke = False,
    changes: Changes = None,
    rounds: Annotated[int, Option(help="Number of measurements of each arm.")] = 15,
    data_dir: Annotated[
        str | None, Option(help="Folder of the data. [default: generated images]")
    ] = None,
    strategy: Strategy = "auto",
    memory: Annotated[bool, Option(help="Measure memory too, in separate processes.")] = True,
    processes: Annotated[
        int, Option(help="Processes that measure the memory of each arm, whose median it is.")
    ] = 1,
    as_json: Json = False,
    plugin: Plugins = None,
):
    """Measure the cost of the method against the plain network.

    The cost is time a step, its parts, and memory.
    """
    costs = api.benchmark(
        resolve(recipe, smoke, changes or []),
        rounds=rounds,
        data_dir=data_dir,
        strategy=strategy,
        memory=memory,
        processes=processes,
        say=say,
    )
    result(costs, as_json, benchmark_lines(costs))
    next_command(f"dreal-tf train {shlex.quote(recipe)}{plugin_options(plugin)}")


def benchmark_lines(costs):
    """The results as tables and sentences.

    Args:
        costs: `dreal_tf.analysis.benchmark.Benchmark`.
    Returns:
        List of str.
    """
    height, width, channels = costs["image_shape"]
    device = costs["gpu"] or f"{len(costs['devices'])} × {costs['devices'][0]}"
    lines = [
        f"{costs['recipe']}: {costs['batch_size']} images of {height}×{width}×{channels} a step, "
        f"{costs['precision']}, XLA {'on' if costs['xla'] else 'off'}, {device}; critic "
        f"{costs['critic']}, {costs['modules']} modules, rewards of {costs['reward_fraction']:g} of a "
        "batch.",
        "",
        *_step_table(costs),
        "",
    ]
    if "parts" in costs:
        lines += [*_part_table(costs), ""]
    if "separate_passes" in costs:
        lines.append(_separate_passes(costs))
    given, exchanged = costs["input"], {name: n / 2**20 for name, n in costs["exchanged"].items()}
    plain = exchanged["network"] + exchanged["statistics"]
    return [
        *lines,
        f"The input pipeline alone gives {given['images_per_second']:.0f} images/s, "
        f"{given['times_step']:.1f} times as many as the plain step takes.",
        f"Replicas sum {plain:.2f} MiB a step without the method, "
        f"{plain + exchanged['critic'] + exchanged['trust']:.2f} MiB with it.",
        machine_line(costs),
    ]


def machine_line(costs):
    """The machine, in a sentence.

    Example:
        >>> versions = {"TensorFlow": "2.21.0", "Keras": "3.15.1"}
        >>> costs = {"processor": "Xeon", "cores": 2, "threads": 2, "gpu": None, "versions": versions}
        >>> machine_line(costs)
        'Xeon, 2 cores, 2 threads; TensorFlow 2.21.0, Keras 3.15.1.'
    """
    versions = ", ".join(f"{name} {version}" for name, version in costs["versions"].items())
    gpu = f", {costs['gpu']}" if costs["gpu"] else ""
    return f"{costs['processor']}, {costs['cores']} cores, {costs['threads']} threads{gpu}; {versions}."


def _step_table(costs):
    rows = []
    for arm, seconds in costs["seconds"].items():
        row = [arm, f"{1e3 * seconds:.1f} ms", f"{costs['images_per_second'][arm]:.1f}"]
        with_method = arm in costs["ratio"]
        ratio = "-"
        if with_method:
            low, high = costs["ratio_interval"][arm]
            ratio = f"{costs['ratio'][arm]:.3f} ({low:.3f} to {high:.3f})"
        row.append(ratio)
        if "memory" in costs:
            row.append(f"{costs['memory'][arm]:.0f} MiB")
            row.append(f"{costs['memory_ratio'][arm]:.2f}" if with_method else "-")
        rows.append(row)
    headings = ["arm", "a step", "images/s", "ratio to plain (95 %)"]
    return table_lines(headings + ["memory", "ratio"] * ("memory" in costs), rows)


def _part_table(costs):
    parts = costs["parts"]
    rows = [
        [
            part.replace("_", " "),
            *(f"{1e3 * of_estimator[part]:.1f} ms" for of_estimator in parts.values()),
        ]
        for part in next(iter(parts.values()))
    ]
    return table_lines(["part of a step", *parts], rows)


def _separate_passes(costs):
    separate = costs["separate_passes"]
    low, high = separate["share_interval"]
    return (
        f"A separate pass for each of the {costs['modules']} modules would take "
        f"{1e3 * separate['seconds']:.0f} ms; the exact counterfactual pass takes "
        f"{separate['share']:.2f} of that ({low:.2f} to {high:.2f})."
    )
