"""Ranks a gallery for each query and scores the rankings."""

import itertools
from typing import NamedTuple

import numpy as np

from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.retrieval.distance import MEMORY, distance_blocks, smallest
from dreal_tf.retrieval.protocol import Labels, Protocol, checked_labels, relations


class TieGroups(NamedTuple):
    """The images at each distance at which a query has right answers, nearest first.

    Attributes:
        queries: int array (queries,): the queries with right answers, ascending.
        first: int array (queries,): each one's first group.
        query: int array (groups,): each group's place in `queries`.
        before: int array (groups,): images that are nearer.
        size: int array (groups,): images at the distance.
        right: int array (groups,): right answers among them, at least one.
        right_before: int array (groups,): right answers that are nearer.
    """

    queries: np.ndarray
    first: np.ndarray
    query: np.ndarray
    before: np.ndarray
    size: np.ndarray
    right: np.ndarray
    right_before: np.ndarray

    @classmethod
    def of(cls, query, nearer, not_farther):
        """The groups of some right answers.

        Args:
            query: int array (right answers,), ascending.
            nearer: int array (right answers,). Images, right or wrong, nearer to the query.
            not_farther: int array (right answers,). Images no farther, itself included.
        Returns:
            `TieGroups`.
        Example:
            >>> groups = TieGroups.of(np.array([4, 4, 4]), np.array([5, 0, 5]), np.array([9, 1, 9]))
            >>> groups.queries.tolist(), groups.size.tolist(), groups.right.tolist()
            ([4], [1, 4], [1, 2])
        """
        order = np.lexsort((nearer, query))
        query, nearer, not_farther = query[order], nearer[order], not_farther[order]
        begins = np.ones(len(query), bool)
        begins[1:] = (query[1:] != query[:-1]) | (nearer[1:] != nearer[:-1])
        starts = np.flatnonzero(begins)
        right = np.diff(np.append(starts, len(query)))
        queries, first, place = np.unique(query[starts], return_index=True, return_inverse=True)
        before = nearer[starts]
        size = not_farther[starts] - before
        return cls(queries, first, place, before, size, right, starts - starts[first][place])

    def found(self, ranks):
        """The chance that a right answer is among the first so many.

        Args:
            ranks: ints >= 1.
        Returns:
            Float array (queries, ranks).
        Example:
            >>> one_of_four = TieGroups.of(np.array([0]), np.array([0]), np.array([4]))
            >>> one_of_four.found([1, 2, 5]).round(6).tolist()
            [[0.25, 0.5, 1.0]]
        """
        before, size, right = (
            part[self.first][:, None] for part in (self.before, self.size, self.right)
        )
        within = np.clip(np.asarray(ranks) - before, 0, size)  # Images of the group up to that rank.
        # All its right answers beyond that rank: C(size - within, right) of C(size, right) orders.
        return 1.0 - np.exp(_log_choose(size - within, right) - _log_choose(size, right))

    def average_precision(self):
        """The expected mean of the precision at each right answer.

        Returns:
            Float array (queries,).
        Example:
            >>> one_of_two = TieGroups.of(np.array([0]), np.array([0]), np.array([2]))
            >>> one_of_two.average_precision().round(6).tolist()
            [0.75]
        """
        harmonic = _harmonic(self.before, self.before + self.size)
        # A right answer at place i of its group has (i - 1) · slope right ones before it there.
        slope = (self.right - 1) / np.maximum(self.size - 1, 1)
        constant = self.right_before + 1 - slope
        precision = slope * self.size + (constant - slope * self.before) * harmonic
        precision = precision * self.right / self.size
        total = np.bincount(self.query, self.right)
        return np.bincount(self.query, precision) / total

    def inverse_negative_penalty(self):
        """The expected number of right answers over the rank of the last of them.

        Returns:
            Float array (queries,).
        Example:
            >>> one_of_two = TieGroups.of(np.array([0]), np.array([0]), np.array([2]))
            >>> one_of_two.inverse_negative_penalty().round(6).tolist()
            [0.75]
        """
        last = np.cumsum(np.bincount(self.query)) - 1  # Of each query's groups.
        before, size, right = self.before[last], self.size[last], self.right[last]
        inverse = 1.0 / (before + size)  # Where all of the group are right answers.
        for row in np.flatnonzero(right < size):
            place = np.arange(right[row], size[row] + 1)  # Of the last right answer in the group.
            log_chance = _log_choose(place - 1, right[row] - 1) - _log_choose(size[row], right[row])
            inverse[row] = np.sum(np.exp(log_chance) / (before[row] + place))
        return np.bincount(self.query, self.right) * inverse


def _log_choose(n, k):
    """Log of the number of ways to choose k of n; minus infinity where there is none."""
    from scipy.special import gammaln  # Only who ranks waits for SciPy.

    possible = k <= n
    n = np.where(possible, n, k)
    return np.where(possible, gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), -np.inf)


def _harmonic(start, end):
    """1/(start + 1) + ... + 1/end, of arrays of ints."""
    sums = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, end.max(initial=1) + 1))])
    return np.where(end == start + 1, 1.0 / end, sums[end] - sums[start])


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
