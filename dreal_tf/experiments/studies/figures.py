"""Figures of a study's rows. Each function gives a matplotlib figure and shows nothing."""

import math

import numpy as np
from matplotlib.figure import Figure

from dreal_tf.experiments.studies.table import summaries, summary
from dreal_tf.visualization.style import COLOURS, GREY, LIGHT, MARKERS, dress


def study_figure(what, rows):
    """The figure that belongs to an experiment.

    Args:
        what: str: "train", "directions" or "climb".
        rows: sequence of dicts, see `dreal_tf.experiments.studies.rows`.
    Returns:
        `matplotlib.figure.Figure`.
    Example:
        >>> rows = [{"arm": "a", "seed": 0, "seconds": 1.0, "accuracy": 0.5}]
        >>> len(study_figure("train", rows).axes)
        1
    """
    if what == "climb":
        return climb_curves(rows)
    return alignment_bars(rows) if what == "directions" else accuracy_points(rows)


def climb_curves(rows, quantity="accuracy"):
    """How far each arm climbs: mean and 95 % interval over seeds, step by step.

    Args:
        rows: sequence of dicts with columns `<quantity>@trained`, `@start` and `@<step>`.
        quantity: str: "accuracy", "log_p" or "log_p_ablated".
    Returns:
        `matplotlib.figure.Figure`. Horizontal lines: the trained network, and its attention drawn
        anew, means over all rows.
    Example:
        >>> row = {"arm": "a", "seed": 0, "seconds": 1.0, "accuracy@trained": 0.7}
        >>> figure = climb_curves([row | {"accuracy@start": 0.6, "accuracy@5": 0.65}])
        >>> figure.axes[0].get_lines()[0].get_xdata().tolist()
        [0, 5]
    """
    figure, axes = _figure(7.5, 4.5)
    found = summaries(rows)
    for number, (arm, quantities) in enumerate(found.items()):
        course = {0: quantities[f"{quantity}@start"]}
        for name, value in quantities.items():
            moment = name.removeprefix(f"{quantity}@")
            if name != moment and moment.isdigit():
                course[int(moment)] = value
        steps = np.array(sorted(course))
        line = [course[step] for step in steps]
        colour, marker = _look(number)
        axes.plot(steps, [s.mean for s in line], color=colour, marker=marker, label=arm, zorder=3)
        low, high = ([getattr(s, end) for s in line] for end in ("low", "high"))
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    drawn_anew = [r for r in rows if r[f"{quantity}@start"] != r[f"{quantity}@trained"]]
    for moment, chosen, style, label in (
        ("trained", rows, "--", "trained network"),
        ("start", drawn_anew, ":", "attention drawn anew"),
    ):
        if chosen:
            level = float(np.mean([row[f"{quantity}@{moment}"] for row in chosen]))
            axes.axhline(level, color=GREY, linestyle=style, linewidth=1.2, label=label)
    axes.set_xlabel("training steps of the actors")
    axes.set_ylabel(_said(quantity))
    _legend(axes)
    _title(axes, found, "the band is the 95 % interval of the mean")
    return figure


def alignment_bars(rows, quantity="alignment"):
    """A quantity of each module: a bar for each arm, with the 95 % interval over seeds.

    Args:
        rows: sequence of dicts with columns `<quantity>/<module>`.
        quantity: str, such as "alignment".
    Returns:
        `matplotlib.figure.Figure`.
    Example:
        >>> row = {"arm": "a", "seed": 0, "seconds": 1.0, "alignment/conv2_1/se": 0.5}
        >>> [text.get_text() for text in alignment_bars([row]).axes[0].get_xticklabels()]
        ['conv2_1/se']
    """
    found = summaries(rows)
    names = dict.fromkeys(name for quantities in found.values() for name in quantities)
    modules = [n.removeprefix(f"{quantity}/") for n in names if n.startswith(f"{quantity}/")]
    figure, axes = _figure(max(6.0, 2.5 + 0.35 * len(modules) * (len(found) + 1)), 4.5)
    width = 0.8 / max(len(found), 1)
    for number, (arm, quantities) in enumerate(found.items()):
        there = [p for p, module in enumerate(modules) if f"{quantity}/{module}" in quantities]
        found_here = [quantities[f"{quantity}/{modules[position]}"] for position in there]
        places = np.array(there) + (number - (len(found) - 1) / 2) * width
        colour, _ = _look(number)
        means = [value.mean for value in found_here]
        axes.bar(places, means, width * 0.92, color=colour, label=arm, zorder=2)
        if not any(math.isnan(value.high) for value in found_here):  # One seed says nothing of it.
            halves = [value.high - value.mean for value in found_here]
            axes.errorbar(
                places, means, halves, fmt="none", ecolor="black", capsize=2.5, lw=1, zorder=3
            )
    axes.axhline(0, color="black", linewidth=0.8)
    turned = len(modules) > 8
    axes.set_xticks(
        range(len(modules)), modules, rotation=45 if turned else 0, ha="right" if turned else "center"
    )
    axes.set_ylabel(_said(quantity))
    _legend(axes)
    _title(axes, found, "whiskers: 95 % interval of the mean")
    return figure


