"""Losses that draw embeddings of one identity together: pure functions, no weights.

Under replicas each loss sees its replica's share of the batch alone: triplets and centres are looked
for within it, so a share should hold whole identities (`dreal_tf.data.IdentitySampler` sees to it).
Each is a mean over its share; to make gradients, which are summed over replicas, those of the mean
over all, scale it by `dreal_tf.replicas.per_replica`.
"""

import tensorflow as tf

from dreal_tf.errors import InputError


def batch_hard_triplet_loss(embeddings, identities, margin=None):
    """Every image against its farthest image of the same identity and its nearest of another.

    An image counts as an anchor where the batch holds another image of its identity and one of
    another; the others are only looked at. With no anchor the loss is 0.

    Args:
        embeddings: float tensor (batch, dimensions), as they are, not of unit length.
        identities: int tensor (batch,).
        margin: float or None. By how much the nearest of another identity must be farther away
            (unit of the distance); None: soft, log(1 + exp(difference)), which never ends pulling.
    Returns:
        Float scalar: mean over anchors of max(0, margin + farthest - nearest), Euclidean distances.
    Raises:
        InputError: if the shapes do not fit each other.
    Example:
        >>> embeddings, identities = np.float32([[0], [3], [1], [9]]), [0, 0, 1, 1]
        >>> float(batch_hard_triplet_loss(embeddings, identities, margin=0.5))
        3.5
    Source: Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification",
        arXiv 1703.07737, equation 5. It lets an image be its own positive, at distance 0, where there
        is no other; here that is no anchor.
    """
    distances, positive, negative = _pairs(embeddings, identities)
    farthest = tf.reduce_max(tf.where(positive, distances, -float("inf")), axis=1)
    nearest = tf.reduce_min(tf.where(negative, distances, float("inf")), axis=1)
    return _mean_over_anchors(farthest - nearest, positive, negative, margin)


def weighted_triplet_loss(embeddings, identities):
    """Every image against all of its identity and all others, the hard ones weighing more.

    Weights are a softmax of the distances for images of the same identity, and of minus the
    distances for the others. There is no margin. Anchors are those of `batch_hard_triplet_loss`.

    Args:
        embeddings: float tensor (batch, dimensions).
        identities: int tensor (batch,).
    Returns:
        Float scalar: mean over anchors of log(1 + exp(weighted positive - weighted negative)).
    Raises:
        InputError: if the shapes do not fit each other.
    Example:
        >>> embeddings, identities = np.float32([[0], [3], [1], [9]]), [0, 0, 1, 1]
        >>> round(float(weighted_triplet_loss(embeddings, identities)), 2)
        3.03
    Source: Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook", TPAMI 2021,
        arXiv 2001.04193, section 4 (weighted regularization triplet). The image itself is no positive.
    """
    distances, positive, negative = _pairs(embeddings, identities)
    pull = tf.reduce_sum(_softmax_over(distances, positive) * distances, axis=1)
    push = tf.reduce_sum(_softmax_over(-distances, negative) * distances, axis=1)
    return _mean_over_anchors(pull - push, positive, negative, margin=None)


def centre_loss(embeddings, identities, centres):
    """Half the squared distance of each image to its identity's centre.

    Args:
        embeddings: float tensor (batch, dimensions).
        identities: int tensor (batch,), rows of `centres`.
        centres: float tensor (identities, dimensions). No gradient flows to them: they are moved by
            `moved_centres`.
    Returns:
        Float scalar: mean over the batch; 0 of no images.
    Raises:
        InputError: if the shapes do not fit each other.
    Example:
        >>> float(centre_loss(np.float32([[1, 0], [0, 2]]), [1, 1], np.zeros((3, 2), "float32")))
        1.25
    Source: Wen, Zhang, Li, Qiao, "A Discriminative Feature Learning Approach for Deep Face
        Recognition", ECCV 2016, equation 2, divided by the number of images.
    """
    embeddings, identities = _checked(embeddings, identities)
    centre = tf.gather(tf.stop_gradient(tf.cast(centres, tf.float32)), identities)
    squared = tf.reduce_sum(tf.square(embeddings - centre), axis=1)
    count = tf.cast(tf.size(squared), tf.float32)
    return 0.5 * tf.math.divide_no_nan(tf.reduce_sum(squared), count)


