"""Embeddings: one float32 row an image."""

import numpy as np

from dreal_tf.errors import InputError


def checked_embeddings(embeddings, name):
    """Embeddings as a float32 array, or an error that says what is wrong with them.

    Args:
        embeddings: float array (rows, dimensions).
        name: str, for the message, such as "query".
    Returns:
        float32 array (rows, dimensions); the same object where it is one already.
    Raises:
        InputError: if it has another rank, no rows, or values that are not finite.
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
    finite = np.isfinite(embeddings.sum(axis=1, dtype=np.float64))  # Of rows: takes no memory.
    if not finite.all():
        raise InputError(
            f"Expected {name} embeddings that are finite. Received: {int((~finite).sum())} rows with NaN "
            f"or infinity, the first of them row {int(finite.argmin())}. Leave those images out, or look "
            "at the network that made them."
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
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(lengths == 0, 1, lengths)


def mean_of_views(*views):
    """One embedding of an image from several views of it, such as the image and its mirror image.

    Args:
        *views: float arrays (rows, dimensions), row by row of the same images.
    Returns:
        float32 array (rows, dimensions): the mean of the views' unit-length embeddings, brought to
        unit length again.
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
            "Expected at least one view, and of all views the same images by the same network. "
            f"Received: shapes {sorted(shapes)}. Embed the same images in each view."
        )
    return unit_length(sum(unit_length(view) for view in views) / np.float32(len(views)))
