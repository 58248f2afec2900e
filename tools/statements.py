"""The statements of the paper's supplement about trained networks, tested on the networks of a study.

    python tools/statements.py DIR --data-dir FOLDER

DIR is the folder of a study of gain. The command measures every network of its arms `baseline` and
`comparative`, keeps the measurements in DIR/networks.csv, and prints one line a statement.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dreal_tf.data.splits import sample_examples
from dreal_tf.errors import InputError
from dreal_tf.experiments.arms import BASELINE, OURS
from dreal_tf.experiments.comparison import difference_text, seed_difference
from dreal_tf.experiments.directory import StudyDirectory, parse_rows, rows_text
from dreal_tf.modules import stage_name
from dreal_tf.storage import write_whole
from dreal_tf.training.callbacks import read_history
from dreal_tf.training.recipe import whole_path
from dreal_tf.training.run_directory import RunDirectory
from dreal_tf.training.trained_run import best_network, run_data
from dreal_tf.visualization.grad_cam import grid_pictures, pointing_game
from dreal_tf.visualization.module_figures import channel_actions
from dreal_tf.visualization.training_curves import (
    critic_curves,
    depth,
    history_curves,
    stage_correlations,
)

IMAGES, PICTURES = 2000, 500  # Test images; pictures composed of four of them.


class Statement(NamedTuple):
    """A statement, and a number for each seed that is above 0 if it holds.

    Attributes:
        text: str, the statement.
        measured: str, the meaning of the number.
        values: list of float, a seed each; empty if nothing was measured.
    """

    text: str
    measured: str
    values: list


def statements(rows, gains):
    """The supplement's statements, each as numbers seed by seed.

    Args:
        rows: sequence of dicts, what `measured_run` gives for the arms `baseline` and `comparative`.
        gains: sequence of dicts, the rows of the study of gain, for the statements on rewards and stages.
    Returns:
        List of `Statement`.
    Example:
        >>> rows = [{"arm": arm, "seed": 0, "seconds": 1.0, "energy": energy}
        ...     for arm, energy in (("baseline", 0.5), ("comparative", 0.75))]
        >>> [s.values for s in statements(rows, []) if s.text.startswith("Grad-CAM is more correct")]
        [[0.25]]
    """
    ours = {row["seed"]: row for row in rows if row["arm"] == OURS}
    plain = {row["seed"]: row for row in rows if row["arm"] == BASELINE}
    names = {name for row in ours.values() for name in row if name.startswith("gap/")}
    stages = sorted((name.removeprefix("gap/") for name in names), key=depth)
    first, last = (stages[0], stages[-1]) if stages else ("first", "last")

    def alone(name):
        return [row[name] for row in ours.values() if name in row]

    def within(name, other):
        return [row[name] - row[other] for row in ours.values() if name in row and other in row]

    def over_baseline(name):
        pairs = [(row, plain[seed]) for seed, row in ours.items() if seed in plain]
        return [row[name] - other[name] for row, other in pairs if name in row and name in other]

    return [
        Statement("Q follows R", "correlation over epochs, mean over modules", alone("correlation")),
        Statement(
            "Q follows R, without their common rise",
            "correlation of their changes from epoch to epoch, mean over modules",
            alone("of_changes"),
        ),
        Statement(
            "more closely in deeper stages",
            f"mean distance of Q from R, `{first}` less `{last}`",
            within(f"gap/{first}", f"gap/{last}"),
        ),
        Statement("Q rises", "last epoch less the first, mean over modules", alone("critique_rise")),
        Statement("R rises", "last epoch less the first, mean over modules", alone("reward_rise")),
        *_of_rewards(gains),
        *_of_stages(gains),
        Statement(
            "the last stage's attention becomes more diverse",
            f"spread over channels within an image, `{last}`, less the baseline's",
            over_baseline(f"across_channels/{last}"),
        ),
        Statement(
            "the same, between images",
            f"spread over images of a channel, `{last}`, less the baseline's",
            over_baseline(f"between_images/{last}"),
        ),
        Statement(
            "Grad-CAM is more correct",
            "fraction of the map in the label's quarter of four images, less the baseline's",
            over_baseline("energy"),
        ),
        Statement(
            "Grad-CAM is more complete",
            "fraction of that quarter where the map is high, less the baseline's",
            over_baseline("coverage"),
        ),
    ]


def _of_rewards(gains):
    """Rewards rise with accuracy, with and without the method: their ends are compared with the baseline's."""
    ends = {}
    for row in gains:
        rewards = [value for name, value in row.items() if name.startswith("reward/")]
        if rewards:
            ends[row["arm"], row["seed"]] = sum(rewards) / len(rewards)
    seeds = [seed for arm, seed in ends if arm == OURS and (BASELINE, seed) in ends]
    return [
        Statement(
            "R ends higher than without the method (ours, not the supplement's)",
            "of test images, less the baseline's, mean over modules",
            [ends[OURS, seed] - ends[BASELINE, seed] for seed in seeds],
        )
    ]