def moved_centres(centres, sums, counts, rate=0.5):
    """Centres a step nearer to the images of their identities; those of absent identities stay.

    Args:
        centres: float tensor (identities, dimensions).
        sums: float tensor (identities, dimensions): of the embeddings of each identity, see
            `identity_sums`, over all replicas.
        counts: float tensor (identities,): images of each.
        rate: float in [0, 1]. Paper: 0.5.
    Returns:
        Float tensor (identities, dimensions).
    Example:
        >>> sums, counts = identity_sums(np.float32([[4.0], [8.0]]), [1, 1], count=2)
        >>> moved_centres(np.zeros((2, 1), "float32"), sums, counts).numpy().tolist()
        [[0.0], [2.0]]
    Source: Wen et al. 2016, equation 4: the sum of the differences is divided by one plus the count.
    """
    counts = counts[:, None]
    return centres - rate * (counts * centres - sums) / (1.0 + counts)


def identity_sums(embeddings, identities, count):
    """Sum of the embeddings of each identity, and how many there are; of this replica's share.

    Args:
        embeddings: float tensor (batch, dimensions). No gradient flows to them.
        identities: int tensor (batch,), from 0 to count - 1.
        count: int. Number of identities.
    Returns:
        Float tensors (count, dimensions) and (count,).
    Example:
        >>> sums, counts = identity_sums(np.float32([[4.0], [8.0]]), [1, 1], count=2)
        >>> sums.numpy().tolist(), counts.numpy().tolist()
        ([[0.0], [12.0]], [0.0, 2.0])
    """
    embeddings, identities = _checked(embeddings, identities)
    sums = tf.math.unsorted_segment_sum(tf.stop_gradient(embeddings), identities, count)
    ones = tf.ones_like(identities, tf.float32)
    return sums, tf.math.unsorted_segment_sum(ones, identities, count)


def _checked(embeddings, identities):
    embeddings = tf.cast(tf.convert_to_tensor(embeddings), tf.float32)
    identities = tf.convert_to_tensor(identities)
    fits = embeddings.shape.rank == 2 and identities.shape.rank == 1
    if not fits or not embeddings.shape[:1].is_compatible_with(identities.shape):
        raise InputError(
            "Expected embeddings (batch, dimensions) and identities (batch,). Received: shapes "
            f"{embeddings.shape} and {identities.shape}. Give each image one row and one identity."
        )
    return embeddings, identities


def _pairs(embeddings, identities):
    """Distances of all pairs of images; which are positives, and which negatives."""
    embeddings, identities = _checked(embeddings, identities)
    # In float64: a difference of large numbers, which a GPU may even multiply with ten bits.
    wide = tf.cast(embeddings, tf.float64)
    squares = tf.reduce_sum(tf.square(wide), axis=1)
    squared = squares[:, None] + squares - 2.0 * tf.matmul(wide, wide, transpose_b=True)
    apart = squared > 0.0  # The root's slope is infinite at 0: no gradient flows there.
    distances = tf.where(apart, tf.sqrt(tf.where(apart, squared, 1.0)), 0.0)
    distances = tf.cast(distances, tf.float32)
    same = identities[:, None] == identities
    itself = tf.eye(tf.shape(identities)[0], dtype=tf.bool)
    return distances, same & ~itself, ~same


def _softmax_over(values, chosen):
    """Softmax over the chosen entries of each row; zeros where none is chosen."""
    weights = tf.nn.softmax(tf.where(chosen, values, values.dtype.min / 2), axis=1)
    return tf.where(chosen, weights, 0.0)


def _mean_over_anchors(difference, positive, negative, margin):
    """Mean hinge of a difference over the images that have both positives and negatives."""
    anchor = tf.reduce_any(positive, axis=1) & tf.reduce_any(negative, axis=1)
    difference = tf.where(anchor, difference, 0.0)
    hinge = tf.nn.softplus(difference) if margin is None else tf.nn.relu(margin + difference)
    counted = tf.cast(anchor, hinge.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(hinge * counted), tf.reduce_sum(counted))
