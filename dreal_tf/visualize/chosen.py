"""Which images are shown: by a rule, not by hand."""

import numpy as np

from dreal_tf.errors import InputError


def chosen_images(labels, count, seed=0):
    """Positions of images to show, right or wrong answers alike.

    Classes are drawn without replacement, again from all of them once each has been drawn; of each
    drawn class one of its images that was not chosen before.

    Args:
        labels: int array (n,), of the split they are chosen from.
        count: int >= 1. How many.
        seed: int.
    Returns:
        Int array (count,), positions in `labels`, by label.
    Raises:
        InputError: if there are fewer images than that.
    Example:
        >>> labels = np.arange(40) % 10
        >>> labels[chosen_images(labels, 10)].tolist()
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    labels = np.asarray(labels)
    if not 1 <= count <= len(labels):
        raise InputError(
            f"Expected from 1 to {len(labels)} images to show, as many as there are. Received: "
            f"count={count}. Choose another number."
        )
    random = np.random.default_rng(seed)
    left = {
        label: list(random.permutation(np.flatnonzero(labels == label))) for label in np.unique(labels)
    }
    chosen = []
    while len(chosen) < count:
        round_ = random.permutation(sorted(label for label, places in left.items() if places))
        chosen += [int(left[label].pop()) for label in round_[: count - len(chosen)]]
    return np.array(sorted(chosen, key=lambda position: (labels[position], position)))
