"""Estimates with intervals, and R² of predictions. Pure functions.

From sums, as a run's logs add them up over batches and replicas; and from arrays, as an audit has them.
"""

import numpy as np
import tensorflow as tf

# Fraction of the mean square below which a variance from sums is only their rounding.
ROUNDING = 1e-9
# Half the width of a normal 95 % interval (standard errors).
NORMAL_95 = 1.96
RESAMPLED_AT_A_TIME = 2**22  # Values that the bootstrap holds in memory.


def mean_interval_from_sums(count, total, squares):
    """Means with their normal 95 % intervals.

    Args:
        count, total, squares: float tensors (n,). Number, sum and sum of squares of the values.
    Returns:
        Three float tensors (n,): mean, low and high. All 0 where the count is 0; of one value alone
        the interval is its mean, since nothing is known of the spread.
    Example:
        >>> mean, low, high = mean_interval_from_sums(*np.float32([[2], [2], [4]]))  # 0 and 2.
        >>> mean.numpy().tolist(), low.numpy().round(2).tolist(), high.numpy().round(2).tolist()
        ([1.0], [-0.9599999785423279], [2.9600000381469727])
    """
    mean = tf.math.divide_no_nan(total, count)
    spread = tf.nn.relu(squares - count * tf.square(mean))
    variance = tf.math.divide_no_nan(spread, tf.nn.relu(count - 1.0))
    half = NORMAL_95 * tf.sqrt(tf.math.divide_no_nan(variance, count))
    return mean, mean - half, mean + half


def r2_from_sums(count, total, squares, errors):
    """R² of predictions: 1 - mean squared error / variance of the measured values.

    Args:
        count, total, squares: float tensors (n,). Number, sum and sum of squares of the measured values.
        errors: float tensor (n,). Sum of squared errors of the predictions.
    Returns:
        Float tensor (n,), at most 1; 0 where there are no values or all are equal.
    Example:
        >>> r2_from_sums(*np.float32([[2], [2], [4], [1]])).numpy().tolist()  # 0 and 2.
        [0.5]
    """
    square = tf.math.divide_no_nan(squares, count)
    variance = square - tf.square(tf.math.divide_no_nan(total, count))
    varied = variance > ROUNDING * square
    ratio = tf.math.divide_no_nan(tf.math.divide_no_nan(errors, count), variance)
    return tf.where(varied, 1.0 - ratio, tf.zeros_like(ratio))


def r2(measured, predicted):
    """R² of predictions: 1 - mean squared error / variance of the measured values.

    Args:
        measured, predicted: float arrays (n,). Pairs that are not finite are skipped.
    Returns:
        Float, at most 1; None if there are no values or all are equal.
    Example:
        >>> r2(np.array([0.0, 2.0]), np.array([0.0, 1.0]))
        0.5
    """
    measured, predicted = np.asarray(measured, np.float64), np.asarray(predicted, np.float64)
    finite = np.isfinite(measured) & np.isfinite(predicted)  # Half precision may overflow.
    measured, predicted = measured[finite], predicted[finite]
    if measured.size == 0 or np.ptp(measured) == 0:
        return None
    from sklearn.metrics import r2_score  # Audits alone need it, and SciPy below.

    return float(r2_score(measured, predicted))


def bootstrap_mean(values, seed=0, draws=1000):
    """A mean with its 95 % interval: percentiles of the means of resampled values.

    Args:
        values: float array (n,).
        seed: int.
        draws: int >= 1. Number of resamples.
    Returns:
        Dict of `mean`, `low` and `high`: float, or None where there are no values.
    Example:
        >>> bootstrap_mean(np.array([2.0, 2.0, 2.0]))
        {'mean': 2.0, 'low': 2.0, 'high': 2.0}
    """
    values = np.asarray(values, np.float64)
    if values.size == 0:
        return {"mean": None, "low": None, "high": None}
    mean = float(values.mean())
    if values.size == 1:  # SciPy refuses a single value.
        return {"mean": mean, "low": mean, "high": mean}
    from scipy import stats

    random, batch = np.random.default_rng(seed), max(RESAMPLED_AT_A_TIME // values.size, 1)
    options = dict(n_resamples=draws, batch=batch, method="percentile", random_state=random)
    interval = stats.bootstrap((values,), np.mean, **options).confidence_interval
    return {"mean": mean, "low": float(interval.low), "high": float(interval.high)}
