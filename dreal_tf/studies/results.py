"""What studies have found so far, as the README has it: `python -m dreal_tf.studies.results`.

The rows lie under `recipes/studies/results/`, a file a study; they are checked in as they come.
"""

from dreal_tf.recipe_files import recipes_folder
from dreal_tf.studies.comparison import paired_difference
from dreal_tf.studies.files import load_study
from dreal_tf.studies.rows import parse_rows
from dreal_tf.studies.table import summary

HEADINGS = ("arm", "seeds", "test accuracy", "less the baseline's, points", "p", "training")


def kept_results(prefix="gain_"):
    """The rows that are checked in.

    Args:
        prefix: str, what the names of the studies begin with.
    Returns:
        Dict from the name of a study to its rows, see `dreal_tf.studies.rows`, in the order of names;
        studies without rows are left out.
    """
    folder = recipes_folder() / "studies" / "results"
    return {path.stem: parse_rows(path.read_text()) for path in sorted(folder.glob(f"{prefix}*.csv"))}


def results_lines(study, rows):
    """A study's rows as a table: each arm, and seed by seed what it gains over the one it is held to.

    Args:
        study: `Study` with `against`.
        rows: sequence of dicts, see `dreal_tf.studies.rows`.
    Returns:
        List of str, Markdown: accuracy in percent, mean and standard deviation over seeds; paired
        differences with their 95 % interval (Student's t) and the exact sign-flip test's p; the median
        of seconds of training.
    Example:
        >>> study = load_study("gain_cifar10_se", smoke=True).replace(arms={"a": {}, "b": {}}, against="a")
        >>> rows = [{"arm": arm, "seed": s, "seconds": 9.0, "accuracy": v + 0.001 * s,
        ...     "training_seconds": 5.0} for arm, v in (("a", 0.5), ("b", 0.75)) for s in (0, 1)]
        >>> for line in results_lines(study, rows)[2:]:
        ...     print(line)
        | `a` | 2 | 50.05 ± 0.07 |  |  | 5 s |
        | `b` | 2 | 75.05 ± 0.07 | +25.00 (+25.00 to +25.00) | 0.500 | 5 s |
    """
    held = {row["seed"]: row["accuracy"] for row in rows if row["arm"] == study.against}
    lines = [f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS)]
    for arm in study.arms:
        mine = [row for row in rows if row["arm"] == arm]
        if not mine:
            continue
        found = summary([100 * row["accuracy"] for row in mine])
        spread = "" if found.seeds == 1 else f" ± {found.deviation:.2f}"
        gained = ("", "") if arm == study.against else _gained(mine, held)
        seconds = sorted(row["training_seconds"] for row in mine)[len(mine) // 2]
        cells = f"`{arm}`", found.seeds, f"{found.mean:.2f}{spread}", *gained, f"{seconds:.0f} s"
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _gained(rows, held):
    """What the arm gains in points, and the p value; empty where nothing can be said."""
    pairs = [(100 * r["accuracy"], 100 * held[r["seed"]]) for r in rows if r["seed"] in held]
    if not pairs:
        return "", ""
    found = paired_difference(*zip(*pairs, strict=True))
    if found.seeds == 1:
        return f"{found.mean:+.2f}", ""
    return f"{found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})", f"{found.p_value:.3f}"


def main():
    """Prints the table of every study that has rows."""
    for name, rows in kept_results().items():
        print(f"`dreal-tf study {name} --out DIR --data-dir FOLDER`\n")
        print("\n".join(results_lines(load_study(name), rows)) + "\n")


if __name__ == "__main__":
    main()
