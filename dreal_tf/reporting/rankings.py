"""How the networks rank a gallery, on a few queries that are chosen by a rule."""

from typing import NamedTuple

import numpy as np

from dreal_tf.embedding import Embedder
from dreal_tf.reporting.images import images_at
from dreal_tf.retrieval import Labels, ranked_gallery, score_embeddings
from dreal_tf.visualize import module_maps

QUERIES, TOP = 6, 10  # Queries that are shown, and of each how many of the nearest images.


class Ranking(NamedTuple):
    """What a network makes of the test split's queries and gallery.

    Attributes:
        scores: dict, see `dreal_tf.retrieval.Scores.summary`.
        places: int array (shown queries, TOP), of the gallery; -1 where there is no more.
        right: bool array of that shape.
        own: dict by module of float arrays (cameras, rows, columns): its attention on one identity.
    """

    scores: dict
    places: np.ndarray
    right: np.ndarray
    own: dict


class Asked(NamedTuple):
    """What is shown of the test split's queries and gallery.

    Attributes:
        queries: int array (n,), positions of the shown queries.
        identities, cameras: int arrays (n,), theirs.
        inputs: float array (n, height, width, channels), as networks take them.
        seen: int array (m,), positions in the gallery of one identity's images, each by another camera.
        seen_identity: int; `seen_cameras`: int array (m,).
        seen_inputs: float array (m, height, width, channels).
    """

    queries: np.ndarray
    identities: np.ndarray
    cameras: np.ndarray
    inputs: np.ndarray
    seen: np.ndarray
    seen_identity: int
    seen_cameras: np.ndarray
    seen_inputs: np.ndarray


def asked_of(retrieval, seed):
    """Draws the queries to show, of different identities as far as there are, and one identity.

    Args:
        retrieval: `dreal_tf.data.RetrievalSet`.
        seed: int.
    Returns:
        `Asked`.
    """
    random = np.random.default_rng(seed)
    labels, gallery = retrieval.query_labels, retrieval.gallery_labels
    order = random.permutation(len(labels.identities))
    _, first = np.unique(np.asarray(labels.identities)[order], return_index=True)
    queries = np.sort(order[np.sort(first)[:QUERIES]])
    identity = int(labels.identities[random.choice(queries)])
    seen, cameras = _by_cameras(gallery, identity)
    return Asked(
        queries,
        np.asarray(labels.identities)[queries],
        _cameras(labels, queries),
        images_of(retrieval.query, queries),
        seen,
        identity,
        cameras,
        images_of(retrieval.gallery, seen),
    )


def ranking_of(network, retrieval, asked):
    """Ranks the gallery for every query, by cosine.

    Args:
        network: functional `keras.Model` with auxiliary outputs.
        retrieval: `dreal_tf.data.RetrievalSet`.
        asked: `Asked`.
    Returns:
        `Ranking`.
    """
    embed = Embedder(network)
    query, gallery = embed(retrieval.query), embed(retrieval.gallery)
    labels = retrieval.query_labels, retrieval.gallery_labels
    scores = score_embeddings(query, gallery, *labels, protocol=retrieval.protocol)
    chosen = Labels(asked.identities, None if labels[0].cameras is None else asked.cameras)
    places, right = ranked_gallery(
        query[asked.queries], gallery, chosen, labels[1], TOP, protocol=retrieval.protocol
    )
    own = module_maps(network, asked.seen_inputs)
    return Ranking(scores.summary(), places, right, own)


def images_of(data, positions):
    """Some images of a data set without labels, in the order asked for.

    Args:
        data: tf.data.Dataset of images, batched.
        positions: int array (n,), each at most once.
    Returns:
        Array (n, height, width, channels).
    """
    return images_at(data.map(lambda images: (images, 0)), positions)


def _cameras(labels, positions):
    cameras = labels.cameras
    return np.zeros(len(positions), int) if cameras is None else np.asarray(cameras)[positions]


def _by_cameras(labels, identity):
    """The first image of an identity by every camera; without cameras its first few."""
    mine = np.flatnonzero(np.asarray(labels.identities) == identity)
    cameras = _cameras(labels, mine)
    if labels.cameras is None:
        return mine[:QUERIES], cameras[:QUERIES]
    found, first = np.unique(cameras, return_index=True)
    return mine[first], found
