"""How well a gallery is ranked: CMC, mAP and mINP, arrays in, numbers out.

Images at the same distance are in no order. Scores are their means over all orders of such ties, so
that they do not depend on the order of the gallery, and an embedding that says nothing scores as
chance does. No order is drawn: the means are computed (`dreal_tf.retrieval.ties`).

Source: cumulative matching and average precision as in Zheng et al., "Scalable Person
Re-identification: A Benchmark", ICCV 2015, average precision without interpolation; inverse negative
penalty: Ye et al., "Deep Learning for Person Re-identification", TPAMI 2021, arXiv 2001.04193.
"""

import itertools
from typing import NamedTuple

import numpy as np

from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.retrieval.distance import MEMORY, distance_blocks, smallest
from dreal_tf.retrieval.protocol import Labels, Protocol, checked_labels, relations
from dreal_tf.retrieval.ties import TieGroups

RANKS = (1, 5, 10)


class Scores(NamedTuple):
    """How well a gallery is ranked for each query. NaN where a query has no right answer.

    Attributes:
        ranks: tuple of int.
        found: float array (queries, ranks): 1 if a right answer is among the first so many, else 0;
            between them where ties decide.
        average_precision: float array (queries,), in (0, 1].
        inverse_negative_penalty: float array (queries,), in (0, 1]: the number of right answers, over
            the rank of the last of them.
    """

    ranks: tuple
    found: np.ndarray
    average_precision: np.ndarray
    inverse_negative_penalty: np.ndarray

    @property
    def matched(self):
        """Bool array (queries,): the queries with a right answer in the gallery."""
        return ~np.isnan(self.average_precision)

    def summary(self):
        """The means over the queries with a right answer, and how many those are.

        Returns:
            Dict of float `rank_1` and so on, `mAP` and `mINP`, in [0, 1], and of int `queries` and
            `queries_without_match`, which are left out of the means.
        """
        matched = self.matched
        means = self.found[matched].mean(axis=0)
        return {
            **{f"rank_{rank}": float(mean) for rank, mean in zip(self.ranks, means, strict=True)},
            "mAP": float(self.average_precision[matched].mean()),
            "mINP": float(self.inverse_negative_penalty[matched].mean()),
            "queries": int(matched.sum()),
            "queries_without_match": int((~matched).sum()),
        }


def score_embeddings(
    query,
    gallery,
    query_labels,
    gallery_labels,
    metric="cosine",
    protocol=Protocol(),
    ranks=RANKS,
    memory=MEMORY,
):
    """Scores of the rankings that embeddings make.

    Args:
        query: float array (queries, dimensions).
        gallery: float array (images, dimensions).
        query_labels, gallery_labels: `Labels`.
        metric: str, see `dreal_tf.retrieval.distance_blocks`.
        protocol: `Protocol`.
        ranks: ints >= 1. Of the cumulative matching.
        memory: float > 0. About what the work may take beside the embeddings (MiB).
    Returns:
        `Scores`.
    Raises:
        InputError: if the arrays do not fit each other, or no query has a right answer.
    Example:
        >>> query, gallery = np.float32([[1, 0]]), np.float32([[1, 0], [1, 0.1], [1, 0.5], [0, 1]])
        >>> labels = Labels([7], [1]), Labels([7, 9, 7, 7], [1, 2, 2, 2])
        >>> scores = score_embeddings(query, gallery, *labels)  # The first is the query's own view.
        >>> round(scores.summary()["mAP"], 4), scores.summary()["rank_1"]
        (0.5833, 0.0)
    """
    blocks = distance_blocks(query, gallery, metric, memory / 3)
    return _scores(blocks, len(query), len(gallery), query_labels, gallery_labels, protocol, ranks)


def score_distances(
    distances, query_labels, gallery_labels, protocol=Protocol(), ranks=RANKS, memory=MEMORY
):
    """Scores of the rankings that distances make.

    Args:
        distances: float array (queries, images), finite; less is nearer. It may lie on disk.
        query_labels, gallery_labels, protocol, ranks, memory: see `score_embeddings`.
    Returns:
        `Scores`.
    Raises:
        InputError: as of `score_embeddings`; or if a distance is not finite.
    Example:
        >>> labels = Labels([7]), Labels([9, 7])
        >>> score_distances([[0.5, 0.5]], *labels).summary()["rank_1"]  # One order of two.
        0.5
    """
    distances = np.asanyarray(distances)
    if distances.ndim != 2 or 0 in distances.shape or distances.dtype.kind not in "fiu":
        raise InputError(
            "Expected distances, numbers (queries, images), at least one of each. Received: "
            f"{distances.dtype} of shape {distances.shape}. Give one row for each query."
        )
    rows = max(int(memory / 3 * 2**20 / (8 * distances.shape[1])), 1)
    blocks = (distances[start : start + rows] for start in range(0, len(distances), rows))
    return _scores(blocks, *distances.shape, query_labels, gallery_labels, protocol, ranks)


