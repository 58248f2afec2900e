"""Embeds images by a network, and scores the rankings of these embeddings."""

import numpy as np
import tensorflow as tf

from dreal_tf.errors import InputError
from dreal_tf.networks.backbones import embedding_network
from dreal_tf.retrieval import (
    expanded_queries,
    mean_of_views,
    reranked_distances,
    score_distances,
    score_embeddings,
)


class Embedder:
    """Embeds images by a network.

    Args:
        network: functional `keras.Model` of this package, see
            `dreal_tf.networks.backbones.embedding_network`. It may be trained further: each call uses its
            current weights.
    Example:
        >>> embed = Embedder(residual_network((8, 8, 1), 10, depth=8, bnneck=True))
        >>> embed([np.zeros((2, 8, 8, 1)), np.ones((1, 8, 8, 1))]).shape
        (3, 64)
    """

    def __init__(self, network):
        self.network = embedding_network(network, unit=False)
        images = tf.TensorSpec(self.network.input_shape, tf.float32)
        self._run = tf.function(self._embedded, [images, tf.TensorSpec((), tf.bool)])

    def __call__(self, batches, flip=False):
        """The embeddings of images, not normalised.

        Args:
            batches: iterable of float tensors (batch, height, width, channels), preprocessed for
                the network.
            flip: bool. Average the unit-length embeddings of each image and its mirror image.
        Returns:
            float32 array (images, dimensions).
        """
        views = [
            [self._run(tf.cast(i, tf.float32), tf.constant(mirrored)).numpy() for i in batches]
            for mirrored in ((False, True) if flip else (False,))
        ]
        views = [np.concatenate(view) for view in views]
        return mean_of_views(*views) if flip else views[0]

    def _embedded(self, images, mirrored):
        images = tf.cond(mirrored, lambda: tf.reverse(images, axis=[2]), lambda: images)
        return tf.cast(self.network(images, training=False), tf.float32)


def scores_of(embedder, retrieval_set, metric="cosine", flip=False, expansion=0, rerank=False):
    """Scores of the rankings that a network's embeddings make.

    Args:
        embedder: `Embedder`.
        asked: `dreal_tf.data.identities.RetrievalSet`.
        metric: str, "cosine" or "euclidean".
        flip: bool, see `Embedder`.
        expansion: int >= 0. Gallery images that expand a query, see
            `dreal_tf.retrieval.expanded_queries`.
        rerank: bool. Re-rank by k-reciprocal neighbours, see `dreal_tf.retrieval.reranked_distances`.
    Returns:
        Dict, see `dreal_tf.retrieval.Scores.summary`.
    Raises:
        InputError: if an embedding is not finite, or options contradict each other.
    """
    if expansion and metric != "cosine":
        raise InputError(
            "Expected the metric 'cosine' for expanded queries, which have unit length. "
            f"Received: expansion={expansion}, metric={metric!r}. Remove one of them."
        )
    query, gallery = embedder(retrieval_set.query, flip), embedder(retrieval_set.gallery, flip)
    if expansion:
        query = expanded_queries(query, gallery, expansion)
    labels = retrieval_set.query_labels, retrieval_set.gallery_labels
    if rerank:
        distances = reranked_distances(query, gallery, metric=metric)
        scores = score_distances(distances, *labels, protocol=retrieval_set.protocol)
    else:
        scores = score_embeddings(query, gallery, *labels, metric, retrieval_set.protocol)
    return scores.summary()
