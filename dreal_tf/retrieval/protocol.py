"""Who is who in a query set and a gallery, and which images a ranking leaves out."""

from typing import NamedTuple

import numpy as np

from dreal_tf.errors import InputError


class Labels(NamedTuple):
    """Whom the images of a set show, and who took them.

    Attributes:
        identities: int array (images,).
        cameras: int array (images,), or None if none are known: no camera's images are left out then.
        images: int array (images,), a number of each image, or None. If both sets have it, a query is
            not ranked against itself.
    Example:
        >>> Labels([7, 7, 9], cameras=[1, 2, 1]).identities
        [7, 7, 9]
    """

    identities: object
    cameras: object = None
    images: object = None


class Protocol(NamedTuple):
    """Which gallery images a query is ranked against. The defaults are those of Market-1501, also
    used with DukeMTMC-reID, MSMT17 and VeRi-776.

    Attributes:
        exclude_same_camera: bool. Leave out, for each query, the images of its identity by its
            camera.
        junk: int or None. Identity of images that are left out for all queries, such as bad
            detections.
        distractor: int or None. Identity of images that match nobody, each other included. Where 0
            is an identity like any other, set it to None.
    """

    exclude_same_camera: bool = True
    junk: int | None = -1
    distractor: int | None = 0


def checked_labels(labels, images, name):
    """Labels as int arrays that fit the images.

    Args:
        labels: `Labels`.
        images: int. Rows of the embeddings or distances.
        name: str, for the message: "query" or "gallery".
    Returns:
        `Labels`.
    Raises:
        InputError: if they are no whole numbers, or not one for each image.
    Example:
        >>> checked_labels(Labels([1.0]), 1, "query")
        Traceback (most recent call last):
        ...
        dreal_tf.errors.InputError: Expected 1 query identities that are whole numbers, one of each image. Received: float64 of shape (1,). Number them.
    """
    checked = []
    for kind, values in zip(("identities", "cameras", "numbers"), labels, strict=True):
        values = None if values is None and kind != "identities" else np.asarray(values)
        if values is not None and (values.shape != (images,) or values.dtype.kind not in "iu"):
            raise InputError(
                f"Expected {images} {name} {kind} that are whole numbers, one of each image. Received: "
                f"{values.dtype} of shape {values.shape}. Number them."
            )
        checked.append(values)
    return Labels(*checked)


def relations(query, gallery, protocol):
    """Which gallery images are right for each query, and which are left out.

    Args:
        query, gallery: `Labels`, checked.
        protocol: `Protocol`.
    Returns:
        Two bool arrays (queries, images): right answers, and images left out; none is both.
    Raises:
        InputError: if cameras of one set alone are known.
    Example:
        >>> query, gallery = Labels(np.array([7]), np.array([1])), np.array([7, 7, 0, -1])
        >>> right, out = relations(query, Labels(gallery, np.array([1, 2, 2, 2])), Protocol())
        >>> right.astype(int).tolist(), out.astype(int).tolist()
        ([[0, 1, 0, 0]], [[1, 0, 0, 1]])
    """
    if (query.cameras is None) != (gallery.cameras is None):
        raise InputError(
            "Expected cameras of both query and gallery, or of neither. Received: cameras of one. Give "
            "both, or leave both out."
        )
    out = np.zeros((len(query.identities), len(gallery.identities)), bool)
    same = query.identities[:, None] == gallery.identities
    if protocol.exclude_same_camera and query.cameras is not None:
        out |= same & (query.cameras[:, None] == gallery.cameras)
    if query.images is not None and gallery.images is not None:
        out |= query.images[:, None] == gallery.images
    if protocol.junk is not None:
        out |= gallery.identities == protocol.junk
    if protocol.distractor is not None:
        same &= gallery.identities != protocol.distractor
    return same & ~out, out
