"""What speaks for taking modules out: measured on validation images, never on test images."""

import numpy as np
import tensorflow as tf

from dreal_tf.auditing.values import values_of
from dreal_tf.method.formulas import per_example_score
from dreal_tf.networks.backbones import plain_network


def judged_on_validation(data):
    """Data whose test split is the validation split: what is chosen has not seen the real one.

    Args:
        data: `dreal_tf.data.Splits`.
    Returns:
        `dreal_tf.data.Splits`; labels of the test split are ints.
    Example:
        >>> data = judged_on_validation(build_data(load_recipe("digits_resnet8_se")))
        >>> data.sizes["test"] == data.sizes["validation"]
        True
    """
    validation = data.validation
    if data.soft_labels:
        validation = validation.map(lambda images, rows: (images, tf.argmax(rows, axis=1)))
    return data._replace(test=validation, sizes=data.sizes | {"test": data.sizes["validation"]})


class Judge:
    """What a network loses where a smaller one takes its place, on the same images.

    Args:
        network: functional `keras.Model` with auxiliary outputs, ending in logits.
        batches: iterable of (images, int labels), at least two images in all.
        seed: int, of the bootstrap.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> judge = Judge(network, [(np.random.rand(4, 8, 8, 1), np.arange(4))])
        >>> judge.cost(network)["value"]
        0.0
    """

    def __init__(self, network, batches, seed=0):
        self.batches = batches
        self.seed = seed
        self.log_p, self.right = self._answers(network)

    def cost(self, smaller):
        """What `smaller` costs.

        Returns:
            Dict, see `dreal_tf.auditing.values.values_of`: `value`, the mean fall of log p of the
            label (nats), its interval, `accuracy_drop`, and so on.
        """
        log_p, right = self._answers(smaller)
        return values_of((self.log_p - log_p)[:, None], self.right, right[:, None], self.seed)[0]

    def _answers(self, network):
        run = tf.function(plain_network(network), reduce_retracing=True)
        log_p, right = [], []
        for images, labels in self.batches:
            labels = tf.cast(labels, tf.int32)
            logits = run(tf.cast(images, tf.float32), training=False)
            log_p.append(per_example_score(labels, logits, from_logits=True))
            right.append(tf.argmax(logits, axis=1, output_type=tf.int32) == labels)
        return np.concatenate(log_p).astype(np.float64), np.concatenate(right)
