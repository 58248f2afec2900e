"""Batches of whole identities, and the identities that are held out."""

import numpy as np

from dreal_tf.errors import InputError, check_at_least_one


def held_out_identities(train, fraction, seed):
    """Holds identities out, as queries and a gallery.

    Only identities with a right answer can be held out: seen by two cameras or, without cameras, on two
    images. Each is queried once by every camera that saw it. All its images are in the gallery, where a
    query ignores those of its own camera. Without cameras it is queried once, and its other images are
    the gallery.

    Args:
        train: `Listed`.
        fraction: float in (0, 1). Fraction of the identities, at least two.
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
    identities, views = np.unique(train.identities, return_counts=True)
    if train.cameras is not None:
        pairs = np.unique(np.stack([train.identities, train.cameras]), axis=1)
        views = np.unique(pairs[0], return_counts=True)[1]
    eligible = identities[views >= 2]
    count = max(round(fraction * len(identities)), 2)
    if len(eligible) < count or len(identities) - count < 2:
        condition = "on two images" if train.cameras is None else "seen by two cameras"
        lower = f", or lower data.validation_fraction={fraction}"
        raise InputError(
            f"Expected {count} identities {condition} to hold out, and two others to train on. Received: "
            f"{len(identities)} identities, {len(eligible)} of them {condition}. Add some {condition}"
            f"{lower if min(len(eligible), len(identities) - 2) >= 2 else ''}."
        )
    random = np.random.default_rng((seed, 0))
    held = np.isin(train.identities, random.choice(eligible, count, replace=False))
    gallery = np.flatnonzero(held)
    shuffled = random.permutation(gallery)
    keys = [train.identities[shuffled]] + ([] if train.cameras is None else [train.cameras[shuffled]])
    _, first = np.unique(np.stack(keys), axis=1, return_index=True)
    query = np.sort(shuffled[first])
    if train.cameras is None:
        gallery = np.setdiff1d(gallery, query)
    return np.flatnonzero(~held), query, gallery


def held_out_images(identities, fraction, seed):
    """Holds images of every identity out, so that two of each are left to train on.

    Args:
        identities: int array (images,).
        fraction: float in (0, 1). Fraction of each identity's images; at least one image in all.
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
    numbers, counts = np.unique(identities, return_counts=True)
    if counts.max() < 3:
        raise InputError(
            "Expected an identity with three images to train on, one of them to hold out. "
            f"Received: {counts.max()} at most. Add images."
        )
    quotas = np.clip((fraction * counts + 0.5).astype(int), 0, np.maximum(counts - 2, 0))
    if not quotas.any():
        quotas[counts.argmax()] = 1
    shuffled = np.random.default_rng((seed, 1)).permutation(len(identities))
    groups = [shuffled[identities[shuffled] == number] for number in numbers]
    held = [group[:quota] for group, quota in zip(groups, quotas, strict=True)]
    held = np.sort(np.concatenate(held))
    return shuffled[~np.isin(shuffled, held)], held


class IdentitySampler:
    """Batches of P identities × K images, in an order that follows from (seed, epoch) alone.

    An epoch shows each image about once, as is usual in the field. The images of an identity are
    divided, in random order, into groups of K; a batch is P groups of different identities, one after
    the other. The images of an identity after its last full group wait for another epoch. The number of
    batches is the largest for which no identity need be twice in a batch, and the same in every epoch.
    Surplus groups are not used; they are chosen at random each epoch, and never the only one of an
    identity while another has two.

    An identity with fewer than K images makes one group, its images repeated, each as often as the
    others or once more. One with a single image is K times that image, which differ by augmentation
    alone: it adds to triplets as negatives, hardly as positives.

    Args:
        identities: int array (images,), of the training images, numbered in any way.
        identities_per_batch: int >= 2. P, over all replicas.
        images_per_identity: int >= 2. K.
        replicas: int >= 1. Replicas of all workers; P must be a multiple, so that each replica's part of
            a batch holds whole identities.
    Attributes:
        batch_size: int, P·K.
        steps_per_epoch: int. Batches of an epoch.
        repeated: int. Identities with fewer than K images.
        single: int. Identities with one image, which are among them.
    Raises:
        InputError: if the data hold fewer than P identities or P·K images, or P is no multiple of the
            replicas.
    Example:
        >>> identities = np.repeat([5, 8, 9], [2, 4, 1])
        >>> sampler = IdentitySampler(identities, identities_per_batch=2, images_per_identity=2)
        >>> sampler.steps_per_epoch, sampler.repeated, sampler.single
        (2, 1, 1)
        >>> identities[sampler.order(seed=0, epoch=0)].shape
        (2, 4)
    """

    def __init__(self, identities, identities_per_batch, images_per_identity, replicas=1):
        check_at_least_one(replicas=replicas)
        sizes = {
            "identities_per_batch": identities_per_batch,
            "images_per_identity": images_per_identity,
        }
        for name, count in sizes.items():
            if count < 2:
                raise InputError(
                    f"`{name}` must be at least 2, or there is nothing to compare. Received: {name}="
                    f"{count}. Raise it."
                )
        identities = np.asarray(identities)
        if identities.ndim != 1 or identities.dtype.kind not in "iu":
            raise InputError(
                "Expected identities (images,) that are whole numbers. Received: "
                f"{identities.dtype} of shape {identities.shape}. Number them."
            )
        _, self._identity, counts = np.unique(identities, return_inverse=True, return_counts=True)
        self.batch_size = identities_per_batch * images_per_identity
        if len(counts) < identities_per_batch or len(identities) < self.batch_size:
            raise InputError(
                f"Expected at least {identities_per_batch} identities and {self.batch_size} images for one "
                f"batch. Received: {len(counts)} identities and {len(identities)} images with "
                f"identities_per_batch={identities_per_batch}, images_per_identity={images_per_identity}. "
                "Lower them, or add data."
            )
        if identities_per_batch % replicas:
            raise InputError(
                f"Expected identities that {replicas} replicas can share equally. Received: "
                f"identities_per_batch={identities_per_batch}. Choose a multiple of {replicas}."
            )
        self._per_batch, self._images = identities_per_batch, images_per_identity
        self._counts, self._starts = counts, np.cumsum(counts) - counts
        self._groups = np.maximum(counts // images_per_identity, 1)
        self.steps_per_epoch = _most_batches(self._groups, identities_per_batch)
        self.repeated = int((counts < images_per_identity).sum())
        self.single = int((counts == 1).sum())

    def order(self, seed, epoch):
        """The images of each batch of an epoch.

        Args:
            seed, epoch: ints >= 0.
        Returns:
            Int array (steps_per_epoch, P·K) of positions among the images; K in a row are of one
            identity. Cut into equal parts, as replicas cut it, each holds whole identities.
        """
        random = np.random.default_rng((seed, epoch))
        # Images by identity, in random order within each.
        shuffled = np.lexsort((random.random(len(self._identity)), self._identity))
        identity, group = self._used_groups(random)
        within = group[:, None] * self._images + np.arange(self._images)
        within %= self._counts[identity][:, None]  # Repeats those of an identity that has too few.
        images = shuffled[self._starts[identity][:, None] + within]
        # Neighbours go to different batches, so that no identity comes twice into one.
        batches = images.reshape(self._per_batch, self.steps_per_epoch, self._images).swapaxes(0, 1)
        return random.permutation(batches).reshape(self.steps_per_epoch, self.batch_size)

    def _used_groups(self, random):
        """The identity of each group of an epoch and the group's number in it, by identity."""
        possible = np.minimum(self._groups, self.steps_per_epoch)
        group = _count_up(possible)
        surplus = len(group) - self._per_batch * self.steps_per_epoch
        # First groups last: no identity is dropped while another has two.
        dropped = np.lexsort((random.random(len(group)), group == 0))[:surplus]
        kept = np.delete(np.repeat(np.arange(len(possible)), possible), dropped)
        kept = np.bincount(kept, minlength=len(possible))
        order = random.permutation(len(possible))
        return np.repeat(order, kept[order]), _count_up(kept[order])


def _count_up(counts):
    """0, 1, ... for each count, in a row."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _most_batches(groups, per_batch):
    """The largest number of batches of different identities that the identities' groups fill."""
    steps = range(int(groups.sum()) // per_batch, 0, -1)
    return next(count for count in steps if np.minimum(groups, count).sum() >= count * per_batch)
