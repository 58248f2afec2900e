"""The centres of the centre loss, one an identity."""

import keras
import tensorflow as tf

from dreal_tf.errors import InputError, check_at_least_one
from dreal_tf.metric_losses import centre_loss, identity_sums, moved_centres


@keras.saving.register_keras_serializable("dreal_tf")
class Centres(keras.layers.Layer):
    """Holds the centres of a centre loss, the same on all replicas.

    Args:
        identities: int >= 1. Number of identities.
        rate: float in [0, 1]. How far centres move in a training step.
    Call arguments:
        embeddings: float tensor (batch, dimensions).
        labels: int tensor (batch,), from 0 to identities - 1.
        training: bool. True: the centres move after the loss is taken, towards the images of all
            replicas.
    Returns:
        Float scalar: `centre_loss` of this replica's share.
    Raises:
        InputError: if an argument is out of its range.
    Example:
        >>> centres = Centres(identities=2)
        >>> float(centres(np.float32([[2.0]]), np.array([1]), training=True))
        2.0
        >>> centres.centres.numpy().tolist()
        [[0.0], [0.5]]
    Source: see `dreal_tf.metric_losses.centre_loss`. Departs from it in: centres begin at zero and
        not at random.
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
