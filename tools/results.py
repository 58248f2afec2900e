"""The results of the studies, as README and docs show them.

    python tools/results.py            # prints the tables
    python tools/results.py --write    # writes them, and the figure, into README and docs

Rows are checked in as they come: those of a study under `recipes/studies/results/<study>.csv`, the
measurements of its networks by tools/statements.py under `<study>.networks.csv`.
"""

import argparse
import math
import re
from pathlib import Path

from matplotlib.figure import Figure
from statements import statement_lines, statements

from dreal_tf.errors import unknown_name
from dreal_tf.experiments.arms import OURS
from dreal_tf.experiments.comparison import (
    comparisons,
    difference_text,
    p_text,
    results_table,
    seed_difference,
    summary,
)
from dreal_tf.experiments.directory import parse_rows
from dreal_tf.experiments.study import bundled_studies, load_study, title_of
from dreal_tf.storage import write_whole
from dreal_tf.training.recipe_files import recipes_folder
from dreal_tf.visualization.style import COLOURS, GREY, LIGHT, MARKERS, dress

GAIN, SETTINGS, HEADROOM = "gain_", "settings_", "headroom_"  # Beginnings of the studies' names.
PAGES = ("README.md", "docs/evidence.md")
FIGURE = "docs/figures/gain.png"
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
# Arms of the overview, in its order, in a few words; see `comparison_arms`.
OVERVIEW = {
    "no_attention": "the network without its attention",
    "longer": "half as many epochs again",
    "attention_rate_2": "attention learns twice as fast",
    "attention_rate_10": "attention learns ten times as fast",
    "comparative": "**the method**",
    "direct": "the true direction instead of a critic's, without trust",
    "paper": "the critic as one reads it in the paper, without trust, at weight 0.1",
    "paper_pushed": "the same by the exact estimator, at the method's weight",
    "shuffled": "a critic trained on other images, with trust",
    "shuffled_pushed": "the same, without trust",
}
# The large differences of these two would make all others look small.
SHOWN_ARMS = tuple(arm for arm in OVERVIEW if arm not in ("longer", "paper_pushed"))


def kept_rows(name):
    """The rows that are checked in for a study, or for "<study>.networks"; empty if there are none."""
    path = recipes_folder() / "studies" / "results" / f"{name}.csv"
    return parse_rows(path.read_text(encoding="utf-8")) if path.is_file() else []


def kept_studies(beginning):
    """Dict from name to rows of the studies that have some and whose names begin so."""
    names = [name for name in bundled_studies() if name.startswith(beginning)]
    return {name: rows for name in names if (rows := kept_rows(name))}


def tables():
    """Every table, by its name on the pages.

    Returns:
        Dict of lists of str, Markdown: `overview`, `controls`, `headroom` and `not_run`; each study of
        gain and of settings that has rows; `actor_grad_...` of each whose rows have `actor_grad_cosine`,
        and `statements_...` of each whose networks were measured.
    """
    of_gain = kept_studies(GAIN)
    lines = {
        "overview": overview_lines(gains(of_gain)),
        "controls": controls_lines(of_gain),
        "headroom": headroom_lines(kept_studies(HEADROOM)),
        "not_run": not_run_lines(
            name for name in bundled_studies() if name.startswith(GAIN) and name not in of_gain
        ),
    }
    for name, rows in (of_gain | kept_studies(SETTINGS)).items():
        lines[name] = results_table(load_study(name), rows).markdown()
        if any("actor_grad_cosine" in row for row in rows):
            lines[f"actor_grad_{name}"] = actor_grad_lines(load_study(name), rows)
        if networks := kept_rows(f"{name}.networks"):
            lines[f"statements_{name}"] = statement_lines(statements(networks, rows))
    return lines


def filled(text, lines):
    """A page with its tables brought up to date.

    Args:
        text: str, Markdown with blocks from `<!-- table: NAME -->` to `<!-- end -->`.
        lines: dict of lists of str, see `tables`.
    Returns:
        str.
    Raises:
        InputError: if there is no table of that name.
    Example:
        >>> print(filled("<!-- table: a -->\\nold\\n<!-- end -->", {"a": ["| new |"]}))
        <!-- table: a -->
        | new |
        <!-- end -->
    """

    def replaced(block):
        if block[2] not in lines:
            raise unknown_name("table", block[2], lines)
        return block[1] + "\n".join(lines[block[2]]) + "\n" + block[4]

    return BLOCK.sub(replaced, text)


def plain_lines(cells):
    """A Markdown table for pages, where nobody reads its source.

    Args:
        cells: list of rows of str, the first holds the headings.
    Returns:
        List of str.
    Example:
        >>> plain_lines([["arm", "mean"], ["a", "0.5"]])
        ['| arm | mean |', '|---|---|', '| a | 0.5 |']
    """
    headings, *lines = [f"| {' | '.join(row)} |" for row in cells]
    return [headings, "|" + "---|" * len(cells[0]), *lines]


