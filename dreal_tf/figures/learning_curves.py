"""Loss and accuracy over training, of one run or of two beside each other."""

from matplotlib.ticker import MaxNLocator

from dreal_tf.figures.style import LIGHT, dress, new_figure, styled

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
