"""Steps reckoned side by side: channel actions of one shape, the batch of one after another's.

A graph in which the blocks of a stage go through the same operations together is a fraction of one
in which each has its own, and takes as much less to be traced and optimized. Channel actions are
small, so that to lay them together costs nothing; other kinds stay one by one, as their maps do.
"""

import numpy as np
import tensorflow as tf
from keras import ops


def alike(actions, keys=None):
    """Which steps can be laid side by side: those with channel actions of one shape.

    Args:
        actions: sequence of tensors, the action of each step.
        keys: sequence of hashables, what else must be the same; None for nothing.
    Returns:
        List of lists of int, positions of steps. Each occurs once.
    Example:
        >>> channels, place = np.ones((2, 1, 1, 6)), np.ones((2, 4, 4, 1))
        >>> alike([channels, place, channels, place])
        [[0, 2], [1], [3]]
    """
    found = {}
    for position, action in enumerate(actions):
        shape = tuple(action.shape[1:])
        of_channels = len(shape) == 3 and shape[:2] == (1, 1)
        key = None if keys is None else keys[position]
        found.setdefault((key, shape) if of_channels else position, []).append(position)
    return list(found.values())


def laid(tensors):
    """Tensors (n, ...) one after another: (steps · n, ...)."""
    return tensors[0] if len(tensors) == 1 else tf.concat(tensors, axis=0)


def taken(tensor, count):
    """The tensors that were `laid`, as a list of this many."""
    return [tensor] if count == 1 else tf.split(tensor, count, axis=0)


def measured_rows(positions, batch, measurement):
    """Where steps that were laid side by side were measured.

    Args:
        positions: list of int, of the steps.
        batch: int or int scalar. Images of each.
        measurement: `dreal_tf.method.rewards.Measurement`.
    Returns:
        Three int32 arrays or tensors (m,), for each entry of the measurement that is an `Alternative` of one
        of the steps: the entry; the step's position; the row of its image among the laid ones.
    """
    entries = [measurement.alternatives[position].entries for position in positions]
    if all(isinstance(part, np.ndarray) for part in entries):
        order = np.repeat(np.arange(len(entries), dtype=np.int32), [len(part) for part in entries])
        entries = np.concatenate(entries)
        steps = np.int32(positions)[order]
    else:
        counts = tf.stack([ops.shape(part)[0] for part in entries])
        order = tf.repeat(np.arange(len(entries), dtype=np.int32), counts)
        entries = tf.concat(entries, axis=0)
        steps = tf.gather(np.int32(positions), order)
    return entries, steps, tf.gather(measurement.images, entries) + order * batch
