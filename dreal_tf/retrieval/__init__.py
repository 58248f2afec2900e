"""Retrieval: losses that train embeddings, rankings of embeddings, and the scores of rankings."""

from dreal_tf.retrieval.distance import METRICS, distance_blocks, distances, mean_of_views, unit_length
from dreal_tf.retrieval.neighbours import ApproximateIndex, Neighbours, nearest
from dreal_tf.retrieval.ranking import (
    Labels,
    Protocol,
    Scores,
    ranked_gallery,
    score_distances,
    score_embeddings,
)
from dreal_tf.retrieval.reranking import expanded_queries, reranked_distances

__all__ = [
    "METRICS",
    "ApproximateIndex",
    "Labels",
    "Neighbours",
    "Protocol",
    "Scores",
    "distance_blocks",
    "distances",
    "expanded_queries",
    "mean_of_views",
    "nearest",
    "ranked_gallery",
    "reranked_distances",
    "score_distances",
    "score_embeddings",
    "unit_length",
]
