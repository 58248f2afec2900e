"""The value of each module of a network, by both reference actions, with intervals."""

import itertools

import numpy as np

from dreal_tf.visualization.style import LIGHT, dress, new_figure, styled

# An ablation takes this property from a module: the value is that of the property.
PROPERTIES = {"mean": "mean: its selectivity", "static": "static: its dependence on the image"}
MARKERS = {"mean": "o", "static": "D"}
SHIFT = 0.17  # Up and down from the middle of a module's row, for the two reference actions (rows).


def module_values(modules, stages, values, drops, style=LIGHT):
    """A row for each module, in depth order: its value in nats, and the accuracy lost without it.

    Args:
        modules: sequence of str.
        stages: sequence of str, the stage of each.
        values: dict by reference action, "mean" and "static", of float arrays (modules, 3): value, and the
            low and high end of its interval (nats).
        drops: dict by reference action of float arrays (modules,): accuracy lost (fractions).
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
        for sign, baseline, colour in zip((-1, 1), PROPERTIES, style.series[:2], strict=True):
            heights, (middle, low, high) = rows + sign * SHIFT, np.asarray(values[baseline]).T
            look = dict(color=colour, marker=MARKERS[baseline], markersize=4.5, linestyle="none")
            ends = np.maximum([middle - low, high - middle], 0)
            nats.errorbar(middle, heights, xerr=ends, elinewidth=1.4, capsize=2.5, **look)
            lost = 100 * np.asarray(drops[baseline])
            points.hlines(heights, 0, lost, color=colour, linewidth=1.4)
            handles += points.plot(lost, heights, label=PROPERTIES[baseline], **look)
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
