"""Ranks a gallery for each query and scores the rankings."""

import itertools
from typing import NamedTuple

import numpy as np

from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.retrieval.distance import MEMORY, distance_blocks, smallest

RANKS = (1, 5, 10)


class Labels(NamedTuple):
    """The identity and camera of each image of a set.

    Attributes:
        identities: int array (images,).
        cameras: int array (images,), or None if unknown: then no camera's images are excluded.
        images: int array (images,), a number for each image, or None. If both sets have numbers, a
            query is not ranked against itself.
    Example:
        >>> Labels([7, 7, 9], cameras=[1, 2, 1]).identities
        [7, 7, 9]
    """

    identities: object
    cameras: object = None
    images: object = None


class Protocol(NamedTuple):
    """The gallery images that a query is ranked against.

    The defaults are those of Market-1501, also used with DukeMTMC-reID, MSMT17 and VeRi-776.

    Attributes:
        exclude_same_camera: bool. Exclude, for each query, the images of its identity by its
            camera.
        junk: int or None. Identity of images that are excluded for all queries, such as bad
            detections.
        distractor: int or None. Identity of images that match no query, each other included. If 0
            is an ordinary identity, set it to None.
    """

    exclude_same_camera: bool = True
    junk: int | None = -1
    distractor: int | None = 0


def relations(query, gallery, protocol):
    """The correct gallery images for each query, and the excluded ones.

    Args:
        query, gallery: `Labels`, checked.
        protocol: `Protocol`.
    Returns:
        Two bool arrays (queries, images): correct matches, and excluded images; no image is both.
    Raises:
        InputError: if cameras are known for only one of the sets.
    Example:
        >>> query, gallery = Labels(np.array([7]), np.array([1])), np.array([7, 7, 0, -1])
        >>> correct, excluded = relations(query, Labels(gallery, np.array([1, 2, 2, 2])), Protocol())
        >>> correct.astype(int).tolist(), excluded.astype(int).tolist()
        ([[0, 1, 0, 0]], [[1, 0, 0, 1]])
    """
    if (query.cameras is None) != (gallery.cameras is None):
        raise InputError(
            "Expected cameras of both query and gallery, or of neither. Received: cameras of one. Give "
            "both or none."
        )
    excluded = np.zeros((len(query.identities), len(gallery.identities)), bool)
    same = query.identities[:, None] == gallery.identities
    if protocol.exclude_same_camera and query.cameras is not None:
        excluded |= same & (query.cameras[:, None] == gallery.cameras)
    if query.images is not None and gallery.images is not None:
        excluded |= query.images[:, None] == gallery.images
    if protocol.junk is not None:
        excluded |= gallery.identities == protocol.junk
    if protocol.distractor is not None:
        same &= gallery.identities != protocol.distractor
    return same & ~excluded, excluded


def _checked_labels(labels, images, name):
    """Labels as int arrays with one entry for each image."""
    checked = []
    for kind, values in zip(("identities", "cameras", "numbers"), labels, strict=True):
        values = None if values is None and kind != "identities" else np.asarray(values)
        if values is not None and (values.shape != (images,) or values.dtype.kind not in "iu"):
            raise InputError(
                f"Expected {images} {name} {kind} that are whole numbers, one for each image. Received: "
                f"{values.dtype} of shape {values.shape}. Number them."
            )
        checked.append(values)
    return Labels(*checked)


