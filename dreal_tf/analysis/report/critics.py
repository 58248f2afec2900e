"""Figure 4: critique, reward, gain and alignment of every module over training."""

import numpy as np

from dreal_tf.analysis.report.page import Column, Picture, Section, Table, left_out
from dreal_tf.visualization.history_curves import module_courses, stage_correlations
from dreal_tf.visualization.training_curves import critic_curves, module_curves

NAME, TITLE = "critics", "Critics and rewards over training"
PREDICTED = ("critique", "reward", "val_critique", "val_reward")
ADVICE = {"val_gain": "gain, validation", "val_alignment": "alignment, validation (cosine)"}


def critics_section(evidence):
    """What the critic predicted and what was measured, over training.

    Args:
        evidence: `dreal_tf.analysis.report.gathering.Evidence`.
    Returns:
        `Section`.
    """
    run = evidence.ours
    if not run.recipe.dreal.enabled:
        return left_out(NAME, TITLE, "This run was trained without the method, so it had no critic.")
    courses = {q: module_courses(run.history, q) for q in (*PREDICTED, *ADVICE)}
    if not set(courses["reward"]) & set(courses["critique"]):
        return left_out(NAME, TITLE, "The history of this run holds no critiques and rewards.")
    epochs = np.array([row["epoch"] + 1 for row in run.history])
    decays = decays_of(run.recipe.schedule)
    pictures = [_predictions(epochs, courses, decays)]
    panels = {said: courses[q] for q, said in ADVICE.items() if courses[q]}
    if panels:
        pictures.append(_advice(epochs, courses, panels, decays))
    text = (
        "The reward is what the answer lost when a module's action was replaced by its own mean: "
        "1 - p̄/p where the answer was right, minus the penalty where it was wrong. So it mostly rises "
        "with the accuracy. The critique is what the critic predicted: one that has learnt follows the "
        "reward.",
        "The gain is the same on right answers alone: what the map adds. The alignment is the cosine of "
        "the critic's direction with the true gradient on held-out images. Near 0 the advice is worth "
        "nothing, however closely critique and reward agree.",
    )
    if decays:
        text += ("Dashed vertical lines mark where the learning rate fell.",)
    return Section(NAME, TITLE, text, tuple(pictures), (_correlations(courses),))


def decays_of(schedule):
    """The epochs after which the learning rate fell by steps.

    Args:
        schedule: `dreal_tf.recipe.Schedule`.
    Returns:
        List of float.
    Example:
        >>> from dreal_tf.recipe import Schedule
        >>> decays_of(Schedule(epochs=100, decay="steps", milestones=(0.3, 0.6)))
        [30.0, 60.0]
    """
    return [s * schedule.epochs for s in schedule.milestones] if schedule.decay == "steps" else []


def _predictions(epochs, courses, decays):
    validated = courses["val_critique"], courses["val_reward"]
    figure = critic_curves(epochs, courses["critique"], courses["reward"], validated, decays)
    modules = [module for module in courses["reward"] if module in courses["critique"]]
    caption = "Critique Q and reward R of every module: what was predicted and what was measured."
    ends = "; ".join(
        f"{module}: critique ends at {courses['critique'][module][-1]:.2f}, reward at "
        f"{courses['reward'][module][-1]:.2f}"
        for module in modules[:6]
    )
    more = f", and {len(modules) - 6} more" if len(modules) > 6 else ""
    numbers = _numbers("critic_curves", modules, epochs, courses, PREDICTED, caption)
    return Picture(figure, numbers, f"Curves of {len(modules)} modules over epochs. {ends}{more}.")


def _advice(epochs, courses, panels, decays):
    modules = list(dict.fromkeys(module for values in panels.values() for module in values))
    caption = "What each map adds where the answer is right, and whether the critic's advice points up."
    numbers = _numbers("gain_and_alignment", modules, epochs, courses, tuple(ADVICE), caption)
    ends = {said: [values[-1] for values in found.values()] for said, found in panels.items()}
    said = "; ".join(f"{name} ends between {min(v):.3f} and {max(v):.3f}" for name, v in ends.items())
    return Picture(module_curves(epochs, panels, decays), numbers, f"A line for each module: {said}.")


def _numbers(name, modules, epochs, courses, quantities, caption):
    """A row for each module and epoch."""
    rows = [
        (module, int(epoch), *(_value(courses[q].get(module), place) for q in quantities))
        for module in modules
        for place, epoch in enumerate(epochs)
    ]
    return Table(name, [Column("module"), Column("epoch"), *map(Column, quantities)], rows, caption)


def _value(values, place):
    return None if values is None or np.isnan(values[place]) else float(values[place])


def _correlations(courses):
    found = stage_correlations(courses["critique"], courses["reward"])
    held_out = stage_correlations(courses["val_critique"], courses["val_reward"])
    rows = [
        (
            stage,
            values["points"],
            values["correlation"],
            values["of_changes"],
            held_out.get(stage, {}).get("correlation"),
        )
        for stage, values in found.items()
    ]
    columns = [
        Column("stage"),
        Column("points", "d"),
        Column("training", ".3f"),
        Column("changes alone", ".3f"),
        Column("validation", ".3f"),
    ]
    caption = (
        "Correlation of critique and reward (Pearson), every module and epoch of a stage a point. "
        "Changes alone: of the changes from epoch to epoch, without the common rise."
    )
    return Table("critic_correlations", columns, rows, caption)
