"""Improves rankings: query expansion and k-reciprocal re-ranking."""

import numpy as np

from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.retrieval.distance import MEMORY, checked_pair, distance_blocks, smallest, unit_length


def expanded_queries(query, gallery, count=10, alpha=3.0, memory=MEMORY):
    """The normalised weighted sum of each query and its nearest gallery images.

    The query has weight 1, an image the cosine between it and the query, at least 0, to the power of
    alpha. With alpha = 0 all weights are 1: average query expansion. It uses no labels: neighbours
    come from the whole gallery, images that a protocol excludes among them.

    Args:
        query: float array (queries, dimensions).
        gallery: float array (images, dimensions).
        count: int >= 1. Images that expand a query; at most those of the gallery.
        alpha: float >= 0. Radenović et al. use 3.
        memory: float > 0. Approximate memory for the work, embeddings not included (MiB).
    Returns:
        float32 array (queries, dimensions), of unit length.
    Raises:
        InputError: if the arrays do not match, or alpha is below 0.
    Example:
        >>> expanded_queries([[1, 0]], [[0, 2], [-1, 0]], count=1, alpha=0).round(3).tolist()
        [[0.7070000171661377, 0.7070000171661377]]
        >>> expanded_queries([[1, 0]], [[0, 2], [-1, 0]], count=1).tolist()  # No image is similar.
        [[1.0, 0.0]]
    Source: Chum et al., "Total Recall", ICCV 2007 (average); Radenović, Tolias, Chum, "Fine-tuning
        CNN Image Retrieval with No Human Annotation", TPAMI 2018, arXiv 1711.02512 (alpha).
    """
    check_at_least_one(count=count)
    if alpha < 0:
        raise InputError(f"`alpha` must be at least 0. Received: alpha={alpha}. Raise it.")
    query, gallery = (unit_length(part) for part in checked_pair(query, gallery))
    expanded, start = np.empty_like(query), 0
    for block in distance_blocks(query, gallery, memory=memory / 3):
        rows = slice(start, start + len(block))
        positions = smallest(block, count)
        cosines = np.maximum(1 - np.take_along_axis(block, positions, axis=1), 0)
        joined = query[rows].copy()
        for position, weight in zip(positions.T, (cosines**alpha).T, strict=True):
            joined += weight[:, None] * gallery[position]
        expanded[rows] = unit_length(joined)
        start += len(block)
    return expanded


PAIRS = 4096  # Distances of single pairs computed at a time.


def reranked_distances(query, gallery, k1=20, k2=6, weight=0.3, metric="cosine", memory=MEMORY):
    """Distances of queries to a gallery that depend mostly on common neighbours.

    (1 - weight) · Jaccard distance of the encoded k-reciprocal neighbours + weight · distance. It
    uses no labels: neighbours come from all queries and the whole gallery.

    Args:
        query: float array (queries, dimensions).
        gallery: float array (images, dimensions).
        k1: int >= 1. Neighbours of an image. Paper: 20.
        k2: int >= 1. Nearest images, itself included, over which its code is averaged; 1 for no
            averaging. Paper: 6.
        weight: float in [0, 1]. Weight of the plain distance (lambda). Paper: 0.3.
        metric: str. "cosine", or "euclidean", which is squared here. For unit-length embeddings
            both give the same result.
        memory: float > 0. Approximate memory for a block of distances (MiB). The result, a copy
            of the embeddings, and a few KiB for each image add to it.
    Returns:
        float32 array (queries, images), in [0, 1].
    Raises:
        InputError: if the arrays do not match, or an argument is out of its range.
    Example:
        >>> random = np.random.default_rng(0)
        >>> centres = np.repeat(random.normal(size=(3, 8)), 5, axis=0)
        >>> images = centres + 0.3 * random.normal(size=(15, 8))
        >>> reranked = reranked_distances(images[::5], images, k1=4, k2=2)
        >>> (reranked.argsort(axis=1)[:, :5] // 5).tolist()
        [[0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [2, 2, 2, 2, 2]]
    Source: Zhong, Zheng, Cao, Li, "Re-ranking Person Re-identification with k-reciprocal Encoding",
        CVPR 2017, arXiv 1701.08398. If the paper is open or differs from its authors' program, this
        follows the program, from which the field's numbers come: distances are squared Euclidean
        ones, divided for each image by its largest; an image's neighbourhood is itself and the k
        nearest others; the expansion needs more than two thirds in common; weights are divided by
        their sum. Only the nearest images are stored, so memory grows with the number of images, not
        with its square.
    """
    check_at_least_one(k1=k1, k2=k2)
    if metric not in ("cosine", "euclidean") or not 0 <= weight <= 1:
        raise InputError(
            "Expected metric 'cosine' or 'euclidean', and a weight from 0 to 1. Received: "
            f"metric={metric!r}, weight={weight}. Change them."
        )
    query, gallery = checked_pair(query, gallery)
    images = np.concatenate([query, gallery])
    if metric == "cosine":  # Half their squared Euclidean distance; the scale cancels below.
        images = unit_length(images)
    metric = {"cosine": "cosine", "euclidean": "squared_euclidean"}[metric]
    neighbours, largest = _neighbourhoods(images, k1 + 1, metric, memory)
    code = _codes(images, neighbours, largest, k1, metric)
    if k2 > 1:
        nearest = neighbours[:, :k2]
        code = (_membership(nearest, np.float32) @ code).multiply(1.0 / nearest.shape[1]).tocsr()
    result = np.empty((len(query), len(gallery)), np.float32)
    columns, start = code[len(query) :].tocsc(), 0
    for block in distance_blocks(images[: len(query)], images[len(query) :], metric, memory / 3):
        for row, distance in enumerate(block, start):
            jaccard = _jaccard(code.indices, code.data, code.indptr[row : row + 2], columns)
            result[row] = (1 - weight) * jaccard + weight * distance / largest[row]
        start += len(block)
    return result


