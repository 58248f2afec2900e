"""Losses that train embeddings: triplet, contrastive and centre losses."""

import keras
import tensorflow as tf

from dreal_tf.errors import InputError, check_at_least_one, unknown_name
from dreal_tf.method.formulas import true_labels


def batch_hard_triplet_loss(embeddings, identities, margin=None):
    """Every image against its farthest image of the same identity and its nearest of another.

    An image is an anchor if the batch holds another image of its identity and one of another identity.
    Without an anchor the loss is 0.

    Args:
        embeddings: float tensor (batch, dimensions), not normalised.
        identities: int tensor (batch,).
        margin: float or None. How much farther the nearest of another identity must be (unit of the
            distance); None: soft, log(1 + exp(difference)), whose gradient never vanishes.
    Returns:
        Float scalar: mean over anchors of max(0, margin + farthest - nearest), Euclidean distances.
    Raises:
        InputError: if the shapes do not match.
    Example:
        >>> embeddings, identities = np.float32([[0], [3], [1], [9]]), [0, 0, 1, 1]
        >>> float(batch_hard_triplet_loss(embeddings, identities, margin=0.5))
        3.5
    Source: Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification",
        arXiv 1703.07737, equation 5. There an image without another of its identity is its own
        positive, at distance 0; here it is no anchor.
    """
    distances, positive, negative = _pairs(embeddings, identities)
    farthest = tf.reduce_max(tf.where(positive, distances, -float("inf")), axis=1)
    nearest = tf.reduce_min(tf.where(negative, distances, float("inf")), axis=1)
    return _mean_over_anchors(farthest - nearest, positive, negative, margin)


