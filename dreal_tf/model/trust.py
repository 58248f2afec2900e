"""How far a critic's advice has been borne out: what it predicted against what was measured."""

import math

import keras
import tensorflow as tf

MARGIN = 5.0  # Standard errors.


@keras.saving.register_keras_serializable("dreal_tf")
class Trust(keras.layers.Layer):
    """A weight in [0, 1] for each step, by which its actor heeds the critic. [ours]

    For every measured pair of an action and an alternative, the critic's direction says which of
    the two is better, and the network showed it. Agreement is how much oftener the two signs are
    alike than by chance: the covariance of the signs over recent pairs, so that to call every action
    better is worth nothing, however often it is. Less five standard errors and at least 0, it gives
    the weight: the correlation that normal differences with that agreement have. A pair is judged
    before the critic learns from it, so nothing is set aside for it.

    Signs, and so many standard errors, because a critic is judged at every step and an ignorant one
    must never be obeyed: in sums of the differences themselves a few large ones decide.

    Args:
        steps: int >= 1. Number of steps.
        memory: float in (0, 1). Share of what was known that a training step keeps, at least.
        pairs: float > 0. Pairs over which what was known fades where a training step brings few of
            them, as in a network of many modules: they would never add up to anything else.
    Example:
        >>> trust, differences = Trust(steps=1), np.random.normal(size=400).astype("float32")
        >>> ones, steps = np.ones(400, "float32"), np.zeros(400, "int32")
        >>> float(trust(differences, differences, steps, ones)[0]) > 0.9
        True
        >>> float(trust(-differences, 9 * differences, steps, ones)[0])
        0.0
    """

    def __init__(self, steps, memory=0.98, pairs=400.0, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.steps = steps
        self.memory = memory
        self.pairs = pairs
        # Decayed sums: pairs, predicted signs, measured signs, their products. Then the pairs of the
        # last training step, on which replicas agree by now.
        self.sums = self.add_weight(
            (5, steps), initializer="zeros", trainable=False, aggregation="mean", name="sums"
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
        # Half precision may overflow; a difference that is not finite says nothing.
        counted = (counted > 0) & tf.math.is_finite(predicted) & tf.math.is_finite(measured)
        signs = tf.sign(predicted), tf.sign(measured)
        terms = tf.stack([tf.ones_like(measured), *signs, signs[0] * signs[1]])
        terms = tf.where(counted, terms, 0.0)  # (4, n)
        added = tf.math.unsorted_segment_sum(tf.transpose(terms), steps, self.steps)
        # The replicas' assignments are averaged; what they add up to is the number of pairs.
        added *= tf.cast(tf.distribute.get_replica_context().num_replicas_in_sync, tf.float32)
        added = tf.transpose(added)
        *known, last = tf.unstack(tf.convert_to_tensor(self.sums))
        kept = tf.maximum(self.memory, tf.exp(-last / self.pairs))
        self.sums.assign(tf.concat([kept * tf.stack(known) + added, added[:1]], axis=0))
        return self.weights_now()

    def weights_now(self):
        """The weights, float tensor (steps,), as they are."""
        pairs, predicted, measured, products, _ = tf.unstack(tf.convert_to_tensor(self.sums))
        count = tf.maximum(pairs, 1.0)
        agreement = products / count - predicted * measured / count**2
        # The standard error of an agreement that is 0 in truth is at most this.
        agreement -= MARGIN * tf.math.rsqrt(count)
        return tf.sin(math.pi / 2 * tf.maximum(agreement, 0.0))

    def get_config(self):
        return super().get_config() | {
            "steps": self.steps,
            "memory": self.memory,
            "pairs": self.pairs,
        }