def accuracy_differences(rows, against):
    """The accuracy of every other arm minus that of one arm, seed by seed, in points.

    Args:
        rows: sequence of dicts, see `dreal_tf.experiments.directory.parse_rows`.
        against: str, an arm.
    Returns:
        Dict by arm of `SeedDifference`-like rows.
    Example:
        >>> rows = [{"arm": arm, "seed": 0, "accuracy": value}
        ...     for arm, value in (("baseline", 0.5), ("comparative", 0.75))]
        >>> accuracy_differences(rows, "baseline")["comparative"].mean
        25.0
    """
    points = [{"arm": r["arm"], "seed": r["seed"], "accuracy": 100 * r["accuracy"]} for r in rows]
    return {gain.Index[0]: gain for gain in comparisons(points, against).itertuples()}


def gains(studies):
    """Gains over the baseline: by study what `accuracy_differences` gives.

    Args:
        studies: dict from the name of a study of gain to its rows.
    """
    return {
        name: accuracy_differences(rows, load_study(name).against) for name, rows in studies.items()
    }


def controls_lines(studies):
    """The gain of the method over each of the other arms, seed by seed.

    Args:
        studies: dict from the name of a study of gain to its rows.
    Returns:
        List of str, Markdown; points of test accuracy with their 95 % interval and the p of the exact
        sign-flip test.
    Example:
        >>> rows = [{"arm": arm, "seed": seed, "seconds": 1.0, "accuracy": value}
        ...     for arm, values in (("direct", (0.5, 0.5)), ("comparative", (0.75, 0.75)))
        ...     for seed, value in enumerate(values)]
        >>> controls_lines({"gain_cifar10_se": rows})[2]
        '| `direct` | +25.00 (+25.00 to +25.00), p = 0.500 |'
    """
    cells = [[f"`{OURS}` less", *(f"`{name}`" for name in studies)]]
    for control in OVERVIEW:
        differences = [accuracy_differences(rows, control).get(OURS) for rows in studies.values()]
        if control != OURS and any(differences):
            texts = [
                difference_text(d) + (f", p = {p}" if (p := p_text(d)) else "") for d in differences
            ]
            cells.append([f"`{control}`", *texts])
    return plain_lines(cells)


def overview_lines(of_studies):
    """All studies of gain in one table: the difference of each arm from the baseline.

    Args:
        of_studies: dict, see `gains`.
    Returns:
        List of str, Markdown; points of test accuracy with their 95 % interval.
    Example:
        >>> gain = {"comparative": seed_difference([1.0, 2.0])}
        >>> for line in overview_lines({"gain_cifar10_se": gain}):
        ...     print(line)
        | arm | what it is | `gain_cifar10_se`, 2 seeds |
        |---|---|---|
        | `comparative` | **the method** | +1.50 (-4.85 to +7.85) |
    """
    headings = ["arm", "what it is"]
    for name, of_arm in of_studies.items():
        seeds = max((gain.seeds for gain in of_arm.values()), default=0)
        headings.append(f"`{name}`, {seeds} seeds")
    cells = [headings]
    for arm, words in OVERVIEW.items():
        texts = [difference_text(of_arm.get(arm)) for of_arm in of_studies.values()]
        if any(texts):
            cells.append([f"`{arm}`", words, *texts])
    return plain_lines(cells)


def actor_grad_lines(study, rows):
    """The gradient of the actor loss in the last epoch, arm by arm.

    Args:
        study: `dreal_tf.Study`.
        rows: sequence of dicts, see `dreal_tf.experiments.directory.parse_rows`.
    Returns:
        List of str, Markdown: means over seeds with their 95 % intervals of `actor_grad_cosine`,
        `actor_grad_ratio` and the mean trust of the modules.
    Example:
        >>> study = load_study("gain_cifar10_se", smoke=True)
        >>> row = {"arm": "direct", "seed": 0, "actor_grad_cosine": 1.0, "actor_grad_ratio": 8.0, "val_trust/a": 0.5}
        >>> actor_grad_lines(study, [row])[2]
        '| `direct` | 1 | 1.00 | 8.00 | 0.50 |'
    """
    cells = [["arm", "seeds", "`actor_grad_cosine`", "`actor_grad_ratio`", "trust"]]
    for arm in study.arms:
        of_arm = [row for row in rows if row["arm"] == arm and "actor_grad_cosine" in row]
        if not of_arm:
            continue
        trusts = [[v for n, v in row.items() if n.startswith("val_trust/")] for row in of_arm]
        columns = [[row[f"actor_grad_{name}"] for row in of_arm] for name in ("cosine", "ratio")]
        columns.append([sum(trust) / len(trust) for trust in trusts])
        line = [f"`{arm}`", str(len(of_arm))]
        for of_seeds in map(summary, columns):
            interval = "" if of_seeds.seeds == 1 else f" ({of_seeds.low:.2f} to {of_seeds.high:.2f})"
            line.append(f"{of_seeds.mean:.2f}{interval}")
        cells.append(line)
    return plain_lines(cells)


