"""Training labels made wrong on purpose, to learn what a method does under label noise."""

import numpy as np


def with_noise(labels, share, classes, seed):
    """Labels, some of which are replaced by another class: symmetric noise.

    Args:
        labels: int array (n,).
        share: float in [0, 1). Share of the labels that are made wrong.
        classes: int >= 2.
        seed: int. The same labels are made wrong each time.
    Returns:
        int array (n,); each wrong label is any of the other classes, all as likely.
    Example:
        >>> noisy = with_noise(np.zeros(8, int), share=0.5, classes=3, seed=0)
        >>> int(np.sum(noisy > 0)), int(noisy.max()) < 3
        (4, True)
    """
    random = np.random.default_rng([seed, 1])  # Another stream than that of what is held out.
    wrong = random.permutation(len(labels))[: round(share * len(labels))]
    noisy = np.array(labels)
    noisy[wrong] = (noisy[wrong] + random.integers(1, classes, len(wrong))) % classes
    return noisy