def _of_stages(gains):
    """The supplement's Table 1: each stage alone, from the rows of the study, in points."""
    points = {(row["arm"], row["seed"]): 100 * row["accuracy"] for row in gains}
    arms = sorted({arm for arm, _ in points if arm.endswith("_alone")})
    if not arms:
        return []

    def less(arm, other):
        seeds = [seed for single, seed in points if single == arm and (other, seed) in points]
        return [points[arm, seed] - points[other, seed] for seed in seeds]

    of_stages = [
        Statement(
            f"{arm.removesuffix('_alone')} alone beats none",
            "test accuracy less the baseline's, points",
            less(arm, BASELINE),
        )
        for arm in arms
    ]
    shallow, deep = arms[0], arms[-1]
    of_stages.append(
        Statement(
            "deeper stages gain more",
            f"test accuracy, `{deep}` less `{shallow}`, points",
            less(deep, shallow),
        )
    )
    of_stages.append(
        Statement(
            "all stages together are best",
            f"test accuracy, all less `{deep}`, points",
            less(OURS, deep),
        )
    )
    return of_stages


def statement_lines(tested):
    """Statements and the outcome of their tests, as Markdown.

    A statement is confirmed if the 95 % interval of its number lies above 0, not confirmed if it lies
    below, and undecided if it holds 0 or there is no interval.

    Args:
        tested: sequence of `Statement`.
    Returns:
        List of str.
    Example:
        >>> print(statement_lines([Statement("R rises", "last less first", [0.5, 0.75])])[2])
        | R rises | last less first | +0.625 (-0.963 to +2.213) | 2 | undecided |
    """
    cells = [["the supplement says", "measured", "mean (95 % interval)", "seeds", ""]]
    for text, measured, values in tested:
        if not values:
            cells.append([text, measured, "not measured", "0", "undecided"])
            continue
        number = seed_difference(values)
        outcome = "confirmed" if number.low > 0 else "not confirmed" if number.high < 0 else "undecided"
        cells.append([text, measured, difference_text(number, digits=3), str(number.seeds), outcome])
    headings, *lines = [f"| {' | '.join(row)} |" for row in cells]
    return [headings, "|" + "---|" * len(cells[0]), *lines]


def measured_run(run, recipe, data, images, pictures):
    """All measurements of a trained network that the statements need.

    Args:
        run: `RunDirectory` of a finished training.
        recipe: `dreal_tf.Recipe`, the run's.
        data: `dreal_tf.data.splits.Splits`.
        images: float array (n, height, width, channels), test images as the network takes them.
        pictures: `dreal_tf.visualization.grad_cam.Composed`, the same for all networks.
    Returns:
        Dict of float: `energy` and `coverage` (means over pictures, see `Pointing`),
        `across_channels/<stage>` and `between_images/<stage>` (means over the stage's modules, see
        `ChannelActions`), and what `followed` gives for a run with the method.
    """
    network = best_network(run, recipe, data)
    pointing = pointing_game(network, pictures)
    row = {"energy": float(np.nanmean(pointing.energy)), "coverage": float(pointing.coverage.mean())}
    channels = channel_actions(network, images)
    for name in ("across_channels", "between_images"):
        row |= _by_stage(name, {module: getattr(spread, name) for module, spread in channels.items()})
    return row | followed(read_history(run.history))


def followed(history):
    """The history of critiques and rewards of validation images in numbers.

    Args:
        history: sequence of dicts, see `dreal_tf.training.callbacks.read_history`.
    Returns:
        Dict of float: `correlation` and `of_changes` (Pearson's r over epochs, means over modules),
        `gap/<stage>` (mean over epochs of |Q - R|), `critique_rise` and `reward_rise` (last epoch less
        the first, means over modules), and `critique_dip` and `reward_dip` (the largest fall from one
        epoch to the next, at least 0). Empty for a run without a critic.
    Example:
        >>> history = [{"val_critique/conv2_1/se": q, "val_reward/conv2_1/se": r}
        ...     for q, r in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0))]
        >>> {name: round(value, 3) for name, value in followed(history).items()}["gap/conv2"]
        0.25
    """
    critiques, rewards = (history_curves(history, f"val_{q}") for q in ("critique", "reward"))
    modules = [module for module in critiques if module in rewards]
    if not modules:
        return {}
    row = {}
    of_modules = [stage_correlations({m: critiques[m]}, {m: rewards[m]}) for m in modules]
    for name in ("correlation", "of_changes"):
        values = [v[name] for stages in of_modules for v in stages.values() if v[name] is not None]
        row |= {name: float(np.mean(values))} if values else {}
    gaps = {m: float(np.nanmean(np.abs(critiques[m] - rewards[m]))) for m in modules}
    row |= _by_stage("gap", gaps)
    for name, curves in (("critique", critiques), ("reward", rewards)):
        curve = np.mean([curves[module] for module in modules], axis=0)
        row[f"{name}_rise"] = float(curve[-1] - curve[0])
        row[f"{name}_dip"] = float(max(0.0, -np.diff(curve).min(initial=0.0)))
    return row