def headroom_lines(studies):
    """The gain of trained attention that learns on from the true direction.

    Args:
        studies: dict from the name of a study of headroom to its rows.
    Returns:
        List of str, Markdown: points of test accuracy and nats of cross entropy over the trained
        network, means over networks and their 95 % intervals.
    Example:
        >>> row = {"arm": "seen", "seed": 0, "seconds": 1.0, "accuracy@start": 0.5, "log_p@start": -1.0}
        >>> row |= {"accuracy@500": 0.75, "log_p@500": -0.5}
        >>> headroom_lines({"headroom_cifar10_se": [row]})[2]
        '| `headroom_cifar10_se` | `seen` | 1 | +25.00 | -0.500 |'
    """
    over = ("accuracy, points over the start", "cross entropy, nats over the start")
    cells = [["study", "learns from", "networks", *over]]
    for name, rows in studies.items():
        study = load_study(name)
        for arm in study.arms:
            of_arm = [row for row in rows if row["arm"] == arm]
            if not of_arm:
                continue
            end = study.options_of(arm).steps
            line = [f"`{name}`", f"`{arm}`", str(len(of_arm))]
            for quantity, unit, digits in (("accuracy", 100, 2), ("log_p", -1, 3)):
                rises = [row[f"{quantity}@{end}"] - row[f"{quantity}@start"] for row in of_arm]
                line.append(difference_text(seed_difference([unit * r for r in rises]), digits=digits))
            cells.append(line)
    return plain_lines(cells)


def not_run_lines(names):
    """Studies that nobody has run yet.

    Args:
        names: iterable of str, of bundled studies.
    Returns:
        List of str, Markdown.
    Example:
        >>> not_run_lines(["gain_cifar10_srm"])[2][:66]
        '| `gain_cifar10_srm` | 11 × 8 | 10,000 images of CIFAR-10 at 16×16'
    """
    cells = [["study", "arms × seeds", "trained on"]]
    for name in names:
        study, images = load_study(name), title_of(name).partition(": ")[2]
        cells.append([f"`{name}`", f"{len(study.arms)} × {len(study.seeds)}", images.rstrip(".")])
    return plain_lines(cells)


def gain_intervals(of_studies, arms):
    """Gains over the baseline, study by study: mean and 95 % interval.

    Args:
        of_studies: dict, see `gains`.
        arms: sequence of str, those to draw, from above.
    Returns:
        `matplotlib.figure.Figure`, studies beside each other.
    Example:
        >>> gain_intervals({"gain_a": {"direct": seed_difference([1.0, 2.0])}}, ["direct"]).axes[0].get_title("left")
        'a'
    """
    arms = [arm for arm in arms if any(arm in of_arm for of_arm in of_studies.values())]
    figure = Figure(figsize=(1.6 + 2.1 * len(of_studies), 0.9 + 0.32 * len(arms)), layout="constrained")
    row = figure.subplots(1, len(of_studies), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (study, of_arm) in zip(row, of_studies.items(), strict=True):
        dress(axes, LIGHT, grid="both")
        axes.axvline(0, color=GREY, linewidth=1)
        for number, arm in enumerate(arms):
            if arm not in of_arm:
                continue
            gain = of_arm[arm]
            style = dict(color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)])
            half = 0.0 if math.isnan(gain.high) else gain.high - gain.mean
            axes.errorbar(gain.mean, number, xerr=half, ms=5, capsize=3, **style)
        axes.set_title(study.removeprefix("gain_").replace("_", " "), fontsize=9, loc="left")
    row[0].set_yticks(range(len(arms)), [arm.replace("_", " ") for arm in arms])
    row[0].set_ylim(len(arms) - 0.5, -0.5)
    figure.supxlabel(
        "test accuracy less the baseline's (points; 95 % interval over seeds)", fontsize=8.5
    )
    return figure


def main():
    """Prints every table, or writes the pages of this checkout."""
    parser = argparse.ArgumentParser(description="The results of the studies.")
    parser.add_argument("--write", action="store_true", help="Into README and docs, with the figure.")
    lines = tables()
    if not parser.parse_args().write:
        for name, table in lines.items():
            print(f"{name}\n\n" + "\n".join(table) + "\n")
        return
    top = recipes_folder().parent
    for page in map(Path, PAGES):
        write_whole(top / page, filled((top / page).read_text(encoding="utf-8"), lines))
    if studies := kept_studies(GAIN):
        gain_intervals(gains(studies), SHOWN_ARMS).savefig(top / FIGURE, dpi=160)


if __name__ == "__main__":
    main()
