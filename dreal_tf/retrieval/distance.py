"""Embeddings and the distances between them."""

import numpy as np

from dreal_tf.errors import InputError, unknown_name


def checked_embeddings(embeddings, name):
    """Embeddings as a checked float32 array.

    Args:
        embeddings: float array (rows, dimensions).
        name: str, for the message, such as "query".
    Returns:
        float32 array (rows, dimensions); the same object if it already is one.
    Raises:
        InputError: if it has another rank, no rows, or non-finite values.
    Example:
        >>> checked_embeddings([[3, 4]], "query").dtype
        dtype('float32')
    """
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2 or 0 in embeddings.shape or embeddings.dtype.kind not in "fiu":
        raise InputError(
            f"Expected {name} embeddings, numbers (rows, dimensions), at least one of each. Received: "
            f"{embeddings.dtype} of shape {embeddings.shape}. Embed at least one image, one row each."
        )
    embeddings = embeddings.astype(np.float32, copy=False)
    finite = np.isfinite(embeddings.sum(axis=1, dtype=np.float64))  # Sums of rows take no memory.
    if not finite.all():
        raise InputError(
            f"Expected {name} embeddings that are finite. Received: {int((~finite).sum())} rows with NaN "
            f"or infinity, the first of them row {int(finite.argmin())}. Remove those images, or check the "
            "network that embedded them."
        )
    return embeddings


def checked_pair(query, gallery):
    """Query and gallery embeddings, checked, of the same number of dimensions.

    Args:
        query: float array (queries, dimensions).
        gallery: float array (images, dimensions).
    Returns:
        Pair of float32 arrays.
    Raises:
        InputError: see `checked_embeddings`; or if the dimensions differ.
    """
    query, gallery = checked_embeddings(query, "query"), checked_embeddings(gallery, "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise InputError(
            "Expected query and gallery embeddings of the same network. Received: "
            f"{query.shape[1]} and {gallery.shape[1]} dimensions. Embed both with one network."
        )
    return query, gallery


def unit_length(embeddings):
    """Each row divided by its Euclidean length; rows of zeros stay.

    Args:
        embeddings: float array (rows, dimensions).
    Returns:
        float32 array of the same shape.
    Example:
        >>> unit_length([[3, 4], [0, 0]]).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    embeddings = np.asarray(embeddings, np.float32)
    return embeddings / _lengths(embeddings)[:, np.newaxis]


def _lengths(embeddings):
    """The Euclidean length of each row, 1 for rows of zeros."""
    lengths = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings))  # Without a squared copy of all.
    return np.where(lengths == 0, 1, lengths)


def mean_of_views(*views):
    """One embedding of an image from several views of it, such as the image and its mirror image.

    Args:
        *views: float arrays (rows, dimensions); equal rows show the same image.
    Returns:
        float32 array (rows, dimensions): the mean of the views' unit-length embeddings, normalised
        again.
    Raises:
        InputError: if the views differ in shape.
    Example:
        >>> mean_of_views([[2, 0]], [[0, 1]]).round(3).tolist()
        [[0.7070000171661377, 0.7070000171661377]]
    """
    views = [checked_embeddings(view, "each view's") for view in views]
    shapes = {view.shape for view in views}
    if len(shapes) != 1:
        raise InputError(
            "Expected at least one view, and the same images by the same network in each. "
            f"Received: shapes {sorted(shapes)}. Embed the same images in each view."
        )
    return unit_length(sum(unit_length(view) for view in views) / np.float32(len(views)))


METRICS = ("cosine", "euclidean", "squared_euclidean")
MEMORY = 256  # Approximate memory for the work on a block (MiB).
GROUP = 256  # Columns of which `smallest` compares the least value first, at most.


def distance_blocks(query, gallery, metric="cosine", memory=MEMORY):
    """Distances of queries to the whole gallery, a block of queries at a time.

    Args:
        query: float array (queries, dimensions).
        gallery: float array (images, dimensions).
        metric: str, one of `METRICS`. "cosine": 1 - cosine, from 0 to 2; 1 to a row of zeros.
        memory: float > 0. Approximate memory for a block and the work on it (MiB).
    Returns:
        Iterator of float32 arrays (some queries, images), at least one query each, in order.
    Raises:
        InputError: if an array does not hold embeddings or the metric is unknown.
    Example:
        >>> blocks = distance_blocks([[1, 0], [0, 2], [0, 0]], [[0, 1], [3, 4]], memory=1e-5)
        >>> [block.round(1).tolist() for block in blocks]
        [[[1.0, 0.4000000059604645]], [[0.0, 0.20000000298023224]], [[1.0, 1.0]]]
    Source: scikit-learn's `euclidean_distances`, which computes distances of float32 in float64, as they
        are differences of large numbers. Its cosine distance normalises the gallery for every block.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    query, gallery = checked_pair(query, gallery)
    lengths = _lengths(gallery) if metric == "cosine" else None
    rows = max(int(memory * 2**20 / (8 * len(gallery))), 1)
    return (_block(query[n : n + rows], gallery, metric, lengths) for n in range(0, len(query), rows))


def _block(query, gallery, metric, lengths):
    if metric == "cosine":
        block = unit_length(query) @ gallery.T
        block /= lengths  # A gallery of unit length would be a copy.
        return np.clip(np.subtract(1, block, out=block), 0, 2, out=block)
    from sklearn.metrics.pairwise import euclidean_distances  # Slow to import, and few commands rank.

    return euclidean_distances(query, gallery, squared=metric == "squared_euclidean")


def distances(query, gallery, metric="cosine"):
    """All distances at once, which takes four bytes times queries times images.

    Args:
        query, gallery, metric: see `distance_blocks`.
    Returns:
        float32 array (queries, images).
    Example:
        >>> distances([[0, 0]], [[3, 4]], "euclidean").tolist()
        [[5.0]]
    """
    return np.concatenate(list(distance_blocks(query, gallery, metric)))


def smallest(values, count):
    """Positions of the smallest values in each row, smallest first; among equals, leftmost first.

    Args:
        values: float array (rows, columns).
        count: int >= 1. Number of positions; at most `columns` are returned.
    Returns:
        int array (rows, min(count, columns)).
    Example:
        >>> smallest(np.array([[3, 1, 2, 1, 1]]), 3).tolist()
        [[1, 3, 4]]
    """
    columns = values.shape[1]
    if count >= columns:
        return np.argsort(values, axis=1, kind="stable")
    # `count` groups have a value of at most `bound`, so the values up to it hold the smallest, ties included.
    starts = np.arange(0, columns, min(max(columns // count, 1), GROUP))
    bound = np.partition(np.minimum.reduceat(values, starts, axis=1), count - 1, axis=1)[:, count - 1]
    positions = np.empty((len(values), count), np.intp)
    for row, (of_row, most) in enumerate(zip(values, bound, strict=True)):
        candidates = np.flatnonzero(of_row <= most)
        positions[row] = candidates[np.argsort(of_row[candidates], kind="stable")[:count]]
    return positions
