"""Searches a gallery for the nearest images: exactly, or approximately by faiss in large galleries."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dreal_tf.errors import InputError, check_at_least_one, unknown_name
from dreal_tf.retrieval.distance import (
    MEMORY,
    METRICS,
    checked_embeddings,
    checked_pair,
    distance_blocks,
    smallest,
    unit_length,
)

COLUMNS = 2**16  # Images of the gallery that queries are compared with at a time.


class Neighbours(NamedTuple):
    """The nearest images of each query, nearest first.

    Attributes:
        positions: int array (queries, count), rows of the gallery; -1 if an approximate search found
            fewer.
        distances: float32 array (queries, count); infinity for position -1.
    """

    positions: np.ndarray
    distances: np.ndarray


def nearest(query, gallery, count, metric="cosine", memory=MEMORY):
    """The nearest images of a gallery to each query, whatever their identities.

    The search is exact and computes all distances, a block of queries and of the gallery at a time. For a
    large gallery that is searched often, build an `ApproximateIndex`.

    Args:
        query: float array (queries, dimensions).
        gallery: float array (images, dimensions).
        count: int >= 1. Images for each query; at most those of the gallery.
        metric: str, see `dreal_tf.retrieval.distance_blocks`.
        memory: float > 0. Approximate memory for the search, embeddings not included (MiB).
    Returns:
        `Neighbours`; ties in the order of the gallery.
    Raises:
        InputError: if the arrays do not match.
    Example:
        >>> neighbours = nearest([[1, 0]], [[0, 1], [5, 0], [1, 1]], count=2)
        >>> neighbours.positions.tolist(), neighbours.distances.round(2).tolist()
        ([[1, 2]], [[0.0, 0.28999999165534973]])
    """
    check_at_least_one(count=count)
    query, gallery = checked_pair(query, gallery)
    parts = []
    for start in range(0, len(gallery), COLUMNS):  # Whole rows of a large gallery would be few.
        found = []
        for block in distance_blocks(query, gallery[start : start + COLUMNS], metric, memory / 3):
            positions = smallest(block, count)
            found.append((positions + start, np.take_along_axis(block, positions, axis=1)))
        parts.append([np.concatenate(part) for part in zip(*found, strict=True)])
    positions, distances = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    best = smallest(distances, count)
    return Neighbours(*(np.take_along_axis(part, best, axis=1) for part in (positions, distances)))


class ApproximateIndex:
    """A graph over a large gallery that finds nearest images without comparing with all.

    It is faiss's HNSW over uncompressed embeddings. If images of an identity form clusters, it finds
    nearly all of the nearest; if embeddings scatter like noise, it misses many unless `effort` is
    raised. Several threads build it, so two builds may miss different images.

    Args:
        gallery: float array (images, dimensions).
        metric: str, see `dreal_tf.retrieval.distance_blocks`.
        links: int >= 2. Links of each image (memory: 8 bytes for each link and image).
        effort: int >= 1. Images compared with each new one.
    Raises:
        InputError: if faiss is not installed, or the gallery does not hold embeddings.
    Source: Malkov, Yashunin, "Efficient and robust approximate nearest neighbor search using
        Hierarchical Navigable Small World graphs", TPAMI 2020; https://github.com/facebookresearch/faiss
    """

    def __init__(self, gallery, metric="cosine", links=32, effort=100):
        if metric not in METRICS:
            raise unknown_name("metric", metric, METRICS)
        faiss = _faiss()
        gallery = checked_embeddings(gallery, "gallery")
        self.metric = metric
        self._index = faiss.IndexHNSWFlat(gallery.shape[1], links, faiss.METRIC_L2)
        self._index.hnsw.efConstruction = effort
        self._index.add(self._prepared(gallery))

    def __len__(self):
        return self._index.ntotal

    def nearest(self, query, count, effort=100):
        """The nearest images to each query that the graph search finds.

        Args:
            query: float array (queries, dimensions).
            count: int >= 1. Images for each query.
            effort: int >= 1. Images compared with each query, at least `count`.
        Returns:
            `Neighbours`.
        Raises:
            InputError: if the query does not hold embeddings, or has other dimensions than the gallery.
        """
        check_at_least_one(count=count, effort=effort)
        query = checked_embeddings(query, "query")
        if query.shape[1] != self._index.d:
            raise InputError(
                f"Expected query embeddings of {self._index.d} dimensions, as the index has. Received: "
                f"{query.shape[1]}. Embed the queries with the network that embedded the gallery."
            )
        count = min(count, len(self))
        settings = _faiss().SearchParametersHNSW(efSearch=max(effort, count))
        squared, positions = self._index.search(self._prepared(query), count, params=settings)
        squared = np.where(positions < 0, np.inf, np.maximum(squared, 0))
        # For unit-length vectors, the squared distance is twice the cosine distance.
        distances = {"cosine": squared / 2, "euclidean": np.sqrt(squared), "squared_euclidean": squared}
        return Neighbours(positions, distances[self.metric])

    def save(self, path):
        """Writes the index, embeddings included, to a file.

        Args:
            path: str or path. The file takes four bytes per dimension and image, plus the links.
        """
        _faiss().write_index(self._index, str(path))

    @classmethod
    def load(cls, path, metric="cosine"):
        """Reads an index from a file.

        Args:
            path: str or path.
            metric: str, the metric that the index was built with.
        Returns:
            `ApproximateIndex`.
        Raises:
            InputError: if there is no such file, or it does not hold such an index.
        """
        if metric not in METRICS:
            raise unknown_name("metric", metric, METRICS)
        faiss, received = _faiss(), "a file that does not exist"
        self = cls.__new__(cls)
        self.metric = metric
        if Path(path).is_file():
            try:
                self._index = faiss.read_index(str(path))
            except RuntimeError:
                received = "a file that faiss cannot read"
            else:
                if isinstance(self._index, faiss.IndexHNSWFlat):
                    return self
                received = type(self._index).__name__
        raise InputError(
            f"Expected an `ApproximateIndex` in {str(path)!r}. Received: {received}. Build the index again."
        )

    def _prepared(self, embeddings):
        embeddings = unit_length(embeddings) if self.metric == "cosine" else embeddings
        return np.ascontiguousarray(embeddings)


def _faiss():
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            f"Expected faiss, which searches large galleries. Received: {error}. Install it with python -m "
            'pip install "dreal-tf[search]", or search exactly with dreal_tf.retrieval.nearest.'
        ) from error
    return faiss
