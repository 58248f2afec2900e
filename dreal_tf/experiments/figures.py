"""Figures of studies and searches. Each function gives a matplotlib figure and shows nothing."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from dreal_tf.experiments.comparison import summaries, summary
from dreal_tf.experiments.search import Choice
from dreal_tf.visualization.style import COLOURS, GREY, LIGHT, MARKERS, dress

COLUMNS = 3  # Searched fields beside each other.


def study_figure(what, rows):
    """The figure that belongs to an experiment.

    Args:
        what: str: "train", "directions" or "actor_only".
        rows: sequence of dicts, see `dreal_tf.experiments.directory.parse_rows`.
    Returns:
        `matplotlib.figure.Figure`.
    Example:
        >>> rows = [{"arm": "a", "seed": 0, "seconds": 1.0, "accuracy": 0.5}]
        >>> len(study_figure("train", rows).axes)
        1
    """
    if what == "actor_only":
        return actor_only_curves(rows)
    return alignment_bars(rows) if what == "directions" else accuracy_points(rows)


def actor_only_curves(rows, quantity="accuracy"):
    """A quantity of each arm over the steps of its actors: mean and 95 % interval over seeds.

    Args:
        rows: sequence of dicts with columns `<quantity>@trained`, `@start` and `@<step>`.
        quantity: str: "accuracy", "log_p" or "log_p_ablated".
    Returns:
        `matplotlib.figure.Figure`. Horizontal lines: the trained network, and the same with its
        attention re-initialised, means over all rows.
    Example:
        >>> row = {"arm": "a", "seed": 0, "seconds": 1.0, "accuracy@trained": 0.7}
        >>> figure = actor_only_curves([row | {"accuracy@start": 0.6, "accuracy@5": 0.65}])
        >>> figure.axes[0].get_lines()[0].get_xdata().tolist()
        [0, 5]
    """
    figure, axes = _figure(7.5, 4.5)
    over_seeds = summaries(rows)
    for number, (arm, quantities) in enumerate(over_seeds.groupby(level="arm", sort=False)):
        columns = {0: f"{quantity}@start"}
        for name in quantities.index.get_level_values("quantity"):
            moment = name.removeprefix(f"{quantity}@")
            if name != moment and moment.isdigit():
                columns[int(moment)] = name
        steps = sorted(columns)
        curve = quantities.loc[arm].loc[[columns[step] for step in steps]]
        colour, marker = _look(number)
        axes.plot(steps, curve["mean"], color=colour, marker=marker, label=arm, zorder=3)
        axes.fill_between(steps, curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)
    reinitialised = [r for r in rows if r[f"{quantity}@start"] != r[f"{quantity}@trained"]]
    for moment, chosen, style, label in (
        ("trained", rows, "--", "trained network"),
        ("start", reinitialised, ":", "attention re-initialised"),
    ):
        if chosen:
            level = float(np.mean([row[f"{quantity}@{moment}"] for row in chosen]))
            axes.axhline(level, color=GREY, linestyle=style, linewidth=1.2, label=label)
    axes.set_xlabel("training steps of the actors")
    axes.set_ylabel(_label(quantity))
    _legend(axes)
    _title(axes, over_seeds, "the band is the 95 % interval of the mean")
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
    over_seeds = summaries(rows)
    names = over_seeds.index.get_level_values("quantity").unique()
    modules = [n.removeprefix(f"{quantity}/") for n in names if n.startswith(f"{quantity}/")]
    arms = over_seeds.index.get_level_values("arm").unique()
    figure, axes = _figure(max(6.0, 2.5 + 0.35 * len(modules) * (len(arms) + 1)), 4.5)
    width = 0.8 / max(len(arms), 1)
    for number, arm in enumerate(arms):
        # nan, which draws nothing, for modules that the arm lacks.
        bars = over_seeds.loc[arm].reindex([f"{quantity}/{module}" for module in modules])
        positions = np.arange(len(modules)) + (number - (len(arms) - 1) / 2) * width
        axes.bar(positions, bars["mean"], width * 0.92, color=_look(number)[0], label=arm, zorder=2)
        if (bars["seeds"] > 1).any():
            halves = bars["high"] - bars["mean"]
            style = dict(fmt="none", ecolor="black", capsize=2.5, lw=1, zorder=3)
            axes.errorbar(positions, bars["mean"], halves, **style)
    axes.axhline(0, color="black", linewidth=0.8)
    turned = len(modules) > 8
    axes.set_xticks(
        range(len(modules)), modules, rotation=45 if turned else 0, ha="right" if turned else "center"
    )
    axes.set_ylabel(_label(quantity))
    _legend(axes)
    _title(axes, over_seeds, "whiskers: 95 % interval of the mean")
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
    arms = dict.fromkeys(row["arm"] for row in rows)
    figure, axes = _figure(6.5, 1.6 + 0.45 * len(arms))
    for number, arm in enumerate(arms):
        values = [row[quantity] for row in rows if row["arm"] == arm]
        colour, marker = _look(number)
        heights = [number + 0.16] * len(values)
        axes.scatter(values, heights, color=colour, marker=marker, alpha=0.6, s=26)
        point = summary(values)
        half = 0.0 if math.isnan(point.high) else point.high - point.mean
        style = dict(color="black", marker="|", ms=12, capsize=3)
        axes.errorbar(point.mean, number - 0.12, xerr=half, **style)
    axes.set_yticks(range(len(arms)), list(arms))
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_xlabel(_label(quantity))
    _title(axes, summaries(rows), "points: seeds; black: mean and its 95 % interval")
    return figure


def search_figure(result, space):
    """Scores in the order of the trials, and against each field that was searched.

    Args:
        result: `dreal_tf.experiments.run_search.SearchResult`.
        space: `dreal_tf.Space`.
    Returns:
        `matplotlib.figure.Figure`; the dashed line is the recipe without the method.
    """
    rows = math.ceil(len(space.fields) / COLUMNS)
    figure = Figure(figsize=(9.0, 3.2 + 2.3 * rows), layout="constrained")
    grid = figure.add_gridspec(rows + 1, COLUMNS, height_ratios=[1.3, *[1] * rows])
    trials = [trial for trial in result.trials if trial["score"] is not None]
    scores = [trial["score"] for trial in trials]
    order = figure.add_subplot(grid[0, :])
    numbers = [int(trial["trial"]) for trial in trials]
    _score_points(order, numbers, int(result.best["trial"]), result)
    best_so_far = np.maximum.accumulate if result.direction == "max" else np.minimum.accumulate
    order.plot(numbers, best_so_far(scores), color=COLOURS[2], drawstyle="steps-post")
    order.set_xlabel("trial")
    order.xaxis.set_major_locator(MaxNLocator(integer=True))
    order.set_title(
        f"{result.objective} of each trial; green: best so far; orange: the best; "
        "dashed: without the method",
        fontsize=9,
        loc="left",
    )
    for number, (path, values) in enumerate(space.fields.items()):
        axes = figure.add_subplot(grid[1 + number // COLUMNS, number % COLUMNS], sharey=order)
        values_tried = [trial["values"][path] for trial in trials]
        _field_axis(axes, path, values)
        positions = [_position(values, value) for value in values_tried]
        _score_points(axes, positions, _position(values, result.best["values"][path]), result)
    return figure


def _field_axis(axes, path, values):
    axes.set_xlabel(path)
    if isinstance(values, Choice):
        names = [_value_text(value) for value in values.values]
        turned = max(map(len, names)) * len(names) > 30
        axes.set_xticks(range(len(names)), names, rotation=60 if turned else 0, fontsize=8)
        axes.set_xlim(-0.5, len(names) - 0.5)
        return
    axes.tick_params(axis="x", labelsize=8)
    if values.log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(values.low / 1.2, values.high * 1.2)
    else:
        margin = 0.05 * (values.high - values.low)
        axes.set_xlim(values.low - margin, values.high + margin)


def _position(values, value):
    """On a field's axis: choices stand at whole numbers."""
    if isinstance(values, Choice):
        return [_value_text(known) for known in values.values].index(_value_text(value))
    return value