def accuracy_points(rows, quantity="accuracy"):
    """A quantity of each arm: every seed as a point, mean and 95 % interval beside.

    Args:
        rows: sequence of dicts with the column.
        quantity: str.
    Returns:
        `matplotlib.figure.Figure`.
    Example:
        >>> rows = [{"arm": a, "seed": 0, "seconds": 1.0, "accuracy": 0.5} for a in ("plain", "paper")]
        >>> [text.get_text() for text in accuracy_points(rows).axes[0].get_yticklabels()]
        ['plain', 'paper']
    """
    arms = {arm: [r[quantity] for r in rows if r["arm"] == arm] for arm in summaries(rows)}
    figure, axes = _figure(6.5, 1.6 + 0.45 * len(arms))
    for number, values in enumerate(arms.values()):
        colour, marker = _look(number)
        axes.scatter(
            values, [number + 0.16] * len(values), color=colour, marker=marker, alpha=0.6, s=26
        )
        found = summary(values)
        half = 0.0 if math.isnan(found.high) else found.high - found.mean
        axes.errorbar(found.mean, number - 0.12, xerr=half, color="black", marker="|", ms=12, capsize=3)
    axes.set_yticks(range(len(arms)), list(arms))
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_xlabel(_said(quantity))
    _title(axes, summaries(rows), "points: seeds; black: mean and its 95 % interval")
    return figure


def gain_intervals(found, arms):
    """What arms gain over the baseline, study by study: mean and 95 % interval.

    Args:
        found: dict by study of dicts by arm of `dreal_tf.experiments.studies.comparison.Difference`, in points.
        arms: sequence of str, those to draw, from above.
    Returns:
        `matplotlib.figure.Figure`, studies beside each other.
    Example:
        >>> gained = {"gain_a": {"comparative": paired_difference([2.0, 3.0], [1.0, 1.0])}}
        >>> gain_intervals(gained, ["comparative"]).axes[0].get_title("left")
        'a'
    """
    arms = [arm for arm in arms if any(arm in of for of in found.values())]
    figure = Figure(figsize=(1.6 + 2.1 * len(found), 0.9 + 0.32 * len(arms)), layout="constrained")
    row = figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (study, of_arm) in zip(row, found.items(), strict=True):
        dress(axes, LIGHT, grid="both")
        axes.axvline(0, color=GREY, linewidth=1)
        for number, arm in enumerate(arms):
            if arm not in of_arm:
                continue
            gained = of_arm[arm]
            colour, marker = _look(number)
            half = 0.0 if math.isnan(gained.high) else gained.high - gained.mean
            axes.errorbar(gained.mean, number, xerr=half, color=colour, marker=marker, ms=5, capsize=3)
        axes.set_title(study.removeprefix("gain_").replace("_", " "), fontsize=9, loc="left")
    row[0].set_yticks(range(len(arms)), [arm.replace("_", " ") for arm in arms])
    row[0].set_ylim(len(arms) - 0.5, -0.5)
    figure.supxlabel(
        "test accuracy less the baseline's (points; 95 % interval over seeds)", fontsize=8.5
    )
    return figure


def _figure(width, height):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, dress(figure.add_subplot(), LIGHT, grid="both")


def _look(number):
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def _legend(axes):
    """Beside the axes, where it hides nothing."""
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def _title(axes, found, note):
    seeds = sorted({s.seeds for quantities in found.values() for s in quantities.values()})
    counted = f"{seeds[0]}" if seeds[0] == seeds[-1] else f"{seeds[0]} to {seeds[-1]}"
    axes.set_title(f"{counted} {'seed' if seeds == [1] else 'seeds'}; {note}", fontsize=9, loc="left")


def _said(quantity):
    return {
        "accuracy": "accuracy on held-out images",
        "log_p": "log p of the label (nats)",
        "log_p_ablated": "log p of the label, attention ablated (nats)",
        "alignment": "alignment (cosine with the true direction)",
        "direction": "direction test: advised less random (nats)",
    }.get(quantity, quantity.replace("_", " "))
