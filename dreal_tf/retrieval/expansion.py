"""Query expansion: a query becomes a mean of itself and what it found."""

import numpy as np

from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.retrieval.distance import MEMORY, distance_blocks, smallest
from dreal_tf.retrieval.embeddings import checked_pair, unit_length


def expanded_queries(query, gallery, count=10, alpha=3.0, memory=MEMORY):
    """Each query plus its nearest gallery images, weighted, brought to unit length.

    The weight of an image is the cosine between it and the query, at least 0, to the power of
    alpha; that of the query is 1. With alpha = 0 all weigh the same: average query expansion. No
    label is used: the nearest are taken of the whole gallery, whatever the protocol leaves out.

    Args:
        query: float array (queries, dimensions).
        gallery: float array (images, dimensions).
        count: int >= 1. Images that join a query; at most all there are.
        alpha: float >= 0. Radenović et al.: 3.
        memory: float > 0. About what the work may take beside the embeddings (MiB).
    Returns:
        float32 array (queries, dimensions), of unit length.
    Raises:
        InputError: if the arrays do not fit each other, or alpha is below 0.
    Example:
        >>> expanded_queries([[1, 0]], [[0, 2], [-1, 0]], count=1, alpha=0).round(3).tolist()
        [[0.7070000171661377, 0.7070000171661377]]
        >>> expanded_queries([[1, 0]], [[0, 2], [-1, 0]], count=1).tolist()  # Nothing is like it.
        [[1.0, 0.0]]
    Source: Chum et al., "Total Recall", ICCV 2007 (average); Radenović, Tolias, Chum, "Fine-tuning
        CNN Image Retrieval with No Human Annotation", TPAMI 2018, arXiv 1711.02512 (alpha).
    """
    check_at_least_one(count=count)
    if alpha < 0:
        raise InputError(f"`alpha` must be at least 0. Received: alpha={alpha}. Raise it.")
    query, gallery = (unit_length(part) for part in checked_pair(query, gallery))
    expanded, start = np.empty_like(query), 0
    for block in distance_blocks(query, gallery, memory=memory / 3):
        rows = slice(start, start + len(block))
        places = smallest(block, count)
        cosines = np.maximum(1 - np.take_along_axis(block, places, axis=1), 0)
        joined = query[rows].copy()
        for place, weight in zip(places.T, (cosines**alpha).T, strict=True):
            joined += weight[:, None] * gallery[place]
        expanded[rows] = unit_length(joined)
        start += len(block)
    return expanded
