"""What differences come to: values with intervals, tests and shares. Pure functions of arrays.

The value of a module is not its reward: it is the mean over all images, right and wrong, of
log p(A) - log p(Ā), in nats. Where log p is as often and as far raised as lowered, it is 0.
"""

import math

import numpy as np
from scipy import stats

# An image is untouched where its log p changes by no more (nats): its p by a thousandth of itself.
TOLERANCE = 1e-3
DRAWS = 1000  # Of the bootstrap.
AT_A_TIME = 2**22  # Weights of the bootstrap that are held in memory.


def values_of(differences, right, right_without, seed=0):
    """The value of every group of modules.

    Args:
        differences: float array (n, groups), n >= 2: log p of the label with the group's own actions, less
            that with its baseline actions (nats).
        right: bool array (n,). Whether the answer was the label.
        right_without: bool array (n, groups): the same with the group ablated.
        seed: int, of the bootstrap.
    Returns:
        List of dicts, one for each group: `value`, and `low` and `high`, its paired bootstrap 95 %
        interval (nats); `accuracy_drop`, what the accuracy loses (fraction), and `p_value`, that it
        loses or gains as much by chance (`mcnemar`); `helped`, `harmed`, `untouched`, the fractions
        of images whose log p the module raises, lowers, or moves by no more than `TOLERANCE`.
    Example:
        >>> differences = np.array([[0.5], [0.25], [-0.25], [0.0]])
        >>> right = np.array([True, True, False, True])
        >>> found = values_of(differences, right, right[:, None] & (differences <= 0))[0]
        >>> found["value"], found["accuracy_drop"], found["p_value"]
        (0.125, 0.5, 0.5)
        >>> found["helped"], found["harmed"], found["untouched"]
        (0.5, 0.25, 0.25)
    """
    low, high = bootstrap_intervals(differences, seed)
    found = []
    for column, (difference, without) in enumerate(zip(differences.T, right_without.T, strict=True)):
        found.append(
            {
                "value": float(difference.mean()),
                "low": float(low[column]),
                "high": float(high[column]),
                "accuracy_drop": float(right.mean() - without.mean()),
                "p_value": mcnemar(right, without),
                "helped": float((difference > TOLERANCE).mean()),
                "harmed": float((difference < -TOLERANCE).mean()),
                "untouched": float((np.abs(difference) <= TOLERANCE).mean()),
            }
        )
    return found


def values_by_class(differences, labels, seed=0):
    """The values of every group of modules on the images of each class.

    Args:
        differences: float array (n, groups), see `values_of`.
        labels: int array (n,).
        seed: int, of the bootstrap.
    Returns:
        Dict by label (int) of lists of dicts, one for each group, of `value`, `low` and `high`. A
        label with fewer than two images is left out: nothing is known of its spread.
    Example:
        >>> values_by_class(np.array([[1.0], [1.0], [5.0]]), np.array([3, 3, 4]))
        {3: [{'value': 1.0, 'low': 1.0, 'high': 1.0}]}
    """
    found = {}
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count >= 2:
            rows = differences[labels == label]
            columns = zip(rows.mean(axis=0), *bootstrap_intervals(rows, seed), strict=True)
            names = "value", "low", "high"
            found[int(label)] = [
                dict(zip(names, map(float, column), strict=True)) for column in columns
            ]
    return found


def bootstrap_intervals(values, seed=0, draws=DRAWS):
    """The 95 % intervals of means over the same images.

    All columns are drawn anew together, image by image. The percentiles are taken so far out that a
    mean of a few values is covered nearly as often as one of many.

    Args:
        values: float array (n, columns), n >= 2.
        seed: int.
        draws: int >= 1. How often the images are drawn anew.
    Returns:
        Two float arrays (columns,): low and high.
    Example:
        >>> low, high = bootstrap_intervals(np.random.default_rng(0).normal(size=(400, 1)))
        >>> bool(low[0] < 0 < high[0] and high[0] - low[0] < 0.25)
        True
    Source: Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, the expanded
    percentile interval.
    """
    count, mean = len(values), values.mean(axis=0)
    random, means = np.random.default_rng(seed), []
    for first in range(0, draws, rows := max(AT_A_TIME // count, 1)):
        rows = min(rows, draws - first)
        drawn = random.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        means.append(weights / count @ (values - mean))
    level = stats.norm.cdf(math.sqrt(count / (count - 1)) * stats.t.ppf(0.025, count - 1))
    low, high = np.percentile(np.concatenate(means), [100 * level, 100 * (1 - level)], axis=0)
    return mean + low, mean + high


def mcnemar(right, right_without):
    """The exact p-value of McNemar's test, two-sided: whether two accuracies on the same images differ.

    Args:
        right, right_without: bool arrays (n,).
    Returns:
        Float; 1 where no answer changes.
    Example:
        >>> mcnemar(np.array([True] * 6 + [False] * 9), np.zeros(15, bool))
        0.03125
    Source: McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12, 1947; exact by the binomial distribution.
    """
    lost = int((right & ~right_without).sum())
    changed = int((right != right_without).sum())
    return float(stats.binomtest(lost, changed).pvalue) if changed else 1.0