class TieGroups(NamedTuple):
    """The gallery images at each distance at which a query has matches, nearest first.

    Attributes:
        queries: int array (queries,): the queries with matches, ascending.
        first: int array (queries,): each query's first group.
        query: int array (groups,): each group's position in `queries`.
        before: int array (groups,): number of images nearer than the group.
        size: int array (groups,): number of images in the group.
        matches: int array (groups,): number of matches among them, at least one.
        matches_before: int array (groups,): number of matches nearer than the group.
    """

    queries: np.ndarray
    first: np.ndarray
    query: np.ndarray
    before: np.ndarray
    size: np.ndarray
    matches: np.ndarray
    matches_before: np.ndarray

    @classmethod
    def of(cls, query, nearer, not_farther):
        """The groups of some matches.

        Args:
            query: int array (matches,), ascending.
            nearer: int array (matches,). Number of images, matches or not, nearer to the query.
            not_farther: int array (matches,). Number of images not farther, itself included.
        Returns:
            `TieGroups`.
        Example:
            >>> groups = TieGroups.of(np.array([4, 4, 4]), np.array([5, 0, 5]), np.array([9, 1, 9]))
            >>> groups.queries.tolist(), groups.size.tolist(), groups.matches.tolist()
            ([4], [1, 4], [1, 2])
        """
        order = np.lexsort((nearer, query))
        query, nearer, not_farther = query[order], nearer[order], not_farther[order]
        is_first = np.ones(len(query), bool)
        is_first[1:] = (query[1:] != query[:-1]) | (nearer[1:] != nearer[:-1])
        starts = np.flatnonzero(is_first)
        matches = np.diff(np.append(starts, len(query)))
        queries, first, position = np.unique(query[starts], return_index=True, return_inverse=True)
        before = nearer[starts]
        size = not_farther[starts] - before
        return cls(queries, first, position, before, size, matches, starts - starts[first][position])

    def cmc(self, ranks):
        """The probability that a match is among the first images.

        Args:
            ranks: ints >= 1.
        Returns:
            Float array (queries, ranks).
        Example:
            >>> one_of_four = TieGroups.of(np.array([0]), np.array([0]), np.array([4]))
            >>> one_of_four.cmc([1, 2, 5]).round(6).tolist()
            [[0.25, 0.5, 1.0]]
        """
        before, size, matches = (
            part[self.first][:, None] for part in (self.before, self.size, self.matches)
        )
        within = np.clip(np.asarray(ranks) - before, 0, size)  # Images of the group up to that rank.
        # All its matches lie beyond that rank in C(size - within, matches) of C(size, matches) orders.
        return 1.0 - np.exp(_log_choose(size - within, matches) - _log_choose(size, matches))

    def average_precision(self):
        """The expected mean of the precision at each match.

        Returns:
            Float array (queries,).
        Example:
            >>> one_of_two = TieGroups.of(np.array([0]), np.array([0]), np.array([2]))
            >>> one_of_two.average_precision().round(6).tolist()
            [0.75]
        """
        harmonic = _harmonic(self.before, self.before + self.size)
        # A match at position i of its group has on average (i - 1) * slope matches before it there.
        slope = (self.matches - 1) / np.maximum(self.size - 1, 1)
        constant = self.matches_before + 1 - slope
        precision = slope * self.size + (constant - slope * self.before) * harmonic
        precision = precision * self.matches / self.size
        return np.bincount(self.query, precision) / np.bincount(self.query, self.matches)

    def inverse_negative_penalty(self):
        """The expected number of matches over the rank of the last match.

        Returns:
            Float array (queries,).
        Example:
            >>> one_of_two = TieGroups.of(np.array([0]), np.array([0]), np.array([2]))
            >>> one_of_two.inverse_negative_penalty().round(6).tolist()
            [0.75]
        """
        last = np.cumsum(np.bincount(self.query)) - 1  # Each query's last group.
        before, size, matches = self.before[last], self.size[last], self.matches[last]
        inverse = 1.0 / (before + size)  # If the whole group matches.
        for row in np.flatnonzero(matches < size):
            position = np.arange(matches[row], size[row] + 1)  # Possible positions of the last match.
            log_chance = _log_choose(position - 1, matches[row] - 1) - _log_choose(
                size[row], matches[row]
            )
            inverse[row] = np.sum(np.exp(log_chance) / (before[row] + position))
        return np.bincount(self.query, self.matches) * inverse


def _log_choose(n, k):
    """Log of the number of ways to choose k of n; minus infinity if there is none."""
    from scipy.special import gammaln  # Imported late: it is slow, and few commands rank.

    possible = k <= n
    n = np.where(possible, n, k)
    return np.where(possible, gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), -np.inf)


def _harmonic(start, end):
    """1/(start + 1) + ... + 1/end, for arrays of ints."""
    sums = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, end.max(initial=1) + 1))])
    return np.where(end == start + 1, 1.0 / end, sums[end] - sums[start])


