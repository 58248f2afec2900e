"""Curves over training: loss and accuracy, critiques and rewards."""

import math

import numpy as np
from matplotlib.ticker import MaxNLocator

from dreal_tf.modules import stage_name
from dreal_tf.visualization.style import LIGHT, MARKERS, dress, new_figure, styled

FEW = 20  # Epochs up to which each has a marker.


def learning_curves(ours, baseline=None, style=LIGHT):
    """Loss and accuracy after each epoch: training dashed, validation solid.

    Args:
        ours: dict of float arrays (epochs,), those there are of `loss`, `val_loss` (nats),
            `accuracy` and `val_accuracy` (fractions).
        baseline: the same of the run without the method, or None.
        style: `Style`.
    Returns:
        `matplotlib.figure.Figure`.
    Example:
        >>> figure = learning_curves({"val_loss": [2.0, 1.0], "val_accuracy": [0.1, 0.6]})
        >>> figure.axes[1].get_lines()[0].get_ydata().tolist()
        [10.0, 60.0]
    """
    runs = [("this run", ours, style.ours, "o")]
    if baseline is not None:
        runs.append(("baseline", baseline, style.baseline, "s"))
    handles = {}
    with styled(style):
        figure = new_figure(8.2, 3.3)
        losses, accuracies = figure.subplots(1, 2)
        for name, courses, colour, marker in runs:
            for quantity, axes, scale in (("loss", losses, 1.0), ("accuracy", accuracies, 100.0)):
                for prefix, said, line in (("", "training", "--"), ("val_", "validation", "-")):
                    values = courses.get(prefix + quantity)
                    if values is not None:
                        epochs = range(1, len(values) + 1)
                        points = {"marker": marker, "markersize": 4} if len(values) <= FEW else {}
                        scaled = [scale * value for value in values]
                        look = {"color": colour, "linestyle": line, "linewidth": 1.6 if prefix else 1.0}
                        (handles[f"{name}, {said}"],) = axes.plot(epochs, scaled, **look, **points)
        for axes, said in ((losses, "cross entropy (nats)"), (accuracies, "accuracy (%)")):
            dress(axes, style)
            axes.set_xlabel("epoch")
            axes.set_ylabel(said)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=len(handles))
    return figure


COLUMNS = 3  # Modules beside each other.


def critic_curves(epochs, critiques, rewards, validated=None, decays=(), style=LIGHT):
    """Critique and reward of every module over training; the two should meet.

    Args:
        epochs: int array (epochs,), counted from 1.
        critiques, rewards: dicts from module to float array (epochs,), measured in training; without
            unit, from minus the penalty to 1.
        validated: pair of such dicts measured on validation data, or None.
        decays: sequence of float, epochs after which the learning rate fell.
        style: `Style`.
    Returns:
        `matplotlib.figure.Figure`.
    Example:
        >>> figure = critic_curves([1, 2], {"conv2_1/se": [0.0, 0.5]}, {"conv2_1/se": [0.1, 0.4]})
        >>> [line.get_label() for line in figure.axes[0].get_lines()]
        ['critique Q', 'reward R']
    """
    modules = [module for module in rewards if module in critiques]
    columns = min(COLUMNS, len(modules))
    rows = math.ceil(len(modules) / columns)
    kinds = (("critique Q", critiques, style.ours, "o"), ("reward R", rewards, style.series[1], "s"))
    with styled(style):
        figure = new_figure(max(4.6, 2.75 * columns), 0.7 + 1.9 * rows)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, module in zip(grid.flat, modules, strict=False):
            dress(axes, style)
            for number, (said, values, colour, marker) in enumerate(kinds):
                axes.plot(epochs, values[module], color=colour, label=said, **_points(epochs, marker))
                if validated and module in validated[number]:
                    held_out = {"linestyle": ":", "label": f"{said}, validation"}
                    axes.plot(epochs, validated[number][module], color=colour, **held_out)
            _mark(axes, decays, style)
            axes.set_title(module)
        for axes in grid.flat[len(modules) :]:
            axes.set_visible(False)
        for column in range(columns):
            lowest = grid[(len(modules) - 1 - column) // columns, column]
            lowest.tick_params(labelbottom=True)
            _count_epochs(lowest)
        for row in grid:
            row[0].set_ylabel("critique, reward")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
    return figure


def module_curves(epochs, panels, decays=(), style=LIGHT):
    """Quantities of all modules over training, a panel for each quantity.

    Args:
        epochs: int array (epochs,), counted from 1.
        panels: dict from what a panel shows (str, its vertical axis) to a dict from module to float
            array (epochs,).
        decays, style: as of `critic_curves`.
    Returns:
        `matplotlib.figure.Figure`. Where there are more modules than colours, those of a stage share
        one.
    Example:
        >>> panels = {"gain": {"conv2_1/se": [0.0, 0.5]}, "alignment": {"conv2_1/se": [0.1, 0.4]}}
        >>> [axes.get_ylabel() for axes in module_curves([1, 2], panels).axes]
        ['gain', 'alignment']
    """
    colours = (style.ours, style.baseline, *style.series)
    modules = list(dict.fromkeys(module for courses in panels.values() for module in courses))
    owners = modules if len(modules) <= len(colours) else [stage_name(module) for module in modules]
    places = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    handles = {}
    with styled(style):
        figure = new_figure(4.1 * len(panels), 3.2)
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (said, courses) in zip(row, panels.items(), strict=True):
            dress(axes, style)
            axes.axhline(0, color=style.muted, linewidth=0.8)
            for module, owner in zip(modules, owners, strict=True):
                if module in courses:
                    number = places[owner]
                    points = _points(epochs, MARKERS[number % len(MARKERS)])
                    colour = colours[number % len(colours)]
                    (handles[owner],) = axes.plot(epochs, courses[module], color=colour, **points)
            _mark(axes, decays, style)
            _count_epochs(axes)
            axes.set_ylabel(said)
        columns = min(len(handles), 4)
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=columns)
    return figure


def _points(epochs, marker):
    return {"marker": marker, "markersize": 4} if len(epochs) <= FEW else {}


def _count_epochs(axes):
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _mark(axes, decays, style):
    for epoch in np.atleast_1d(decays):
        axes.axvline(epoch, color=style.muted, linewidth=0.8, linestyle="--")
