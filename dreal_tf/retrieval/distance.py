"""Distances between embeddings, in blocks of rows, so that memory stays bounded."""

import numpy as np
from sklearn.metrics import pairwise_distances_chunked

from dreal_tf.errors import unknown_name
from dreal_tf.retrieval.embeddings import checked_pair

# What scikit-learn calls each metric.
METRICS = {
    "cosine": {"metric": "cosine"},
    "euclidean": {"metric": "euclidean"},
    "squared_euclidean": {"metric": "euclidean", "squared": True},
}
MEMORY = 256  # MiB that a block's work may take, about.


def distance_blocks(query, gallery, metric="cosine", memory=MEMORY):
    """Distances of queries to the whole gallery, some queries at a time.

    Args:
        query: float array (queries, dimensions).
        gallery: float array (images, dimensions).
        metric: str, of `METRICS`. "cosine": 1 - cosine, from 0 to 2; 1 to a row of zeros.
        memory: float > 0. About what a block and the work on it may take (MiB).
    Returns:
        Iterator of float32 arrays (some queries, images), at least one query each, in order.
    Raises:
        InputError: if the arrays are no embeddings or the metric is unknown.
    Example:
        >>> blocks = distance_blocks([[1, 0], [0, 2], [0, 0]], [[0, 1], [3, 4]], memory=1e-5)
        >>> [block.round(1).tolist() for block in blocks]
        [[[1.0, 0.4000000059604645]], [[0.0, 0.20000000298023224]], [[1.0, 1.0]]]
    Source: scikit-learn's `pairwise_distances_chunked`, which computes Euclidean distances of float32
        in float64, as they are differences of large numbers.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    query, gallery = checked_pair(query, gallery)
    row = 8 * len(gallery) / 2**20  # As scikit-learn reckons it.
    return pairwise_distances_chunked(
        query, gallery, working_memory=max(memory, row), **METRICS[metric]
    )


def distances(query, gallery, metric="cosine"):
    """All distances at once: four bytes times queries times images.

    Args:
        query, gallery, metric: see `distance_blocks`.
    Returns:
        float32 array (queries, images).
    Example:
        >>> distances([[0, 0]], [[3, 4]], "euclidean").tolist()
        [[5.0]]
    """
    return np.concatenate(list(distance_blocks(query, gallery, metric)))


def smallest(values, count):
    """Where the smallest values of each row are, nearest first; among equals, the leftmost.

    Args:
        values: float array (rows, columns).
        count: int >= 1. How many; at most `columns` are found.
    Returns:
        int array (rows, min(count, columns)).
    Example:
        >>> smallest(np.array([[3, 1, 2, 1, 1]]), 3).tolist()
        [[1, 3, 4]]
    """
    if count >= values.shape[1]:
        return np.argsort(values, axis=1, kind="stable")
    found = np.argpartition(values, count - 1, axis=1)[:, :count]
    found.sort(axis=1)
    chosen = np.take_along_axis(values, found, axis=1)
    # Of values equal to the last one taken, the partition takes any.
    last = chosen.max(axis=1, keepdims=True)
    tied = np.flatnonzero((values <= last).sum(axis=1) > count)
    if tied.size:
        found[tied] = np.argsort(values[tied], axis=1, kind="stable")[:, :count]
        chosen[tied] = np.take_along_axis(values[tied], found[tied], axis=1)
    return np.take_along_axis(found, np.argsort(chosen, axis=1, kind="stable"), axis=1)
