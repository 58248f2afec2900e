"""What each module of a network is worth, by both baselines, with intervals."""

import itertools

import numpy as np

from dreal_tf.visualization.style import LIGHT, dress, new_figure, styled

# What a module loses when it is ablated, and so what its value is that of.
SAID = {"mean": "mean: its selectivity", "static": "static: its dependence on the image"}
MARKERS = {"mean": "o", "static": "D"}
SHIFT = 0.17  # Of the two baselines, up and down from the middle of a module's row (rows).


def module_values(modules, stages, values, drops, style=LIGHT):
    """A row for each module, in depth order: its value in nats, and the accuracy lost without it.

    Args:
        modules: sequence of str.
        stages: sequence of str, the stage of each.
        values: dict by baseline, "mean" and "static", of float arrays (modules, 3): value, and the
            low and high end of its interval (nats).
        drops: dict by baseline of float arrays (modules,): accuracy lost (fractions).
        style: `Style`.
    Returns:
        `matplotlib.figure.Figure`.
    Example:
        >>> values = {"mean": [[0.2, 0.1, 0.3]], "static": [[0.0, -0.1, 0.1]]}
        >>> drops = {"mean": [0.02], "static": [0.0]}
        >>> figure = module_values(["conv2_1/se"], ["conv2"], values, drops)
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['conv2_1/se']
    """
    rows = np.arange(len(modules))
    handles = []
    with styled(style):
        figure = new_figure(8.2, 1.15 + 0.36 * len(modules))
        nats, points = figure.subplots(1, 2, sharey=True, width_ratios=(2.2, 1))
        for axes in (nats, points):
            dress(axes, style, grid="x")
            _bands(axes, stages, style)
            axes.axvline(0, color=style.muted, linewidth=1.0, zorder=1)
        for sign, baseline, colour in zip((-1, 1), SAID, style.series[:2], strict=True):
            places, (middle, low, high) = rows + sign * SHIFT, np.asarray(values[baseline]).T
            look = {
                "color": colour,
                "marker": MARKERS[baseline],
                "markersize": 4.5,
                "linestyle": "none",
            }
            ends = np.maximum([middle - low, high - middle], 0)
            nats.errorbar(middle, places, xerr=ends, elinewidth=1.4, capsize=2.5, **look)
            lost = 100 * np.asarray(drops[baseline])
            points.hlines(places, 0, lost, color=colour, linewidth=1.4)
            handles += points.plot(lost, places, label=SAID[baseline], **look)
        nats.set_yticks(rows, modules)
        nats.set_ylim(len(modules) - 0.5, -0.5)
        nats.tick_params(axis="y", length=0)
        points.tick_params(axis="y", length=0)
        nats.set_xlabel("value: log p of the label gained (nats), 95 % interval")
        points.set_xlabel("accuracy gained (points)")
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _bands(axes, stages, style):
    """Every other stage on a faint ground."""
    end = -0.5
    for number, (_, members) in enumerate(itertools.groupby(stages)):
        begin, end = end, end + len(list(members))
        if number % 2:
            axes.axhspan(begin, end, color=style.grid, alpha=0.45, linewidth=0, zorder=0)
