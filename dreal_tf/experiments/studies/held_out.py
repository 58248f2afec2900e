"""Held-out images, and what a network makes of them with its attention and without."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dreal_tf.data import draw_examples
from dreal_tf.layers import intervene
from dreal_tf.method.formulas import per_example_score

AT_A_TIME = 500  # Images per pass.


class HeldOut(NamedTuple):
    """Images with their labels.

    Attributes:
        images: float array (n, height, width, channels).
        labels: int32 array (n,).
    """

    images: object
    labels: object

    def batches(self):
        """Pairs of images and labels, a few hundred at a time."""
        for start in range(0, len(self.labels), AT_A_TIME):
            part = slice(start, start + AT_A_TIME)
            yield self.images[part], self.labels[part]


class Worth(NamedTuple):
    """What a network is worth on images.

    Attributes:
        accuracy: float in [0, 1].
        log_p: float. Mean log probability of the true label (nats).
        log_p_ablated: float. The same with every action replaced by its own mean at once.
    """

    accuracy: float
    log_p: float
    log_p_ablated: float


def draw_held_out(data, count, seed):
    """Some of the test images, in random order, so that classes are mixed.

    Args:
        data: `dreal_tf.data.Splits`.
        count: int. How many, at most.
        seed: int.
    Returns:
        `HeldOut`.
    Example:
        >>> data = build_data(load_recipe("digits_resnet8_se"))
        >>> len(draw_held_out(data, 40, seed=0).labels)
        40
    """
    return HeldOut(*draw_examples(data.test, data.sizes["test"], count, seed))


class Judge:
    """Says what a network is worth on the same images, as often as it is asked.

    Args:
        network: functional `keras.Model` with auxiliary outputs, ending in logits.
        held_out: `HeldOut`.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> held_out = HeldOut(np.random.rand(6, 8, 8, 1), np.arange(6, dtype="int32"))
        >>> Judge(network, held_out)().log_p < 0
        True
    """

    def __init__(self, network, held_out):
        self.network = network
        self.held_out = held_out
        self._plain = tf.function(self._pass)
        self._ablated = tf.function(self._without_attention)

    def __call__(self):
        """`Worth` of the network as it is now."""
        plain = [self._plain(*batch) for batch in self.held_out.batches()]
        ablated = [self._ablated(*batch) for batch in self.held_out.batches()]
        log_p, right = (np.concatenate(part).astype(float) for part in zip(*plain, strict=True))
        log_p_ablated = np.concatenate([part[0] for part in ablated]).astype(float)
        return Worth(float(right.mean()), float(log_p.mean()), float(log_p_ablated.mean()))

    def _pass(self, images, labels):
        logits = self.network(images, training=False)["logits"]
        log_p = per_example_score(labels, logits, from_logits=True)
        return log_p, tf.argmax(logits, axis=1, output_type=tf.int32) == labels

    def _without_attention(self, images, labels):
        def mean_action(actor, index, state, action):
            return actor.reference_action(action, "mean", index)

        with intervene(mean_action):
            return self._pass(images, labels)