def _neighbourhoods(images, count, metric, memory):
    """The nearest images of each image, itself first, and its largest distance."""
    neighbours = np.empty((len(images), min(count, len(images))), np.int32)
    largest, start = np.empty(len(images), np.float32), 0
    for block in distance_blocks(images, images, metric, memory / 3):
        rows = np.arange(start, start + len(block))
        largest[rows] = block.max(axis=1)
        block[np.arange(len(block)), rows] = -1  # It precedes copies of itself too.
        neighbours[rows] = smallest(block, count)
        start += len(block)
    return neighbours, np.where(largest > 0, largest, 1)


def _membership(neighbours, kind):
    """Sparse (images, images): 1 where the second is a neighbour of the first."""
    from scipy import sparse  # Imported late: it is slow, and few commands rank.

    images, count = neighbours.shape
    ones = np.ones(neighbours.size, kind)
    starts = np.arange(0, neighbours.size + 1, count)
    return sparse.csr_array((ones, neighbours.ravel(), starts), shape=(images, images))


def _reciprocal(neighbours):
    member = _membership(neighbours, np.int32)
    return member.multiply(member.T).tocsr()


def _codes(images, neighbours, largest, k1, metric):
    """Sparse (images, images): weights of each image's expanded k-reciprocal neighbours."""
    from scipy import sparse

    mutual = _reciprocal(neighbours)
    half = _reciprocal(neighbours[:, : int(np.around(k1 / 2)) + 1])
    # A neighbour adds its own neighbours if more than two thirds of them are neighbours already.
    common = mutual.multiply(mutual @ half.T).tocsr()
    sizes = np.diff(half.indptr)
    common.data = (3 * common.data > 2 * sizes[common.indices]).astype(np.int32)
    members = (mutual + common @ half).tocoo()
    members.eliminate_zeros()
    distances = _pair_distances(images, members.row, members.col, metric) / largest[members.row]
    code = sparse.csr_array((np.exp(-distances), (members.row, members.col)), shape=members.shape)
    return code.multiply(1.0 / code.sum(axis=1)[:, None]).tocsr()


def _pair_distances(images, first, second, metric):
    """Distances of pairs of images, a block of pairs at a time."""
    distances = np.empty(len(first), np.float32)
    for start in range(0, len(first), PAIRS):
        part = slice(start, start + PAIRS)
        one, other = images[first[part]], images[second[part]]
        if metric == "cosine":
            distances[part] = 1 - np.einsum("ij,ij->i", one, other)
        else:
            distances[part] = np.square(one - other).sum(axis=1)
    return np.maximum(distances, 0)


def _jaccard(indices, data, bounds, columns):
    """Jaccard distances of one image's code, which sums to 1, to all codes of the gallery.

    Only images with a weight in both codes add to the sum of minima: for each column of one code,
    the gallery's entries in that column.
    """
    own, weights = indices[slice(*bounds)], data[slice(*bounds)]
    starts, counts = columns.indptr[own], np.diff(columns.indptr)[own]
    entries = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    smaller = np.minimum(np.repeat(weights, counts), columns.data[entries])
    common = np.bincount(columns.indices[entries], smaller, columns.shape[0])
    return np.maximum(1 - common / (2 - common), 0)