def mean_curves(folder, arm):
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
        _mean([history_curves(history, f"val_{quantity}") for history in histories])
        for quantity in ("critique", "reward")
    )
    return np.arange(1, 1 + len(histories[0])), critiques, rewards


def _mean(of_runs):
    return {module: np.mean([run[module] for run in of_runs], axis=0) for module in of_runs[0]}


def _by_stage(name, of_modules):
    """Means over the modules of each stage."""
    stages = dict.fromkeys(stage_name(module) for module in of_modules)
    means = {s: np.mean([v for m, v in of_modules.items() if stage_name(m) == s]) for s in stages}
    return {f"{name}/{stage}": float(mean) for stage, mean in means.items()}


def measure_networks(folder, arms, data_dir=None, say=print):
    """Measures the networks of a study that are not measured yet.

    Args:
        folder: `StudyDirectory` of a study that trains, with its runs; its file `networks.csv` keeps the
            measurements.
        arms: sequence of str.
        data_dir: str, path or None. Folder of the data; None for the recipe's own.
        say: callable that takes a line of progress.
    Returns:
        List of dicts, see `dreal_tf.experiments.directory.parse_rows`.
    Raises:
        InputError: if the folder holds no run of these arms.
    """
    kept = folder.path / "networks.csv"
    rows = parse_rows(kept.read_text(encoding="utf-8")) if kept.is_file() else []
    done = {(row["arm"], row["seed"]) for row in rows}
    ended = [(row["seed"], row["arm"]) for row in folder.read_rows() if row["arm"] in arms]
    trained = [of for of in sorted(ended) if _run(folder, *of).network.is_file()]
    if not trained and not rows:
        raise InputError(
            f"Expected a folder of `dreal-tf study` with runs of {', '.join(arms)}. Received: "
            f"{str(folder.path)!r}, which holds none. Run the study there first."
        )
    seed_of_data = None
    for seed, arm in trained:
        if (arm, seed) in done:
            continue
        started = time.perf_counter()
        run = _run(folder, seed, arm)
        recipe = run.read_recipe().reading(data_dir)
        if seed != seed_of_data:  # The arms of a seed share their data, and so their pictures.
            data, seed_of_data = run_data(run, recipe), seed
            images, labels = sample_examples(data, IMAGES)
            pictures = grid_pictures(images, labels, PICTURES)
        row = measured_run(run, recipe, data, images, pictures)
        seconds = round(time.perf_counter() - started, 1)
        rows.append({"arm": arm, "seed": seed, "seconds": seconds} | row)
        write_whole(kept, rows_text(rows))
        say(f"{arm}, seed {seed}: {seconds:.0f} s")
    return rows


def _run(folder, seed, arm):
    return RunDirectory(folder.runs / f"{arm}_seed{seed}")


def main():
    """Measures, and prints one line a statement."""
    parser = argparse.ArgumentParser(description="The supplement's statements, on a study's networks.")
    parser.add_argument("folder", type=Path, help="Folder of `dreal-tf study ... --out`.")
    parser.add_argument("--data-dir", help="Folder of the data. [default: the recipes']")
    parser.add_argument("--figure", type=Path, help="Draws Q and R over training, means over seeds.")
    given = parser.parse_args()
    folder = StudyDirectory(given.folder)
    data_dir = None if given.data_dir is None else whole_path(given.data_dir)
    try:
        rows = measure_networks(folder, (BASELINE, OURS), data_dir, lambda s: print(s, file=sys.stderr))
    except InputError as error:
        sys.exit(f"Error: {error}")
    if given.figure is not None:
        critic_curves(*mean_curves(folder, OURS)).savefig(given.figure, dpi=160, facecolor="white")
    print("\n".join(statement_lines(statements(rows, folder.read_rows()))))


if __name__ == "__main__":
    main()