class Scores(NamedTuple):
    """Scores of the ranking for each query, averaged over all orders of tied images.

    All scores of a query without a match are NaN.

    Attributes:
        ranks: tuple of int.
        cmc: float array (queries, ranks): cumulative matching characteristic, 1 if a match is among
            the first images, else 0; between them if ties decide.
        average_precision: float array (queries,), in (0, 1].
        inverse_negative_penalty: float array (queries,), in (0, 1]: the number of matches over the
            rank of the last match.
    """

    ranks: tuple
    cmc: np.ndarray
    average_precision: np.ndarray
    inverse_negative_penalty: np.ndarray

    @property
    def matched(self):
        """Bool array (queries,): whether the gallery has a match for the query."""
        return ~np.isnan(self.average_precision)

    def summary(self):
        """The means over the queries with a match, and the numbers of queries.

        Returns:
            Dict of float `rank_1` and so on, `mAP` and `mINP`, in [0, 1], and of int `queries` and
            `queries_without_match`, which the means exclude.
        """
        matched = self.matched
        means = self.cmc[matched].mean(axis=0)
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
        ranks: ints >= 1, of the cumulative matching characteristic.
        memory: float > 0. Approximate memory for the work, embeddings not included (MiB).
    Returns:
        `Scores`.
    Raises:
        InputError: if the arrays do not match, or no query has a match.
    Example:
        >>> query, gallery = np.float32([[1, 0]]), np.float32([[1, 0], [1, 0.1], [1, 0.5], [0, 1]])
        >>> labels = Labels([7], [1]), Labels([7, 9, 7, 7], [1, 2, 2, 2])
        >>> scores = score_embeddings(query, gallery, *labels)  # The first is by the query's camera.
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
        distances: float array (queries, images), finite; less is nearer. It may be a memory map.
        query_labels, gallery_labels, protocol, ranks, memory: see `score_embeddings`.
    Returns:
        `Scores`.
    Raises:
        InputError: as `score_embeddings`; or if a distance is not finite.
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
    """The first images of each ranking, without those that the protocol excludes.

    Args:
        query, gallery, query_labels, gallery_labels, metric, protocol, memory: see
            `score_embeddings`.
        count: int >= 1. Images for each query.
    Returns:
        Int array (queries, count) of positions in the gallery, nearest first, ties in its order; -1
        if there are no more. And a bool array of that shape: whether the image matches.
    Example:
        >>> labels = Labels([7], [1]), Labels([7, 9, 7], [1, 2, 2])
        >>> positions, matches = ranked_gallery(
        ...     [[1, 0]], [[1, 0], [1, 0.1], [1, 0.5]], *labels, count=3
        ... )
        >>> positions.tolist(), matches.tolist()
        ([[1, 2, -1]], [[False, True, False]])
    """
    check_at_least_one(count=count)
    blocks = distance_blocks(query, gallery, metric, memory / 3)
    positions = np.full((len(query), count), -1)
    is_match = np.zeros((len(query), count), bool)
    labels = _checked_labels(query_labels, len(query), "query")
    gallery_labels = _checked_labels(gallery_labels, len(gallery), "gallery")
    for rows, block, matches, excluded in _related(blocks, labels, gallery_labels, protocol):
        block[excluded] = np.inf
        top = smallest(block, count)
        dropped = np.take_along_axis(excluded, top, axis=1)
        positions[rows, : top.shape[1]] = np.where(dropped, -1, top)
        is_match[rows, : top.shape[1]] = np.take_along_axis(matches, top, axis=1)
    return positions, is_match


def _related(blocks, query_labels, gallery_labels, protocol):
    """Each block of distances with its rows, its matches and its excluded images."""
    start = 0
    for block in blocks:
        rows = slice(start, start + len(block))
        labels = Labels(*(None if values is None else values[rows] for values in query_labels))
        yield rows, block, *relations(labels, gallery_labels, protocol)
        start += len(block)


def _scores(blocks, queries, images, query_labels, gallery_labels, protocol, ranks):
    check_at_least_one(ranks=min(ranks))
    labels = _checked_labels(query_labels, queries, "query")
    gallery_labels = _checked_labels(gallery_labels, images, "gallery")
    cmc = np.full((queries, len(ranks)), np.nan)
    scores = Scores(tuple(ranks), cmc, np.full(queries, np.nan), np.full(queries, np.nan))
    for rows, block, matches, excluded in _related(blocks, labels, gallery_labels, protocol):
        groups = _tie_groups(block, matches, excluded)
        matched = rows.start + groups.queries
        scores.cmc[matched] = groups.cmc(ranks)
        scores.average_precision[matched] = groups.average_precision()
        scores.inverse_negative_penalty[matched] = groups.inverse_negative_penalty()
    if not scores.matched.any():
        raise InputError(
            "Expected at least one query with a match in the gallery, of its identity and, if cameras "
            f"are known, by another one. Received: {queries} queries and {images} images without any. "
            "Check the identities and cameras, or change the protocol."
        )
    return scores


def _tie_groups(block, matches, excluded):
    """The groups of the matches of some queries, by counting the nearer images."""
    block = np.asarray(block)
    if not np.isfinite(block).all():
        raise InputError(
            "Expected finite distances. Received: NaN or infinity among them. Remove those images, or "
            "check how the distances are made."
        )
    ordered = np.sort(np.where(excluded, np.inf, block), axis=1)
    query, image = np.nonzero(matches)
    distance = block[query, image]
    nearer, not_farther = np.empty(len(query), int), np.empty(len(query), int)
    edges = np.searchsorted(query, np.arange(len(block) + 1))
    for row, (begin, end) in enumerate(itertools.pairwise(edges)):
        nearer[begin:end] = np.searchsorted(ordered[row], distance[begin:end], "left")
        not_farther[begin:end] = np.searchsorted(ordered[row], distance[begin:end], "right")
    return TieGroups.of(query, nearer, not_farther)
