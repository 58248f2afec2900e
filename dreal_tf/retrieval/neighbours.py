"""The nearest images of a gallery: exactly, or in large galleries through faiss."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dreal_tf.errors import InputError, check_at_least_one, unknown_name
from dreal_tf.retrieval.distance import (
    MEMORY,
    METRICS,
    checked_embeddings,
    distance_blocks,
    smallest,
    unit_length,
)


class Neighbours(NamedTuple):
    """The nearest images of each query, nearest first.

    Attributes:
        places: int array (queries, count), rows of the gallery; -1 where an approximate search found
            fewer.
        distances: float32 array (queries, count); infinity there.
    """

    places: np.ndarray
    distances: np.ndarray


def nearest(query, gallery, count, metric="cosine", memory=MEMORY):
    """The nearest images of a gallery to each query; no identity is known, none is left out.

    They are found exactly, by all distances, some queries at a time. A large gallery that is searched
    again and again is better made an `ApproximateIndex`.

    Args:
        query: float array (queries, dimensions).
        gallery: float array (images, dimensions).
        count: int >= 1. Images for each query; all there are where the gallery has fewer.
        metric: str, see `dreal_tf.retrieval.distance_blocks`.
        memory: float > 0. About what the search may take beside the embeddings (MiB).
    Returns:
        `Neighbours`; ties by place in the gallery.
    Raises:
        InputError: if the arrays do not fit each other.
    Example:
        >>> found = nearest([[1, 0]], [[0, 1], [5, 0], [1, 1]], count=2)
        >>> found.places.tolist(), found.distances.round(2).tolist()
        ([[1, 2]], [[0.0, 0.28999999165534973]])
    """
    check_at_least_one(count=count)
    parts = []
    for block in distance_blocks(query, gallery, metric, memory / 3):
        places = smallest(block, count)
        parts.append((places, np.take_along_axis(block, places, axis=1)))
    return Neighbours(*(np.concatenate(part) for part in zip(*parts, strict=True)))


class ApproximateIndex:
    """A graph over a large gallery, in which the nearest images are found without seeing all.

    It is faiss's HNSW over the embeddings as they are. Where images of an identity lie together, nearly
    all of the nearest are found; where embeddings scatter like noise, many are missed until `effort`
    is raised. It is built by several threads, so two builds may differ in what they miss.

    Args:
        gallery: float array (images, dimensions).
        metric: str, see `dreal_tf.retrieval.distance_blocks`.
        links: int >= 2. Links of each image (memory: 8 bytes for each link and image).
        effort: int >= 1. Images looked at while one is built in.
    Raises:
        InputError: if faiss is not installed, or the gallery is none.
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
        """The nearest images to each query, as far as they are found.

        Args:
            query: float array (queries, dimensions).
            count: int >= 1. Images for each query.
            effort: int >= 1. Images looked at for each query; at least `count` are.
        Returns:
            `Neighbours`.
        Raises:
            InputError: if the embeddings are none, or have other dimensions than the gallery.
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
        squared, places = self._index.search(self._prepared(query), count, params=settings)
        squared = np.where(places < 0, np.inf, np.maximum(squared, 0))
        # Of unit-length vectors, the squared distance is twice the cosine distance.
        found = {"cosine": squared / 2, "euclidean": np.sqrt(squared), "squared_euclidean": squared}
        return Neighbours(places, found[self.metric])

    def save(self, path):
        """Writes the index, embeddings included, to a file.

        Args:
            path: str or path. It takes four bytes a dimension and image, and the links.
        """
        _faiss().write_index(self._index, str(path))

    @classmethod
    def load(cls, path, metric="cosine"):
        """The index that a file holds.

        Args:
            path: str or path.
            metric: str, the one it was built with.
        Returns:
            `ApproximateIndex`.
        Raises:
            InputError: if there is no such file, or it holds no index of ours.
        """
        faiss = _faiss()
        if metric not in METRICS:
            raise unknown_name("metric", metric, METRICS)
        if not Path(path).is_file():
            raise InputError(
                f"Expected an index in a file. Received: {str(path)!r}, which does not exist. Build it first."
            )
        self = cls.__new__(cls)
        self.metric = metric
        try:
            self._index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise InputError(
                f"Expected an index in {str(path)!r}. Received: what faiss cannot read. Build it again."
            ) from error
        if not isinstance(self._index, faiss.IndexHNSWFlat):
            raise InputError(
                f"Expected an index of ours in {str(path)!r}. Received: {type(self._index).__name__}. Build "
                "it again."
            )
        return self

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
