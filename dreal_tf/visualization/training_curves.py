"""Curves over training, from a run's history: loss and accuracy, critiques and rewards."""

import math

import numpy as np
from matplotlib.ticker import MaxNLocator

from dreal_tf.modules import stage_name
from dreal_tf.visualization.style import LIGHT, MARKERS, dress, new_figure, styled

FEWEST_POINTS = 3  # Below, a correlation says nothing.
MARKED_EPOCHS = 20  # Up to so many epochs, each has a marker.
COLUMNS = 3  # Modules beside each other.


def history_curve(rows, name):
    """One quantity over training.

    Args:
        rows: sequence of dicts, see `dreal_tf.training.callbacks.read_history`.
        name: str, a column such as "val_accuracy".
    Returns:
        Float array (epochs,), nan if an epoch lacks it; None if all do.
    Example:
        >>> history_curve([{"epoch": 0, "loss": 2.0}, {"epoch": 1, "loss": 1.0}], "loss").tolist()
        [2.0, 1.0]
    """
    values = np.array([row.get(name, np.nan) for row in rows], float)
    return values if np.isfinite(values).any() else None


def history_curves(rows, quantity):
    """A quantity of every module over training.

    Args:
        rows: as of `history_curve`.
        quantity: str, such as "reward" or "val_gain".
    Returns:
        Dict from module to float array (epochs,), in the order of the network's depth; nan in epochs in
        which no reward was measured.
    Example:
        >>> rows = [{"epoch": 0, "reward/conv10_1/se": 0.5, "reward/conv9_1/se": 0.25, "loss": 1.0}]
        >>> {module: values.tolist() for module, values in history_curves(rows, "reward").items()}
        {'conv9_1/se': [0.25], 'conv10_1/se': [0.5]}
    """
    measured = f"{'val_' if quantity.startswith('val_') else ''}reward_measured"
    # Before the method starts nothing is measured, and the logs are 0.
    rows = [{} if row.get(measured) == 0 else row for row in rows]
    names = dict.fromkeys(name for row in rows for name in row)
    modules = [name.partition("/")[2] for name in names if name.startswith(f"{quantity}/")]
    curves = {m: history_curve(rows, f"{quantity}/{m}") for m in sorted(modules, key=depth)}
    return {module: curve for module, curve in curves.items() if curve is not None}


def depth(module):
    """A key that sorts modules by their depth in the network: numbers as numbers.

    Logs are in the order of the alphabet, where conv10 comes before conv9.

    Example:
        >>> sorted(["conv10_1/se", "conv9_2/se"], key=depth)
        ['conv9_2/se', 'conv10_1/se']
    """
    block, _, suffix = module.partition("/")
    digits = "".join(c if c.isdigit() else " " for c in block).split()
    return block.rstrip("0123456789_"), *map(int, digits), suffix


def stage_correlations(critiques, rewards):
    """Whether critiques follow rewards: correlation over training, all modules of a stage together.

    Both mostly rise with the accuracy, so the correlation of their changes from epoch to epoch
    stands beside: it is what is left when the common rise is gone.

    Args:
        critiques, rewards: dicts from module to float array (epochs,).
    Returns:
        Dict from stage to dict: `points` (pairs of module and epoch), `correlation` and
        `of_changes` (Pearson's r; None for fewer than three points or if nothing varies).
    Example:
        >>> correlations = stage_correlations({"conv2_1/se": np.array([0.0, 1.0, 3.0, 4.0])},
        ...                                   {"conv2_1/se": np.array([1.0, 2.0, 4.0, 5.0])})
        >>> correlations["conv2"]["points"], round(correlations["conv2"]["correlation"], 3)
        (4, 1.0)
    """
    correlations = {}
    both = [module for module in critiques if module in rewards]
    for stage in dict.fromkeys(stage_name(module) for module in both):
        of_stage = [module for module in both if stage_name(module) == stage]
        pairs = [np.array([curves[m] for m in of_stage]) for curves in (critiques, rewards)]
        levels = [values.ravel() for values in pairs]
        changes = [np.diff(values).ravel() for values in pairs]
        correlations[stage] = {
            "points": int(np.isfinite(levels).all(axis=0).sum()),
            "correlation": _correlation(*levels),
            "of_changes": _correlation(*changes),
        }
    return correlations


def _correlation(one, other):
    there = np.isfinite(one) & np.isfinite(other)
    one, other = one[there], other[there]
    if len(one) < FEWEST_POINTS or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


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
        for name, curves, colour, marker in runs:
            for quantity, axes, scale in (("loss", losses, 1.0), ("accuracy", accuracies, 100.0)):
                for prefix, split, line in (("", "training", "--"), ("val_", "validation", "-")):
                    values = curves.get(prefix + quantity)
                    if values is not None:
                        epochs = range(1, len(values) + 1)
                        look = {"color": colour, "linestyle": line, "linewidth": 1.6 if prefix else 1.0}
                        scaled = [scale * value for value in values]
                        (curve,) = axes.plot(epochs, scaled, **look, **_points(epochs, marker))
                        handles[f"{name}, {split}"] = curve
        for axes, label in ((losses, "cross entropy (nats)"), (accuracies, "accuracy (%)")):
            dress(axes, style)
            _count_epochs(axes)
            axes.set_ylabel(label)
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=len(handles))
    return figure


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
            for number, (label, values, colour, marker) in enumerate(kinds):
                axes.plot(epochs, values[module], color=colour, label=label, **_points(epochs, marker))
                if validated and module in validated[number]:
                    held_out = {"linestyle": ":", "label": f"{label}, validation"}
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
        panels: dict from the label of a panel's vertical axis (str) to a dict from module to float array
            (epochs,).
        decays, style: as of `critic_curves`.
    Returns:
        `matplotlib.figure.Figure`. If there are more modules than colours, those of a stage share one.
    Example:
        >>> panels = {"gain": {"conv2_1/se": [0.0, 0.5]}, "alignment": {"conv2_1/se": [0.1, 0.4]}}
        >>> [axes.get_ylabel() for axes in module_curves([1, 2], panels).axes]
        ['gain', 'alignment']
    """
    colours = (style.ours, style.baseline, *style.series)
    modules = list(dict.fromkeys(module for curves in panels.values() for module in curves))
    owners = modules if len(modules) <= len(colours) else [stage_name(module) for module in modules]
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    handles = {}
    with styled(style):
        figure = new_figure(4.1 * len(panels), 3.2)
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (label, curves) in zip(row, panels.items(), strict=True):
            dress(axes, style)
            axes.axhline(0, color=style.muted, linewidth=0.8)
            for module, owner in zip(modules, owners, strict=True):
                if module in curves:
                    number = numbers[owner]
                    points = _points(epochs, MARKERS[number % len(MARKERS)])
                    colour = colours[number % len(colours)]
                    (handles[owner],) = axes.plot(epochs, curves[module], color=colour, **points)
            _mark(axes, decays, style)
            _count_epochs(axes)
            axes.set_ylabel(label)
        columns = min(len(handles), 4)
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=columns)
    return figure


def _points(epochs, marker):
    return {"marker": marker, "markersize": 4} if len(epochs) <= MARKED_EPOCHS else {}


def _count_epochs(axes):
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _mark(axes, decays, style):
    for epoch in np.atleast_1d(decays):
        axes.axvline(epoch, color=style.muted, linewidth=0.8, linestyle="--")
