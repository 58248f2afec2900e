"""Ranks a gallery for each query and scores the rankings."""

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


def expected_scores(before, size, matches, ranks):
    """Scores of one query, each its mean over all orders of tied images.

    Only groups of equally distant images that contain matches count, nearest first.

    Args:
        before: int array (groups,): number of images nearer than each group.
        size: int array (groups,): number of images in each group.
        matches: int array (groups,): number of matches among them, at least one.
        ranks: ints >= 1.
    Returns:
        Float array (ranks,), the probability that a match is among the first images; float, the
        average precision; float, the number of matches over the rank of the last match.
    Example:
        >>> cmc, precision, penalty = expected_scores(*np.array([[0], [2], [1]]), ranks=[1, 2])
        >>> cmc.round(6).tolist(), round(float(precision), 6), round(float(penalty), 6)
        ([0.5, 1.0], 0.75, 0.75)
    """
    from scipy.special import digamma  # Imported late: it is slow, and few commands rank.

    within = np.clip(np.asarray(ranks) - before[0], 0, size[0])  # Images of the first group by rank.
    # All its matches lie beyond that rank in C(size - within, matches) of C(size, matches) orders.
    beyond = np.exp(_log_choose(size[0] - within, matches[0]) - _log_choose(size[0], matches[0]))
    # The sum of 1 / rank over each group, exact for single images.
    harmonic = np.where(
        size == 1, 1 / (before + 1), digamma(before + size + 1.0) - digamma(before + 1.0)
    )
    # A match at position i of its group has on average (i - 1) * slope matches before it there.
    slope = (matches - 1) / np.maximum(size - 1, 1)
    constant = np.cumsum(matches) - matches + 1 - slope
    precision = slope * size + (constant - slope * before) * harmonic
    total = matches.sum()
    position = np.arange(matches[-1], size[-1] + 1)  # Possible positions of the last match.
    chance = np.exp(_log_choose(position - 1, matches[-1] - 1) - _log_choose(size[-1], matches[-1]))
    penalty = total * np.sum(chance / (before[-1] + position))
    return 1 - beyond, np.sum(precision * matches / size) / total, penalty


def _log_choose(n, k):
    """Log of the number of ways to choose k of n; minus infinity if k > n."""
    from scipy.special import gammaln

    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


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
        if not np.isfinite(block).all():
            raise InputError(
                "Expected finite distances. Received: NaN or infinity among them. Remove those images, "
                "or check how the distances are made."
            )
        for row in np.flatnonzero(matches.any(axis=1)):
            ordered = np.sort(block[row, ~excluded[row]])
            tied, count = np.unique(block[row, matches[row]], return_counts=True)
            before, end = (np.searchsorted(ordered, tied, side) for side in ("left", "right"))
            query, expected = rows.start + row, expected_scores(before, end - before, count, ranks)
            for values, value in zip(scores[1:], expected, strict=True):
                values[query] = value
    if not scores.matched.any():
        raise InputError(
            "Expected at least one query with a match in the gallery, of its identity and, if cameras "
            f"are known, by another one. Received: {queries} queries and {images} images without any. "
            "Check the identities and cameras, or change the protocol."
        )
    return scores
