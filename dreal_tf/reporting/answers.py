"""What a network's answers come to: accuracy, differences, confusions, mistakes. Pure functions."""

import numpy as np

from dreal_tf.auditing.values import mcnemar
from dreal_tf.method.instruments import bootstrap_mean


def confusion_counts(labels, answered, classes):
    """How often each label was answered by each class.

    Args:
        labels, answered: int arrays (n,).
        classes: int.
    Returns:
        Int array (classes, classes): rows by label, columns by answer.
    Example:
        >>> confusion_counts(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    pairs = np.asarray(labels) * classes + np.asarray(answered)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def most_confused(counts, most=12):
    """The pairs of label and wrong answer that occur most often.

    Args:
        counts: int array (classes, classes), see `confusion_counts`.
        most: int. Pairs to name, at most.
    Returns:
        List of (label, answer, count, share of the label's images), most frequent first; of equally
        frequent ones the first in the order of the classes.
    Example:
        >>> most_confused(np.array([[5, 1], [3, 7]]))
        [(1, 0, 3, 0.3), (0, 1, 1, 0.16666666666666666)]
    """
    wrong = np.array(counts)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = np.stack(np.unravel_index(order, wrong.shape), axis=1).tolist()
    of_label = np.asarray(counts).sum(axis=1)
    return [
        (label, answer, int(wrong[label, answer]), float(wrong[label, answer] / of_label[label]))
        for label, answer in places
        if wrong[label, answer]
    ]


def confident_mistakes(probabilities, labels, most=12):
    """The wrong answers that were given with the greatest probability.

    Args:
        probabilities: float array (n, classes).
        labels: int array (n,).
        most: int. Mistakes to name, at most.
    Returns:
        Int array of positions, most confident first; of equal ones the first in the data.
    Example:
        >>> p = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
        >>> confident_mistakes(p, np.array([1, 1, 0])).tolist()
        [0, 2]
    """
    answered = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(answered != labels)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return wrong[order][:most]


def paired_difference(right, right_of_other, seed=0):
    """How much more often one network is right than another, on the same images.

    Args:
        right, right_of_other: bool arrays (n,), by image.
        seed: int, of the bootstrap over images.
    Returns:
        Dict: `mean`, `low`, `high` (difference of the accuracies and its 95 % interval, fractions),
        `only_this`, `only_other` (images that one alone gets right) and `p_value` (exact McNemar
        test: that the two numbers differ by chance).
    Example:
        >>> found = paired_difference(np.array([True] * 6), np.array([False] * 6))
        >>> found["mean"], found["only_this"], found["p_value"]
        (1.0, 6, 0.03125)
    """
    right, right_of_other = np.asarray(right, bool), np.asarray(right_of_other, bool)
    counts = {
        "only_this": int((right & ~right_of_other).sum()),
        "only_other": int((~right & right_of_other).sum()),
        "p_value": mcnemar(right, right_of_other),
    }
    return bootstrap_mean(right.astype(float) - right_of_other, seed) | counts
