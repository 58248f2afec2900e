"""Handwritten digits: 1,797 grey images of 8×8 pixels, embedded in scikit-learn."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dreal_tf.data.arrays import from_arrays
from dreal_tf.data.catalogue import normalisation_of


def digits(**options):
    """The digits' splits. The test split, a fifth of each class, is the same for every seed.

    Args:
        options: fields of `dreal_tf.data.Options`, such as `batch_size`, `seed` and `flip`.
    Returns:
        `Splits`.
    Example:
        >>> digits(batch_size=64).sizes
        {'train': 1293, 'validation': 144, 'test': 360}
    Source: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998.
    """
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).reshape(-1, 8, 8, 1).astype("float32")
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, random_state=0, stratify=labels
    )
    mean, deviation = normalisation_of("digits", channels=1)
    return from_arrays(
        (train_images, train_labels),
        (test_images, test_labels),
        class_names=[str(digit) for digit in range(10)],
        mean=mean,
        deviation=deviation,
        **options,
    )
