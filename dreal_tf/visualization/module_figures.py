"""Figures of all modules side by side: their values, and their attention to channels."""

import itertools
import math
from typing import NamedTuple

import numpy as np

from dreal_tf.errors import InputError
from dreal_tf.visualization.attention_maps import recorded_actions
from dreal_tf.visualization.style import LIGHT, dress, new_figure, styled

# An ablation takes this property from a module: the value is that of the property.
PROPERTIES = {"mean": "mean: its selectivity", "static": "static: its dependence on the image"}
MARKERS = {"mean": "o", "static": "D"}
SHIFT = 0.17  # Up and down from the middle of a module's row, for the two reference actions (rows).


LOG_P = "log p of the label gained (nats)"


def module_values(modules, stages, values, drops=None, style=LIGHT, quantity=LOG_P):
    """A row for each module, in depth order: its value, and the accuracy lost without it.

    Args:
        modules: sequence of str.
        stages: sequence of str, the stage of each.
        values: dict by reference action, "mean" and "static", of float arrays (modules, 3): value, and the
            low and high end of its interval.
        drops: dict by reference action of float arrays (modules,): accuracy lost (fractions); or None, where
            there is no accuracy.
        style: `Style`.
        quantity: str, the values and their unit.
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
        if drops is None:
            panels = [figure.subplots()]
        else:
            panels = figure.subplots(1, 2, sharey=True, width_ratios=(2.2, 1))
        for axes in panels:
            axes.tick_params(axis="y", length=0)
            dress(axes, style, grid="x")
            _bands(axes, stages, style)
            axes.axvline(0, color=style.muted, linewidth=1.0, zorder=1)
        for sign, baseline, colour in zip((-1, 1), PROPERTIES, style.series[:2], strict=True):
            heights, (middle, low, high) = rows + sign * SHIFT, np.asarray(values[baseline]).T
            look = dict(color=colour, marker=MARKERS[baseline], markersize=4.5, linestyle="none")
            ends = np.maximum([middle - low, high - middle], 0)
            points, *_ = panels[0].errorbar(
                middle, heights, xerr=ends, elinewidth=1.4, capsize=2.5, **look
            )
            points.set_label(PROPERTIES[baseline])
            handles.append(points)
            if drops is not None:
                lost = 100 * np.asarray(drops[baseline])
                panels[1].hlines(heights, 0, lost, color=colour, linewidth=1.4)
                panels[1].plot(lost, heights, **look)
                panels[1].set_xlabel("accuracy gained (points)")
        panels[0].set_yticks(rows, modules)
        panels[0].set_ylim(len(modules) - 0.5, -0.5)
        panels[0].set_xlabel(f"value: {quantity}, 95 % interval")
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _bands(axes, stages, style):
    """Every other stage on a faint ground."""
    end = -0.5
    for number, (_, members) in enumerate(itertools.groupby(stages)):
        begin, end = end, end + len(list(members))
        if number % 2:
            axes.axhspan(begin, end, color=style.grid, alpha=0.45, linewidth=0, zorder=0)


class ChannelActions(NamedTuple):
    """The channel actions of a module over some images.

    Attributes:
        mean, spread: float64 arrays (channels,): mean and standard deviation over images.
        across_channels: float. The difference between channels within an image: the standard
            deviation over channels, a mean over images.
        between_images: float. The difference between images: the standard deviation over images, a
            mean over channels.
    """

    mean: np.ndarray
    spread: np.ndarray
    across_channels: float
    between_images: float


def channel_actions(network, images, batch_size=64):
    """The channel attention of every module that has one, as its layer applies it.

    A layer that blends its gate in, see `AttentionActor`, multiplies a channel by 1 + b (A - 1).

    Args:
        network: `keras.Model` of any kind with attention actors in it.
        images: float array (n, height, width, channels), as the network takes them.
        batch_size: int >= 1. Images at a time.
    Returns:
        Dict of `ChannelActions` by module, in depth order; empty where there is no channel action.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> actions = channel_actions(network, np.random.rand(5, 8, 8, 1))
        >>> {module: len(of_module.mean) for module, of_module in actions.items()}
        {'conv2_1/se': 16, 'conv3_1/se': 32, 'conv4_1/se': 64}
    """
    recorded = recorded_actions(network, images, ("channel",), batch_size, applied=True)
    return {module: channel_statistics(action) for module, (_, action) in recorded.items()}


def channel_statistics(actions):
    """The statistics of channel actions.

    Args:
        actions: float array (images, ..., channels), such as (images, 1, 1, channels).
    Returns:
        `ChannelActions`.
    Example:
        >>> statistics = channel_statistics([[0.0, 1.0], [0.5, 1.0]])
        >>> statistics.mean.tolist(), statistics.across_channels, statistics.between_images
        ([0.25, 1.0], 0.375, 0.125)
    """
    actions = np.asarray(actions, np.float64)
    actions = actions.reshape(len(actions), -1)
    spread = actions.std(axis=0)
    across = float(actions.std(axis=1).mean())
    return ChannelActions(actions.mean(axis=0), spread, across, float(spread.mean()))


# Inches.
PANEL = (2.35, 0.8)
LEFT, RIGHT, TOP, BOTTOM = 0.6, 0.15, 0.45, 0.6
BESIDE, BETWEEN, BELOW = 0.45, 0.3, 0.75  # Gaps: between blocks, between a block's two, under them.
NOTE = "channel  (line: mean over images; band: one standard deviation over images on either side)"


def channel_attention(ours, baseline=None, names=("ours", "baseline"), style=LIGHT, columns=4):
    """Mean and spread of every channel's attention, a panel a block; the baseline above ours.

    All panels have the same vertical scale. Over each stands the diversity of its actions: the standard
    deviation across channels within an image, and between images.

    Args:
        ours, baseline: dicts by module, in depth order, of `ChannelActions`. No baseline: ours alone. A
            module that only one of them has stands alone.
        names: pair of str, their names in the figure.
        style: `dreal_tf.visualization.style.Style`.
        columns: int >= 1. Blocks beside each other.
    Returns:
        `matplotlib.figure.Figure`.
    Raises:
        InputError: if there is no module.
    Example:
        >>> se = channel_statistics(np.random.rand(20, 16))
        >>> figure = channel_attention({"conv2_1/se": se, "conv3_1/se": se}, {"conv2_1/se": se})
        >>> [axes.get_label() for axes in figure.axes]
        ['baseline conv2_1/se', 'ours conv2_1/se', 'ours conv3_1/se']
    """
    arms = [(names[1], baseline or {}, style.baseline), (names[0], ours, style.ours)]
    arms = [arm for arm in arms if arm[1]]
    if not arms:
        raise InputError(
            "Expected the channel actions of at least one module. Received: none. Draw another figure "
            "of networks whose attention is not over channels."
        )
    modules = list(dict.fromkeys(module for _, actions, _ in arms for module in actions))
    columns = min(columns, len(modules))
    limits = _limits([of_module for _, actions, _ in arms for of_module in actions.values()])
    with styled(style):
        figure, position_of = _figure(len(modules), len(arms), columns)
        for number, module in enumerate(modules):
            present = [arm for arm in arms if module in arm[1]]
            for position, arm in enumerate(present):
                # A module without a baseline stands below, like ours everywhere.
                row = len(arms) - len(present) + position
                axes = figure.add_axes(position_of(number, row), label=f"{arm[0]} {module}")
                _panel(axes, arm[1][module], arm[2], limits, style)
                axes.tick_params(labelbottom=position == len(present) - 1)
                if position == 0:
                    axes.set_title(module, fontweight="bold", pad=13)
                if number % columns == 0:
                    axes.set_ylabel(arm[0], color=arm[2], fontweight="bold")
        figure.text(0.5, 0.02, NOTE, ha="center", va="bottom", fontsize=7.5, color=style.muted)
    return figure


def _figure(blocks, arms, columns):
    """An empty figure, and a function to the position of the axes of a block's arm."""
    rows = math.ceil(blocks / columns)
    block = arms * PANEL[1] + (arms - 1) * BETWEEN
    width = max(LEFT + columns * PANEL[0] + (columns - 1) * BESIDE + RIGHT, 5.5)
    height = TOP + rows * block + (rows - 1) * BELOW + BOTTOM

    def position_of(number, row):
        left = LEFT + number % columns * (PANEL[0] + BESIDE)
        top = TOP + number // columns * (block + BELOW) + row * (PANEL[1] + BETWEEN)
        bottom = height - top - PANEL[1]
        return left / width, bottom / height, PANEL[0] / width, PANEL[1] / height

    return new_figure(width, height, layout=None), position_of


def _panel(axes, actions, colour, limits, style):
    dress(axes, style)
    channels = np.arange(len(actions.mean))
    low, high = actions.mean - actions.spread, actions.mean + actions.spread
    axes.fill_between(channels, low, high, color=colour, alpha=0.25, linewidth=0)
    width = 1.3 * min(1.0, (128 / len(channels)) ** 0.5)  # Many channels would fill the panel.
    axes.plot(channels, actions.mean, color=colour, linewidth=width)
    axes.set_xlim(0, max(len(channels) - 1, 1))
    axes.set_ylim(*limits)
    axes.locator_params(axis="y", nbins=4)
    axes.locator_params(axis="x", nbins=4, integer=True)
    note = f"spread: channels {actions.across_channels:.3f}, images {actions.between_images:.3f}"
    axes.annotate(
        note, (0, 1), (0, 3), "axes fraction", "offset points", fontsize=6.5, color=style.muted
    )


def _limits(modules):
    low = min(float((actions.mean - actions.spread).min()) for actions in modules)
    high = max(float((actions.mean + actions.spread).max()) for actions in modules)
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin
