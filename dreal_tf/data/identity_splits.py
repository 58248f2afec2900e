"""What is held out of training images of identities."""

import numpy as np

from dreal_tf.errors import InputError


def held_out_identities(train, fraction, seed):
    """Holds identities out, as queries and a gallery.

    Only those that have a right answer are drawn: seen by two cameras, or where no cameras are known,
    on two images. Each is asked for once by every camera that saw it, and its images are all in the
    gallery, where its own camera's are left out for the query. Without cameras it is asked for once,
    and the other images are the gallery.

    Args:
        train: `Listed`.
        fraction: float in (0, 1). Share of the identities, at least two.
        seed: int.
    Returns:
        Int arrays of positions: images kept to train on, queries, and the gallery.
    Raises:
        InputError: if there are too few identities.
    Example:
        >>> from dreal_tf.data.identity_layouts import Listed
        >>> identities, cameras = np.repeat([3, 5, 7, 9], 4), np.tile([1, 2], 8)
        >>> kept, query, gallery = held_out_identities(Listed(identities, identities, cameras), 0.5, 0)
        >>> len(kept), len(query), len(gallery)
        (8, 4, 8)
    """
    found, images = np.unique(train.identities, return_counts=True)
    if train.cameras is None:
        able = found[images >= 2]
    else:
        pairs = np.unique(np.stack([train.identities, train.cameras]), axis=1)
        able = found[np.unique(pairs[0], return_counts=True)[1] >= 2]
    count = max(round(fraction * len(found)), 2)
    if len(able) < count or len(found) - count < 2:
        what = "on two images" if train.cameras is None else "seen by two cameras"
        raise InputError(
            f"Expected {count} identities {what} to hold out, and two others to train on. Received: "
            f"{len(found)} identities, {len(able)} of them {what}. Bring more, or change "
            f"data.validation_fraction={fraction}."
        )
    random = np.random.default_rng((seed, 0))
    held = np.isin(train.identities, random.choice(able, count, replace=False))
    gallery = np.flatnonzero(held)
    mixed = random.permutation(gallery)
    asked = [train.identities[mixed]] + ([] if train.cameras is None else [train.cameras[mixed]])
    _, first = np.unique(np.stack(asked), axis=1, return_index=True)
    query = np.sort(mixed[first])
    if train.cameras is None:
        gallery = np.setdiff1d(gallery, query)
    return np.flatnonzero(~held), query, gallery


def held_out_images(identities, fraction, seed):
    """Holds images of every identity out, so that two of each are left to train on.

    Args:
        identities: int array (images,).
        fraction: float in (0, 1). Share of each identity's images; at least one image in all.
        seed: int.
    Returns:
        Int arrays of positions: images kept, in random order, and those held out.
    Raises:
        InputError: if no identity has three images.
    Example:
        >>> kept, held = held_out_images(np.repeat([3, 5], [10, 2]), 0.2, seed=0)
        >>> len(kept), bool(held.max() < 10)
        (10, True)
    """
    random = np.random.default_rng((seed, 1))
    mixed = random.permutation(len(identities))
    held = []
    for identity in np.unique(identities):
        own = mixed[identities[mixed] == identity]
        share = int(fraction * len(own) + 0.5)
        held.append(own[: max(min(share, len(own) - 2), 0)])
    if not any(map(len, held)):
        of_each = np.unique(identities, return_counts=True)
        largest = of_each[0][of_each[1].argmax()]
        if of_each[1].max() < 3:
            raise InputError(
                "Expected an identity with three images to train on, one of them to hold out. "
                f"Received: {of_each[1].max()} at most. Bring more images."
            )
        held = [mixed[identities[mixed] == largest][:1]]
    held = np.sort(np.concatenate(held))
    return mixed[~np.isin(mixed, held)], held
