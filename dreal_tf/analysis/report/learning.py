"""Curves of loss and accuracy."""

import numpy as np

from dreal_tf.analysis.report.page import Column, Picture, Section, Table
from dreal_tf.visualization.history_curves import course
from dreal_tf.visualization.training_curves import learning_curves

QUANTITIES = ("loss", "val_loss", "accuracy", "val_accuracy")


def learning_section(evidence):
    """Loss and accuracy over training, both runs.

    Args:
        evidence: `dreal_tf.analysis.report.gathering.Evidence`.
    Returns:
        `Section`.
    """
    runs = {
        name: {q: values for q in QUANTITIES if (values := course(run.history, q)) is not None}
        for name, run in evidence.runs.items()
    }
    rows = [
        (name, epoch + 1, *(_at(courses, q, epoch) for q in QUANTITIES))
        for name, courses in runs.items()
        for epoch in range(max(map(len, courses.values()), default=0))
    ]
    numbers = Table(
        "learning_curves",
        [Column("run"), Column("epoch"), *map(Column, QUANTITIES)],
        rows,
        "Cross entropy and accuracy after each epoch.",
    )
    ours = evidence.ours
    best = ours.metrics.get("best_epoch")
    text = (
        "Solid lines are validation images, dashed ones training images as they were augmented, with "
        "the network still changing.",
    )
    if best is not None:
        chosen = f"accuracy, {100 * ours.metrics['validation_accuracy']:.2f} %"
        if "validation_mAP" in ours.metrics:
            chosen = f"mAP, {ours.metrics['validation_mAP']:.4f}, of identities held out"
        text += (
            f"The weights that were kept are those after epoch {best + 1}, of the highest validation "
            f"{chosen}.",
        )
    alt = "Two panels over epochs: " + _said(runs, "val_loss", "validation loss", 1)
    alt += "; " + _said(runs, "val_accuracy", "validation accuracy in percent", 100) + "."
    figure = learning_curves(*runs.values())
    return Section("learning", "Learning curves", text, (Picture(figure, numbers, alt),))


def _at(courses, quantity, epoch):
    values = courses.get(quantity, ())
    return float(values[epoch]) if epoch < len(values) and np.isfinite(values[epoch]) else None


def _said(runs, quantity, name, scale):
    there = {run: scale * courses[quantity] for run, courses in runs.items() if quantity in courses}
    return f"{name} " + ", ".join(f"{v[0]:.3g} to {v[-1]:.3g} ({run})" for run, v in there.items())