def _value_text(value):
    """JSON turns tuples into lists; both look alike here."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _score_points(axes, positions, best, result):
    dress(axes, LIGHT)
    scores = {t["trial"]: t["score"] for t in result.trials if t["score"] is not None}
    axes.scatter(positions, list(scores.values()), color=COLOURS[0], s=22)
    best_score = scores[result.best["trial"]]  # Not of its training to the end, which may be longer.
    axes.scatter([best], [best_score], color=COLOURS[1], s=60, marker="D", zorder=3)
    if result.baseline["score"] is not None:
        axes.axhline(result.baseline["score"], color=GREY, linestyle="--", linewidth=1.2)


def _figure(width, height):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, dress(figure.add_subplot(), LIGHT, grid="both")


def _look(number):
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def _legend(axes):
    """Beside the axes, where it hides nothing."""
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def _title(axes, over_seeds, note):
    fewest, most = over_seeds["seeds"].min(), over_seeds["seeds"].max()
    seeds = f"{most}" if fewest == most else f"{fewest} to {most}"
    axes.set_title(f"{seeds} {'seed' if most == 1 else 'seeds'}; {note}", fontsize=9, loc="left")


def _label(quantity):
    return {
        "accuracy": "accuracy on held-out images",
        "log_p": "log p of the label (nats)",
        "log_p_ablated": "log p of the label, attention ablated (nats)",
        "alignment": "alignment (cosine with the true direction)",
        "direction": "direction test: critic less random (nats)",
    }.get(quantity, quantity.replace("_", " "))
