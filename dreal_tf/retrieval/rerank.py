"""Re-ranking by k-reciprocal neighbours: images that have each other among their nearest.

Of every image, query or gallery, only its nearest are kept, and what follows from them is sparse:
memory grows with the number of images, not with its square.

Source: Zhong, Zheng, Cao, Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR
2017, arXiv 1701.08398. Where the paper leaves something open, or its authors' program departs from
it, the program is followed, as the field's numbers come from it: distances are squared Euclidean
ones, divided for each image by the largest it has; an image's neighbourhood is itself and the k
nearest others; the expansion wants more than two thirds in common, not two thirds; weights are
divided by their sum.
"""

import numpy as np
from scipy import sparse

from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.retrieval.distance import MEMORY, distance_blocks, smallest
from dreal_tf.retrieval.embeddings import checked_pair, unit_length

PAIRS = 4096  # Distances of single pairs computed at a time.


def reranked_distances(query, gallery, k1=20, k2=6, weight=0.3, metric="cosine", memory=MEMORY):
    """Distances of queries to a gallery, mostly by the neighbours they have in common.

    (1 - weight) · Jaccard distance of the encoded k-reciprocal neighbours + weight · distance. No
    label is used: neighbours are taken of all queries and the whole gallery.

    Args:
        query: float array (queries, dimensions).
        gallery: float array (images, dimensions).
        k1: int >= 1. Neighbours of an image. Paper: 20.
        k2: int >= 1. Nearest images, itself included, over which its code is averaged; 1: not at all.
            Paper: 6.
        weight: float in [0, 1]. Of the distance itself (lambda). Paper: 0.3.
        metric: str. "cosine", or "euclidean", which here is squared. Of unit-length embeddings the
            two are the same.
        memory: float > 0. About what a block of distances may take (MiB). Beside it there are the
            result, a copy of the embeddings, and a few KiB for each image.
    Returns:
        float32 array (queries, images), in [0, 1].
    Raises:
        InputError: if the arrays do not fit each other, or an argument is out of its range.
    Example:
        >>> random = np.random.default_rng(0)
        >>> centres = np.repeat(random.normal(size=(3, 8)), 5, axis=0)
        >>> images = centres + 0.3 * random.normal(size=(15, 8))
        >>> reranked = reranked_distances(images[::5], images, k1=4, k2=2)
        >>> (reranked.argsort(axis=1)[:, :5] // 5).tolist()
        [[0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [2, 2, 2, 2, 2]]
    """
    check_at_least_one(k1=k1, k2=k2)
    if metric not in ("cosine", "euclidean") or not 0 <= weight <= 1:
        raise InputError(
            "Expected metric 'cosine' or 'euclidean', and a weight from 0 to 1. Received: "
            f"metric={metric!r}, weight={weight}. Change them."
        )
    query, gallery = checked_pair(query, gallery)
    images = np.concatenate([query, gallery])
    if metric == "cosine":  # Half the squared Euclidean distance of these; its scale is taken out.
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
    """The nearest images of each, itself first, and its largest distance."""
    neighbours = np.empty((len(images), min(count, len(images))), np.int32)
    largest, start = np.empty(len(images), np.float32), 0
    for block in distance_blocks(images, images, metric, memory / 3):
        rows = np.arange(start, start + len(block))
        largest[rows] = block.max(axis=1)
        block[np.arange(len(block)), rows] = -1  # Also before copies of itself.
        neighbours[rows] = smallest(block, count)
        start += len(block)
    return neighbours, np.where(largest > 0, largest, 1)


def _membership(neighbours, kind):
    """Sparse (images, images): 1 where the second is a neighbour of the first."""
    images, count = neighbours.shape
    ones = np.ones(neighbours.size, kind)
    starts = np.arange(0, neighbours.size + 1, count)
    return sparse.csr_array((ones, neighbours.ravel(), starts), shape=(images, images))


def _reciprocal(neighbours):
    member = _membership(neighbours, np.int32)
    return member.multiply(member.T).tocsr()


def _codes(images, neighbours, largest, k1, metric):
    """Sparse (images, images): weights of each image's expanded k-reciprocal neighbours."""
    mutual = _reciprocal(neighbours)
    half = _reciprocal(neighbours[:, : int(np.around(k1 / 2)) + 1])
    # A neighbour brings its own ones along where more than two thirds of them are neighbours already.
    common = mutual.multiply(mutual @ half.T).tocsr()
    sizes = np.diff(half.indptr)
    common.data = (3 * common.data > 2 * sizes[common.indices]).astype(np.int32)
    members = (mutual + common @ half).tocoo()
    members.eliminate_zeros()
    distances = _pair_distances(images, members.row, members.col, metric) / largest[members.row]
    code = sparse.csr_array((np.exp(-distances), (members.row, members.col)), shape=members.shape)
    return code.multiply(1.0 / code.sum(axis=1)[:, None]).tocsr()


def _pair_distances(images, first, second, metric):
    """Distances of pairs of images, some pairs at a time."""
    found = np.empty(len(first), np.float32)
    for start in range(0, len(first), PAIRS):
        part = slice(start, start + PAIRS)
        one, other = images[first[part]], images[second[part]]
        if metric == "cosine":
            found[part] = 1 - np.einsum("ij,ij->i", one, other)
        else:
            found[part] = np.square(one - other).sum(axis=1)
    return np.maximum(found, 0)


def _jaccard(indices, data, bounds, columns):
    """Jaccard distances of one image's code, which sums to 1, to all the gallery's.

    The sum of minima runs over the images that both codes weigh: the columns of one code, of each
    the gallery's entries.
    """
    own, weights = indices[slice(*bounds)], data[slice(*bounds)]
    starts, counts = columns.indptr[own], np.diff(columns.indptr)[own]
    entries = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    smaller = np.minimum(np.repeat(weights, counts), columns.data[entries])
    common = np.bincount(columns.indices[entries], smaller, columns.shape[0])
    return np.maximum(1 - common / (2 - common), 0)
