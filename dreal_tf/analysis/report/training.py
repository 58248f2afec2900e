"""Curves over training: loss and accuracy; and Figure 4, critique, reward, gain and alignment by module."""

from functools import partial

import numpy as np

from dreal_tf.analysis.report.page import Column, Picture, ReportSection, Table
from dreal_tf.visualization.training_curves import (
    critic_curves,
    history_curve,
    history_curves,
    learning_curves,
    module_curves,
    stage_correlations,
)

LEARNING = ("loss", "val_loss", "accuracy", "val_accuracy")
PREDICTION = ("critique", "reward", "val_critique", "val_reward")
ADVANTAGE = {"val_gain": "gain, validation", "val_alignment": "alignment, validation (cosine)"}


def learning_section(evidence):
    """Loss and accuracy over training, both runs.

    Args:
        evidence: `dreal_tf.analysis.report.evidence.Evidence`.
    Returns:
        `ReportSection`.
    """
    runs = {}
    for name, run in evidence.runs.items():
        curves = {quantity: history_curve(run.history, quantity) for quantity in LEARNING}
        runs[name] = {quantity: curve for quantity, curve in curves.items() if curve is not None}
    rows = [
        (name, epoch + 1, *(_at(curves.get(quantity), epoch) for quantity in LEARNING))
        for name, curves in runs.items()
        for epoch in range(max(map(len, curves.values()), default=0))
    ]
    columns = ["run", "epoch", *LEARNING]
    caption = "Cross entropy and accuracy after each epoch."
    text = (
        "Solid lines are validation images. Dashed lines are augmented training images, measured while "
        "the network still changes.",
    )
    metrics = evidence.ours.metrics
    if metrics.get("best_epoch") is not None:
        best = f"accuracy, {100 * metrics['validation_accuracy']:.2f} %"
        if "validation_mAP" in metrics:
            best = f"mAP, {metrics['validation_mAP']:.4f}, of identities held out"
        epoch = metrics["best_epoch"]
        text += (
            f"The run keeps the weights of epoch {epoch}, which has the highest validation {best}.",
        )
    losses = _ends(runs, "val_loss", "validation loss", 1)
    accuracies = _ends(runs, "val_accuracy", "validation accuracy in percent", 100)
    picture = Picture(
        learning_curves(*runs.values()),
        Table("learning_curves", columns, rows, caption),
        f"Two panels over epochs: {losses}; {accuracies}.",
    )
    return ReportSection("learning", "Learning curves", text, (picture,))


def _ends(runs, quantity, name, scale):
    """The first and the last value of each run, as text."""
    curves = {run: scale * curves[quantity] for run, curves in runs.items() if quantity in curves}
    return f"{name} " + ", ".join(f"{c[0]:.3g} to {c[-1]:.3g} ({run})" for run, c in curves.items())


def critics_section(evidence):
    """Predictions of the critic and measured rewards over training.

    Args:
        evidence: `dreal_tf.analysis.report.evidence.Evidence`.
    Returns:
        `ReportSection`.
    """
    run = evidence.ours
    empty = partial(ReportSection, "critics", "Critics and rewards over training", empty=True)
    if not run.recipe.dreal.enabled:
        return empty(("This run was trained without the method, so it had no critic.",))
    curves = {q: history_curves(run.history, q) for q in (*PREDICTION, *ADVANTAGE)}
    modules = [module for module in curves["reward"] if module in curves["critique"]]
    if not modules:
        return empty(("The history of this run holds no critiques and rewards.",))
    epochs = np.array([row["epoch"] for row in run.history])
    decays = decays_of(run.recipe.schedule)
    pictures = [_predictions(epochs, curves, modules, decays)]
    panels = {label: curves[quantity] for quantity, label in ADVANTAGE.items() if curves[quantity]}
    if panels:
        pictures.append(_advantages(epochs, curves, panels, decays))
    text = (
        "The reward measures what the prediction lost when a module's action was replaced by its own mean: "
        "1 - p̄/p if it was correct, minus the penalty if it was wrong. So it mostly rises with the "
        "accuracy. The critique is the critic's prediction of it: that of a good critic follows the reward.",
        "The gain is the same on correct predictions alone: the contribution of the map. The alignment is "
        "the cosine between the critic's gradient and the true gradient on held-out images. Near 0 the "
        "gradient has no use, however closely critique and reward agree.",
    )
    if decays:
        text += ("Dashed vertical lines mark where the learning rate fell.",)
    title = "Critics and rewards over training"
    return ReportSection("critics", title, text, tuple(pictures), (_correlations(curves),))


def decays_of(schedule):
    """The epochs after which the learning rate fell by steps.

    Args:
        schedule: `dreal_tf.training.recipe.Schedule`.
    Returns:
        List of float.
    Example:
        >>> from dreal_tf.training.recipe import Schedule
        >>> decays_of(Schedule(epochs=100, decay="steps", milestones=(0.3, 0.6)))
        [30.0, 60.0]
    """
    return [s * schedule.epochs for s in schedule.milestones] if schedule.decay == "steps" else []


def _predictions(epochs, curves, modules, decays):
    caption = "Critique Q and reward R of every module: prediction and measurement."
    ends = "; ".join(
        f"{module}: critique ends at {curves['critique'][module][-1]:.2f}, reward at "
        f"{curves['reward'][module][-1]:.2f}"
        for module in modules[:6]
    )
    more = f", and {len(modules) - 6} more" if len(modules) > 6 else ""
    critique, reward, *validated = (curves[quantity] for quantity in PREDICTION)
    return Picture(
        critic_curves(epochs, critique, reward, validated, decays),
        _numbers("critic_curves", modules, epochs, curves, PREDICTION, caption),
        f"Curves of {len(modules)} modules over epochs. {ends}{more}.",
    )


def _advantages(epochs, curves, panels, decays):
    modules = list(dict.fromkeys(module for of_panel in panels.values() for module in of_panel))
    caption = (
        "The gain of each map on correct predictions, and whether the critic's gradient points up."
    )
    last = {label: [c[-1] for c in of_panel.values()] for label, of_panel in panels.items()}
    ends = "; ".join(f"{label} ends between {min(v):.3f} and {max(v):.3f}" for label, v in last.items())
    return Picture(
        module_curves(epochs, panels, decays),
        _numbers("gain_and_alignment", modules, epochs, curves, tuple(ADVANTAGE), caption),
        f"A line for each module: {ends}.",
    )


def _numbers(name, modules, epochs, curves, quantities, caption):
    """A row for each module and epoch."""
    rows = [
        (module, int(epoch), *(_at(curves[quantity].get(module), row) for quantity in quantities))
        for module in modules
        for row, epoch in enumerate(epochs)
    ]
    return Table(name, ["module", "epoch", *quantities], rows, caption)


def _at(curve, epoch):
    """A value of a curve; None if it is not there."""
    there = curve is not None and epoch < len(curve) and np.isfinite(curve[epoch])
    return float(curve[epoch]) if there else None


def _correlations(curves):
    training = stage_correlations(curves["critique"], curves["reward"])
    validation = stage_correlations(curves["val_critique"], curves["val_reward"])
    rows = [
        (stage, *values.values(), validation.get(stage, {}).get("correlation"))
        for stage, values in training.items()
    ]
    names = ("training", "changes alone", "validation")
    columns = ["stage", Column("points", "d"), *(Column(name, ".3f") for name in names)]
    caption = (
        "Correlation of critique and reward (Pearson); every module and epoch of a stage is a point. "
        "Changes alone: the changes from epoch to epoch, without the common rise."
    )
    return Table("critic_correlations", columns, rows, caption)