def weighted_triplet_loss(embeddings, identities):
    """Every image against all of its identity and all others, weighted by their difficulty.

    Weights are a softmax of the distances for images of the same identity, and of minus the
    distances for the others. There is no margin. Anchors are those of `batch_hard_triplet_loss`.

    Args:
        embeddings: float tensor (batch, dimensions).
        identities: int tensor (batch,).
    Returns:
        Float scalar: mean over anchors of log(1 + exp(weighted positive - weighted negative)).
    Raises:
        InputError: if the shapes do not match.
    Example:
        >>> embeddings, identities = np.float32([[0], [3], [1], [9]]), [0, 0, 1, 1]
        >>> round(float(weighted_triplet_loss(embeddings, identities)), 2)
        3.03
    Source: Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook", TPAMI 2021,
        arXiv 2001.04193, section 4 (weighted regularization triplet). Here an image is not its own positive.
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
        centres: float tensor (identities, dimensions). They get no gradient: `moved_centres`
            moves them.
    Returns:
        Float scalar: mean over the batch; 0 for an empty batch.
    Raises:
        InputError: if the shapes do not match.
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
    """Centres moved a step towards the images of their identities; centres of absent identities stay.

    Args:
        centres: float tensor (identities, dimensions).
        sums: float tensor (identities, dimensions): of the embeddings of each identity over
            all replicas, see `identity_sums`.
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
    """Sum of the embeddings of each identity, and their number, in this replica's part of the batch.

    Args:
        embeddings: float tensor (batch, dimensions). They get no gradient.
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
    """Distances of all pairs of images, and the masks of positive and negative pairs."""
    embeddings, identities = _checked(embeddings, identities)
    # In float64, because large numbers cancel, and a GPU may multiply float32 with ten bits.
    wide = tf.cast(embeddings, tf.float64)
    squares = tf.reduce_sum(tf.square(wide), axis=1)
    squared = squares[:, None] + squares - 2.0 * tf.matmul(wide, wide, transpose_b=True)
    apart = (
        squared > 0.0
    )  # The root's slope is infinite at 0, so a pair at distance 0 gets no gradient.
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
    anchors = tf.cast(anchor, hinge.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(hinge * anchors), tf.reduce_sum(anchors))


@keras.saving.register_keras_serializable("dreal_tf")
class Centres(keras.layers.Layer):
    """The centres of a centre loss, equal on all replicas.

    Args:
        identities: int >= 1. Number of identities.
        rate: float in [0, 1]. Step size of the centres in training.
    Call arguments:
        embeddings: float tensor (batch, dimensions).
        labels: int tensor (batch,), from 0 to identities - 1.
        training: bool. If true, the centres move towards the images of all replicas after the loss
            is computed.
    Returns:
        Float scalar: `centre_loss` of this replica's part of the batch.
    Raises:
        InputError: if an argument is out of its range.
    Example:
        >>> centres = Centres(identities=2)
        >>> float(centres(np.float32([[2.0]]), np.array([1]), training=True))
        2.0
        >>> centres.centres.numpy().tolist()
        [[0.0], [0.5]]
    Source: see `dreal_tf.retrieval.metric_losses.centre_loss`. Departs from it in: the initial centres are zero
        instead of random.
    """

    def __init__(self, identities, rate=0.5, **arguments):
        super().__init__(**arguments)
        check_at_least_one(identities=identities)
        if not 0 <= rate <= 1:
            raise InputError(f"`rate` must be from 0 to 1. Received: rate={rate}. Change it.")
        self.identities, self.rate = identities, rate

    def build(self, embeddings_shape, labels_shape=None):
        self.centres = self.add_weight(
            name="centres",
            shape=(self.identities, embeddings_shape[-1]),
            initializer="zeros",
            dtype="float32",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    def call(self, embeddings, labels, training=False):
        loss = centre_loss(embeddings, labels, self.centres)
        if training:
            sums, counts = identity_sums(embeddings, labels, self.identities)
            context = tf.distribute.get_replica_context()
            if context.num_replicas_in_sync > 1:
                sums, counts = context.all_reduce("SUM", [sums, counts])
            self.centres.assign(moved_centres(self.centres.value, sums, counts, self.rate))
        return loss

    def get_config(self):
        return super().get_config() | {"identities": self.identities, "rate": self.rate}


TRIPLETS = ("none", "batch_hard", "weighted")


@keras.saving.register_keras_serializable("dreal_tf")
class EmbeddingLosses(keras.layers.Layer):
    """Triplet loss and centre loss of a batch's features, weighted and added.

    Args:
        identities: int. Number of training identities.
        triplet: "batch_hard", "weighted", see `dreal_tf.retrieval.metric_losses`, or "none".
        triplet_weight: float >= 0.
        margin: float or None, of "batch_hard", see there.
        centre_weight: float >= 0; 0 for no centres.
        centre_rate: float in [0, 1]. Step size of the centres.
    Call arguments:
        features: float tensor (batch, dimensions).
        labels: int tensor (batch,), or float rows (batch, identities) each with one dominant entry.
        training: bool. Whether the centres move.
    Returns:
        Float scalar, and a dict of its terms before weighting: `triplet_loss`, `centre_loss`, each a mean
        over this replica's part of the batch.
    Raises:
        InputError: if the triplet loss is unknown, or a weight is below 0.
    Example:
        >>> losses = EmbeddingLosses(2, margin=0.5, triplet_weight=2.0)
        >>> total, parts = losses(np.float32([[0], [3], [1], [9]]), np.int32([0, 0, 1, 1]))
        >>> float(total), float(parts["triplet_loss"])
        (7.0, 3.5)
    Source: Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person Re-identification", CVPR
        Workshops 2019, arXiv 1903.07071, whose features are those before the neck.
    """

    def __init__(
        self,
        identities,
        triplet="batch_hard",
        triplet_weight=1.0,
        margin=0.3,
        centre_weight=0.0,
        centre_rate=0.5,
        **arguments,
    ):
        super().__init__(**arguments)
        if triplet not in TRIPLETS:
            raise unknown_name("triplet loss", triplet, TRIPLETS)
        if min(triplet_weight, centre_weight) < 0:
            raise InputError(
                "Expected weights of at least 0. Received: triplet_weight="
                f"{triplet_weight}, centre_weight={centre_weight}. Raise them."
            )
        self.identities = identities
        self.triplet, self.triplet_weight, self.margin = triplet, triplet_weight, margin
        self.centre_weight, self.centre_rate = centre_weight, centre_rate
        self.centres = Centres(identities, centre_rate) if centre_weight else None

    @property
    def names(self):
        """Names of the losses in use, list of str."""
        return ["triplet_loss"] * (self.triplet != "none") + ["centre_loss"] * bool(self.centres)

    def build(self, features_shape, labels_shape=None):
        if self.centres:
            self.centres.build(features_shape)

    def call(self, features, labels, training=False):
        labels, _ = true_labels(labels, self.identities)
        total, parts = 0.0, {}
        if self.triplet == "batch_hard":
            parts["triplet_loss"] = batch_hard_triplet_loss(features, labels, self.margin)
        elif self.triplet == "weighted":
            parts["triplet_loss"] = weighted_triplet_loss(features, labels)
        if parts:
            total += self.triplet_weight * parts["triplet_loss"]
        if self.centres:
            parts["centre_loss"] = self.centres(features, labels, training=training)
            total += self.centre_weight * parts["centre_loss"]
        return total, parts

    def get_config(self):
        names = ("identities", "triplet", "triplet_weight", "margin", "centre_weight", "centre_rate")
        return super().get_config() | {name: getattr(self, name) for name in names}
