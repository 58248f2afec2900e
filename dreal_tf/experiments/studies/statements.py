"""What the paper's supplement says of trained networks, held against those that a study has left.

    python -m dreal_tf.experiments.studies.statements DIR --data-dir FOLDER

DIR is the folder of a study of gain. It measures every network of its arms `baseline` and
`comparative`, keeps what it finds in DIR/networks.csv, and prints one line a statement.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from dreal_tf.errors import InputError
from dreal_tf.experiments.studies.arms import BASELINE, OURS
from dreal_tf.experiments.studies.comparison import paired_difference
from dreal_tf.experiments.studies.rows import StudyDirectory
from dreal_tf.experiments.studies.table import plain_lines
from dreal_tf.recipe import whole_path
from dreal_tf.visualization.training_curves import depth


class Statement(NamedTuple):
    """A statement, and a number for each seed that is above 0 where it holds.

    Attributes:
        said: str, what the supplement says.
        measured: str, what the number is.
        values: list of float, a seed each; empty where nothing was measured.
    """

    said: str
    measured: str
    values: list


def statements(rows, gains):
    """The supplement's statements, each as numbers seed by seed.

    Args:
        rows: sequence of dicts, what `dreal_tf.experiments.studies.measured_networks.measured_run` gives of the arms
            `baseline` and `comparative`.
        gains: sequence of dicts, the rows of the study of gain, for what it says of rewards and stages.
    Returns:
        List of `Statement`.
    Example:
        >>> rows = [{"arm": arm, "seed": 0, "seconds": 1.0, "energy": energy}
        ...     for arm, energy in (("baseline", 0.5), ("comparative", 0.75))]
        >>> [s.values for s in statements(rows, []) if s.said.startswith("Grad-CAM is more correct")]
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
            "Q follows R, common rise taken out",
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
            "share of the map in the label's quarter of four images, less the baseline's",
            over_baseline("energy"),
        ),
        Statement(
            "Grad-CAM is more complete",
            "share of that quarter where the map is high, less the baseline's",
            over_baseline("coverage"),
        ),
    ]


def _of_rewards(gains):
    """Rewards rise with accuracy, method or not: what they end at is held to the baseline's."""
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

    found = [
        Statement(
            f"{arm.removesuffix('_alone')} alone beats none",
            "test accuracy less the baseline's, points",
            less(arm, BASELINE),
        )
        for arm in arms
    ]
    shallow, deep = arms[0], arms[-1]
    found.append(
        Statement(
            "deeper stages gain more",
            f"test accuracy, `{deep}` less `{shallow}`, points",
            less(deep, shallow),
        )
    )
    found.append(
        Statement(
            "all stages together are best",
            f"test accuracy, all less `{deep}`, points",
            less(OURS, deep),
        )
    )
    return found


def statement_lines(found):
    """Statements and what became of them, as Markdown.

    A statement is confirmed where the 95 % interval of its number lies above 0, not confirmed where it
    lies below, and undecided where it holds 0 or there is no interval.

    Args:
        found: sequence of `Statement`.
    Returns:
        List of str.
    Example:
        >>> print(statement_lines([Statement("R rises", "last less first", [0.5, 0.75])])[2])
        | R rises | last less first | +0.625 (-0.963 to +2.213) | 2 | undecided |
    """
    cells = [["the supplement says", "measured", "mean (95 % interval)", "seeds", ""]]
    for said, measured, values in found:
        if not values:
            cells.append([said, measured, "not measured", "0", "undecided"])
            continue
        mean = paired_difference(values, [0.0] * len(values))
        number = f"{mean.mean:+.3f}"
        if mean.seeds > 1:
            number += f" ({mean.low:+.3f} to {mean.high:+.3f})"
        verdict = "confirmed" if mean.low > 0 else "not confirmed" if mean.high < 0 else "undecided"
        cells.append([said, measured, number, str(mean.seeds), verdict])
    return plain_lines(cells)


def main():
    """Measures, and prints one line a statement."""
    from dreal_tf.experiments.studies.measured_networks import mean_courses, measure_networks
    from dreal_tf.visualization.training_curves import critic_curves

    parser = argparse.ArgumentParser(description="The supplement's statements, on a study's networks.")
    parser.add_argument("folder", type=Path, help="What `dreal-tf study ... --out` wrote.")
    parser.add_argument("--data-dir", help="Folder of the data. [default: the recipes']")
    parser.add_argument("--figure", type=Path, help="Draws Q and R over training, means over seeds.")
    given = parser.parse_args()
    folder = StudyDirectory(given.folder)
    place = None if given.data_dir is None else whole_path(given.data_dir)
    try:
        rows = measure_networks(folder, (BASELINE, OURS), place, lambda s: print(s, file=sys.stderr))
    except InputError as error:
        sys.exit(f"Error: {error}")
    if given.figure is not None:
        critic_curves(*mean_courses(folder, OURS)).savefig(given.figure, dpi=160, facecolor="white")
    print("\n".join(statement_lines(statements(rows, folder.read_rows()))))


if __name__ == "__main__":
    main()
