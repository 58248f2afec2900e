"""How far a critic's advice has been borne out: what it predicted against what was measured."""

import keras
import tensorflow as tf

MARGIN = 4.0  # Standard errors.


@keras.saving.register_keras_serializable("dreal_tf")
class Trust(keras.layers.Layer):
    """A weight in [0, 1] for each step, by which its actor heeds the critic. [ours]

    For every measured pair of an action and an alternative, the critic's direction predicts a
    difference and the network showed one. Their cosine over recent pairs, less four standard
    errors and at least 0, is the weight: an ignorant critic is not obeyed. So many, because a few
    pairs with large differences make up most of the cosine, and because a critic is judged at every
    step: by two of them one that knows nothing was heeded now and then. A pair is judged before the
    critic learns from it, so nothing is set aside for it.

    Args:
        steps: int >= 1. Number of steps.
        memory: float in (0, 1). Share of what was known that a training step keeps.
    Example:
        >>> trust, differences = Trust(steps=1), np.random.normal(size=99).astype("float32")
        >>> ones, steps = np.ones(99, "float32"), np.zeros(99, "int32")
        >>> round(float(trust(differences, differences, steps, ones)[0]), 2)
        0.6
        >>> float(trust(-differences, 9 * differences, steps, ones)[0])
        0.0
    """

    def __init__(self, steps, memory=0.98, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.steps = steps
        self.memory = memory
        # Decayed sums of products, of squares, and of how many pairs there were.
        self.sums = self.add_weight(
            (4, steps), initializer="zeros", trainable=False, aggregation="mean", name="sums"
        )

    def call(self, predicted, measured, steps, counted):
        """Takes in what was measured.

        Args:
            predicted: float tensor (n,), differences as the critic's directions say (nats).
            measured: float tensor (n,), differences as the network showed (nats).
            steps: int32 tensor (n,). Position of each pair's step.
            counted: float tensor (n,). 1 where the pair counts, 0 elsewhere.
        Returns:
            Float tensor (steps,), the weights now.
        """
        terms = tf.stack([predicted * measured, predicted**2, measured**2, tf.ones_like(measured)])
        # Half precision may overflow; a difference that is not finite says nothing.
        counted = (counted > 0) & tf.reduce_all(tf.math.is_finite(terms), axis=0)
        terms = tf.where(counted, terms, 0.0)  # (4, n)
        added = tf.math.unsorted_segment_sum(tf.transpose(terms), steps, self.steps)
        # The replicas' assignments are averaged; what they add up to is the number of pairs.
        added *= tf.cast(tf.distribute.get_replica_context().num_replicas_in_sync, tf.float32)
        self.sums.assign(self.memory * self.sums + tf.transpose(added))
        return self.weights_now()

    def weights_now(self):
        """The weights, float tensor (steps,), as they are."""
        products, predicted, measured, pairs = tf.unstack(tf.convert_to_tensor(self.sums))
        cosine = tf.math.divide_no_nan(products, tf.sqrt(predicted * measured))
        error = tf.math.rsqrt(tf.maximum(pairs, 1.0))  # Of a cosine that is 0 in truth.
        return tf.maximum(cosine - MARGIN * error, 0.0)

    def get_config(self):
        return super().get_config() | {"steps": self.steps, "memory": self.memory}