def ranked_gallery(
    query,
    gallery,
    query_labels,
    gallery_labels,
    count=10,
    metric="cosine",
    protocol=Protocol(),
    memory=MEMORY,
):
    """The images of a ranking's top, to be looked at; what the protocol leaves out is passed over.

    Args:
        query, gallery, query_labels, gallery_labels, metric, protocol, memory: see
            `score_embeddings`.
        count: int >= 1. Images for each query.
    Returns:
        int array (queries, count) of places in the gallery, nearest first, ties by place; -1 where
        there are no more. And a bool array of that shape: which are right answers.
    Example:
        >>> labels = Labels([7], [1]), Labels([7, 9, 7], [1, 2, 2])
        >>> places, right = ranked_gallery([[1, 0]], [[1, 0], [1, 0.1], [1, 0.5]], *labels, count=3)
        >>> places.tolist(), right.tolist()
        ([[1, 2, -1]], [[False, True, False]])
    """
    check_at_least_one(count=count)
    blocks = distance_blocks(query, gallery, metric, memory / 3)
    places = np.full((len(query), count), -1)
    right = np.zeros((len(query), count), bool)
    query_labels = checked_labels(query_labels, len(query), "query")
    gallery_labels = checked_labels(gallery_labels, len(gallery), "gallery")
    start = 0
    for block in blocks:
        rows = slice(start, start + len(block))
        answers, out = relations(_part(query_labels, rows), gallery_labels, protocol)
        block[out] = np.inf
        top = smallest(block, count)
        taken = np.take_along_axis(out, top, axis=1)
        places[rows, : top.shape[1]] = np.where(taken, -1, top)
        right[rows, : top.shape[1]] = np.take_along_axis(answers, top, axis=1)
        start += len(block)
    return places, right


def _scores(blocks, queries, images, query_labels, gallery_labels, protocol, ranks):
    check_at_least_one(ranks=min(ranks))
    query_labels = checked_labels(query_labels, queries, "query")
    gallery_labels = checked_labels(gallery_labels, images, "gallery")
    scores = Scores(
        tuple(ranks),
        np.full((queries, len(ranks)), np.nan),
        np.full(queries, np.nan),
        np.full(queries, np.nan),
    )
    start = 0
    for block in blocks:
        rows = slice(start, start + len(block))
        answers, out = relations(_part(query_labels, rows), gallery_labels, protocol)
        groups = _groups(block, answers, out)
        matched = start + groups.queries
        scores.found[matched] = groups.found(ranks)
        scores.average_precision[matched] = groups.average_precision()
        scores.inverse_negative_penalty[matched] = groups.inverse_negative_penalty()
        start += len(block)
    if not scores.matched.any():
        raise InputError(
            "Expected at least one query with a right answer in the gallery, of its identity and, if "
            f"cameras are known, by another one. Received: {queries} queries and {images} images without any. Look at the "
            "identities and cameras, or change the protocol."
        )
    return scores


def _part(labels, rows):
    return Labels(*(None if values is None else values[rows] for values in labels))


def _groups(block, answers, out):
    """Where the right answers of some queries stand, by counting what is nearer."""
    block = np.asarray(block)
    if not np.isfinite(block).all():
        raise InputError(
            "Expected finite distances. Received: NaN or infinity among them. Leave those images out, "
            "or look at what made the distances."
        )
    ordered = np.sort(np.where(out, np.inf, block), axis=1)
    query, image = np.nonzero(answers)
    distance = block[query, image]
    nearer, not_farther = np.empty(len(query), int), np.empty(len(query), int)
    edges = np.searchsorted(query, np.arange(len(block) + 1))
    for row, (begin, end) in enumerate(itertools.pairwise(edges)):
        nearer[begin:end] = np.searchsorted(ordered[row], distance[begin:end], "left")
        not_farther[begin:end] = np.searchsorted(ordered[row], distance[begin:end], "right")
    return TieGroups.of(query, nearer, not_farther)
