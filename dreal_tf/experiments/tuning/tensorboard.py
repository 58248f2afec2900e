"""A search in TensorBoard's HParams: a row a trial, with the fields that were searched."""

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from dreal_tf.experiments.tuning.space import Choice

SCORE = "score"  # The best value of the objective.


def log_space(folder, space, objective):
    """Tells HParams which fields are searched and what is compared.

    Args:
        folder: path, to which TensorBoard's --logdir points.
        space: `dreal_tf.experiments.tuning.Space`.
        objective: `dreal_tf.experiments.tuning.scores.Objective`.
    """
    if any(folder.glob("events.*")):
        return
    shown = [hparams.HParam(path, _domain(values)) for path, values in space.fields.items()]
    scores = [
        hparams.Metric(SCORE, display_name=f"best {objective.name}"),
        hparams.Metric(objective.name),
    ]
    with _written(folder):
        hparams.hparams_config(hparams=shown, metrics=scores)


def log_trial(folder, space, objective, result):
    """Writes a trial: its values, the objective's course and its best.

    Args:
        folder: path, whose name becomes the trial's.
        space, objective: see `log_space`.
        result: dict, see `dreal_tf.experiments.tuning.directory.Trial.read`.
    """
    if any(folder.glob("events.*")):
        return
    with _written(folder):
        values = {path: _held(space.fields[path], value) for path, value in result["values"].items()}
        hparams.hparams(values, trial_id=folder.name)
        for epoch, value in enumerate(result["curve"]):
            tf.summary.scalar(objective.name, value, step=epoch)
        if result["score"] is not None:
            tf.summary.scalar(SCORE, result["score"], step=0)


def _written(folder):
    return tf.summary.create_file_writer(str(folder)).as_default()


def _domain(values):
    if isinstance(values, Choice):
        return hparams.Discrete([_held(values, value) for value in values.values])
    whole = isinstance(values.low, int) and isinstance(values.high, int)
    if whole:
        return hparams.IntInterval(values.low, values.high)
    return hparams.RealInterval(float(values.low), float(values.high))


def _held(values, value):
    """A value as HParams can hold it: those of one kind as they are, all others as text."""
    return str(value) if isinstance(values, Choice) and not values.plain else value
