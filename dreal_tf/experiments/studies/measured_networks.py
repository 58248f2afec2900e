"""What the networks that a study trained are like: where they look, how their attention spreads."""

import time

import numpy as np

from dreal_tf.data import draw_examples
from dreal_tf.errors import InputError
from dreal_tf.experiments.studies.rows import parse_rows, rows_text
from dreal_tf.modules import stage_name
from dreal_tf.training.callbacks.history_file import read_history
from dreal_tf.training.run_directory import RunDirectory, write_whole
from dreal_tf.training.trained_run import best_network, run_data
from dreal_tf.visualization.channel_actions import channel_actions
from dreal_tf.visualization.composed import grid_pictures, pointing_game
from dreal_tf.visualization.training_curves import history_curves as module_courses
from dreal_tf.visualization.training_curves import stage_correlations

IMAGES, PICTURES = 2000, 500  # Test images; pictures composed of four of them.


def measured_run(run, recipe, data, images, pictures):
    """All that the statements need to know of a trained network.

    Args:
        run: `RunDirectory` of a finished training.
        recipe: `dreal_tf.Recipe`, the run's.
        data: `dreal_tf.data.Splits`.
        images: float array (n, height, width, channels), test images as the network takes them.
        pictures: `dreal_tf.visualization.composed.Composed`, the same for all networks.
    Returns:
        Dict of float: `energy` and `coverage` (means over pictures, see `Pointing`),
        `across_channels/<stage>` and `between_images/<stage>` (means over the stage's modules, see
        `ChannelActions`), and what `followed` gives of a run with the method.
    """
    network = best_network(run, recipe, data)
    pointing = pointing_game(network, pictures)
    row = {"energy": float(np.nanmean(pointing.energy)), "coverage": float(pointing.coverage.mean())}
    channels = channel_actions(network, images)
    for name in ("across_channels", "between_images"):
        row |= _by_stage(name, {module: getattr(found, name) for module, found in channels.items()})
    return row | followed(read_history(run.history))


def followed(history):
    """How critiques and rewards of validation images went over a training.

    Args:
        history: sequence of dicts, see `dreal_tf.training.callbacks.history_file.read_history`.
    Returns:
        Dict of float: `correlation` and `of_changes` (Pearson's r over epochs, means over modules),
        `gap/<stage>` (mean over epochs of |Q - R|), `critique_rise` and `reward_rise` (last epoch less
        the first, means over modules), and `critique_dip` and `reward_dip` (the largest fall from one
        epoch to the next, at least 0). Empty of a run without a critic.
    Example:
        >>> history = [{"val_critique/conv2_1/se": q, "val_reward/conv2_1/se": r}
        ...     for q, r in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0))]
        >>> {name: round(value, 3) for name, value in followed(history).items()}["gap/conv2"]
        0.25
    """
    critiques, rewards = (module_courses(history, f"val_{q}") for q in ("critique", "reward"))
    modules = [module for module in critiques if module in rewards]
    if not modules:
        return {}
    row = {}
    alone = [
        stage_correlations({module: critiques[module]}, {module: rewards[module]}) for module in modules
    ]
    for name in ("correlation", "of_changes"):
        found = [value[name] for of in alone for value in of.values() if value[name] is not None]
        row |= {name: float(np.mean(found))} if found else {}
    gaps = {m: float(np.nanmean(np.abs(critiques[m] - rewards[m]))) for m in modules}
    row |= _by_stage("gap", gaps)
    for name, courses in (("critique", critiques), ("reward", rewards)):
        course = np.mean([courses[module] for module in modules], axis=0)
        row[f"{name}_rise"] = float(course[-1] - course[0])
        row[f"{name}_dip"] = float(max(0.0, -np.diff(course).min(initial=0.0)))
    return row


def mean_courses(folder, arm):
    """Critiques and rewards of validation images over training, means over the seeds of an arm.

    Args:
        folder: `StudyDirectory` of a study that trains, with its runs.
        arm: str, with the method.
    Returns:
        Int array (epochs,), counted from 1, and two dicts from module to float array (epochs,).
    """
    seeds = sorted(row["seed"] for row in folder.read_rows() if row["arm"] == arm)
    histories = [read_history(_run(folder, seed, arm).history) for seed in seeds]
    critiques, rewards = (
        _mean([module_courses(history, f"val_{quantity}") for history in histories])
        for quantity in ("critique", "reward")
    )
    return np.arange(1, 1 + len(histories[0])), critiques, rewards


def _mean(of_runs):
    return {module: np.mean([found[module] for found in of_runs], axis=0) for module in of_runs[0]}


def _by_stage(name, of_modules):
    """Means over the modules of each stage."""
    stages = dict.fromkeys(stage_name(module) for module in of_modules)
    means = {s: np.mean([v for m, v in of_modules.items() if stage_name(m) == s]) for s in stages}
    return {f"{name}/{stage}": float(mean) for stage, mean in means.items()}


def measure_networks(folder, arms, data_dir=None, say=print):
    """Measures the networks of a study that are not measured yet.

    Args:
        folder: `StudyDirectory` of a study that trains, with its runs; what is found is kept in its
            file `networks.csv`.
        arms: sequence of str.
        data_dir: str, path or None. Folder of the data; None for the recipe's own.
        say: callable that takes a line of progress.
    Returns:
        List of dicts, rows as of `dreal_tf.experiments.studies.rows`.
    Raises:
        InputError: if the folder holds no run of these arms.
    """
    kept = folder.path / "networks.csv"
    rows = parse_rows(kept.read_text(encoding="utf-8")) if kept.is_file() else []
    done = {(row["arm"], row["seed"]) for row in rows}
    ended = [(row["seed"], row["arm"]) for row in folder.read_rows() if row["arm"] in arms]
    there = [of for of in sorted(ended) if _run(folder, *of).network.is_file()]
    if not there and not rows:
        raise InputError(
            f"Expected a folder of `dreal-tf study` with runs of {', '.join(arms)}. Received: "
            f"{str(folder.path)!r}, which holds none. Run the study there first."
        )
    drawn_for = None
    for seed, arm in there:
        if (arm, seed) in done:
            continue
        started = time.perf_counter()
        run = _run(folder, seed, arm)
        recipe = run.read_recipe().reading(data_dir)
        if seed != drawn_for:  # The arms of a seed share their data, and so what they are shown.
            data, drawn_for = run_data(run, recipe), seed
            images, labels = draw_examples(data.test, data.sizes["test"], IMAGES)
            pictures = grid_pictures(images, labels, PICTURES)
        row = measured_run(run, recipe, data, images, pictures)
        seconds = round(time.perf_counter() - started, 1)
        rows.append({"arm": arm, "seed": seed, "seconds": seconds} | row)
        write_whole(kept, rows_text(rows))
        say(f"{arm}, seed {seed}: {seconds:.0f} s")
    return rows


def _run(folder, seed, arm):
    return RunDirectory(folder.runs / f"{arm}_seed{seed}")
