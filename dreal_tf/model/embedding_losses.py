"""The losses that draw embeddings of one identity together, beside the cross entropy."""

import keras

from dreal_tf.centres import Centres
from dreal_tf.errors import InputError, unknown_name
from dreal_tf.method.formulas import true_labels
from dreal_tf.metric_losses import batch_hard_triplet_loss, weighted_triplet_loss

TRIPLETS = ("none", "batch_hard", "weighted")


@keras.saving.register_keras_serializable("dreal_tf")
class EmbeddingLosses(keras.layers.Layer):
    """Triplet loss and centre loss of a batch's features, weighted and added.

    Args:
        identities: int. Number of identities that are trained on.
        triplet: "batch_hard", "weighted", see `dreal_tf.metric_losses`, or "none".
        triplet_weight: float >= 0.
        margin: float or None, of "batch_hard", see there.
        centre_weight: float >= 0; 0: there are no centres.
        centre_rate: float in [0, 1]. How far centres move in a step.
    Call arguments:
        features: float tensor (batch, dimensions).
        labels: int tensor (batch,), or float rows (batch, identities) with one entry that dominates.
        training: bool. Whether the centres move.
    Returns:
        Float scalar, and a dict of the losses that it is made of: `triplet_loss`, `centre_loss`, each a
        mean over this replica's share of the batch.
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
        """The losses that there are, list of str."""
        return [
            *(["triplet_loss"] if self.triplet != "none" else []),
            *(["centre_loss"] if self.centres else []),
        ]

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
        own = {
            name: getattr(self, name)
            for name in ("identities", "triplet", "triplet_weight", "margin", "centre_weight")
        }
        return super().get_config() | own | {"centre_rate": self.centre_rate}
