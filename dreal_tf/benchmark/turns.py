"""Arms timed in turns in one process, so that what else the machine does falls on all alike."""

import math
import time

import numpy as np
import tensorflow as tf
from scipy.stats import bootstrap

from dreal_tf.builder import build

TURN = 0.3  # Seconds that a turn should last.


def interleaved(turns, rounds):
    """Seconds of each arm, turn by turn.

    Args:
        turns: dict of callables by arm, each of which takes a turn and returns its seconds.
        rounds: int >= 1. Turns of every arm, after one that does not count.
    Returns:
        Dict of float arrays (rounds,).
    Example:
        >>> interleaved({"one": iter([9.0, 1.0, 2.0]).__next__}, rounds=2)["one"].tolist()
        [1.0, 2.0]
    """
    for turn in turns.values():  # Once for tracing.
        turn()
    seconds = {arm: [] for arm in turns}
    for _ in range(rounds):
        for arm, turn in turns.items():
            seconds[arm].append(turn())
    return {arm: np.array(times) for arm, times in seconds.items()}


def timed(call, wait):
    """A callable that takes a turn: calls of a function, as many as last a while.

    Args:
        call: callable without arguments.
        wait: callable of what it returned, which ends when that has been computed.
    Returns:
        Callable that returns the seconds of one call, a mean over the turn.
    Example:
        >>> timed(lambda: None, wait=lambda nothing: None)() < 0.1
        True
    """
    calls = [0]  # Until it is known how long one takes.

    def several(count):
        start = time.perf_counter()
        for _ in range(count):
            result = call()
        wait(result)
        return (time.perf_counter() - start) / count

    def turn():
        if not calls[0]:
            several(1)  # It may trace.
            calls[0] = max(1, math.ceil(TURN / max(several(1), 1e-4)))
        return several(calls[0])

    return turn


def turn_of(recipe, data=None):
    """A turn of training steps of a recipe's model, always on the same batch.

    Args:
        recipe: `dreal_tf.Recipe`.
        data: `dreal_tf.data.Splits`, or None for the recipe's own.
    Returns:
        Callable that returns the seconds of a step.
    """
    model, data, _ = build(recipe, data)
    return turn_of_model(model, first_batch(data))


def first_batch(data):
    """The first training batch of some splits, in memory."""
    return next(iter(data.train.take(1)))


def turn_of_model(model, batch):
    """A turn of training steps of a compiled model, always on the same batch.

    Args:
        model: compiled `keras.Model`.
        batch: pair of tensors: images and labels.
    Returns:
        Callable that returns the seconds of a step.
    """
    model.make_train_function()
    endless = tf.data.Dataset.from_tensors(batch).repeat()
    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync > 1:
        endless = strategy.experimental_distribute_dataset(endless)
    batches = iter(endless)
    return timed(lambda: model.train_function(batches), wait=lambda logs: float(logs["loss"]))


def ratio_quartiles(seconds, reference):
    """How many times as long one arm takes as another: lower quartile, median, upper quartile.

    Args:
        seconds, reference: float arrays (rounds,), of the same turns.
    Returns:
        Float array (3,).
    Example:
        >>> ratio_quartiles(np.array([2.0, 3.0, 4.0]), np.ones(3)).tolist()
        [2.5, 3.0, 3.5]
    """
    return np.quantile(seconds / reference, [0.25, 0.5, 0.75])


def median_interval(values):
    """The 95 % bootstrap interval of a median.

    Args:
        values: float array (n,).
    Returns:
        Pair of float: low and high; both the value itself where there is but one.
    Example:
        >>> median_interval(np.array([1.0, 1.0, 1.0]))
        (1.0, 1.0)
    """
    if len(values) < 2 or np.ptp(values) == 0:
        return float(np.median(values)), float(np.median(values))
    drawn = bootstrap((values,), np.median, method="percentile", random_state=np.random.default_rng(0))
    return tuple(float(end) for end in drawn.confidence_interval)
