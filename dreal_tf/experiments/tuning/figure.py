"""The figure of a search."""

import math

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from dreal_tf.experiments.tuning.space import Choice
from dreal_tf.visualization.style import COLOURS, GREY, LIGHT, dress

COLUMNS = 3  # Fields beside each other.


def search_figure(found, space):
    """Scores in the order of the trials, and against each field that was searched.

    Args:
        found: dict, see `dreal_tf.experiments.tuning.results.results_of`.
        space: `dreal_tf.experiments.tuning.Space`.
    Returns:
        `matplotlib.figure.Figure`; the dashed line is the recipe without the method.
    """
    rows = math.ceil(len(space.fields) / COLUMNS)
    figure = Figure(figsize=(9.0, 3.2 + 2.3 * rows), layout="constrained")
    grid = figure.add_gridspec(rows + 1, COLUMNS, height_ratios=[1.3, *[1] * rows])
    trials = [trial for trial in found["trials"] if trial["score"] is not None]
    best = next(trial for trial in trials if trial["trial"] == found["best"]["trial"])
    order = figure.add_subplot(grid[0, :])
    _points(order, [int(trial["trial"]) for trial in trials], trials, found, best, int(best["trial"]))
    order.plot(*_best_so_far(trials, found["direction"]), color=COLOURS[2], drawstyle="steps-post")
    order.set_xlabel("trial")
    order.xaxis.set_major_locator(MaxNLocator(integer=True))
    order.set_title(
        f"{found['objective']} of each trial; green: best so far; orange: the best; "
        "dashed: without the method",
        fontsize=9,
        loc="left",
    )
    for number, (path, values) in enumerate(space.fields.items()):
        axes = figure.add_subplot(grid[1 + number // COLUMNS, number % COLUMNS], sharey=order)
        _field(axes, path, values, trials, found, best)
    return figure


def _field(axes, path, values, trials, found, best):
    if isinstance(values, Choice):
        known = [_said(value) for value in values.values]
        places = [known.index(_said(trial["values"][path])) for trial in trials]
        turned = max(map(len, known)) * len(known) > 30
        axes.set_xticks(range(len(known)), known, rotation=60 if turned else 0, fontsize=8)
        axes.set_xlim(-0.5, len(known) - 0.5)
        chosen = known.index(_said(best["values"][path]))
    else:
        places = [trial["values"][path] for trial in trials]
        chosen = best["values"][path]
        if values.log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlim(values.low / 1.2, values.high * 1.2)
        else:
            margin = 0.05 * (values.high - values.low)
            axes.set_xlim(values.low - margin, values.high + margin)
        axes.tick_params(axis="x", labelsize=8)
    _points(axes, places, trials, found, best, chosen)
    axes.set_xlabel(path)


def _points(axes, places, trials, found, best, chosen):
    dress(axes, LIGHT)
    axes.scatter(places, [trial["score"] for trial in trials], color=COLOURS[0], s=22)
    axes.scatter([chosen], [best["score"]], color=COLOURS[1], s=60, marker="D", zorder=3)
    if found["baseline"]["score"] is not None:
        axes.axhline(found["baseline"]["score"], color=GREY, linestyle="--", linewidth=1.2)


def _best_so_far(trials, direction):
    better = max if direction == "max" else min
    numbers, scores = [], []
    for trial in trials:
        numbers.append(int(trial["trial"]))
        scores.append(better([*scores[-1:], trial["score"]]))
    return numbers, scores


def _said(value):
    """As text; JSON has made lists of tuples."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)
