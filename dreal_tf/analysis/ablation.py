"""What a network says with its attention and without: log probabilities and answers, image by image."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dreal_tf.errors import RunError
from dreal_tf.finite import propagate_nonfinite
from dreal_tf.layers import intervene
from dreal_tf.method.formulas import per_example_score
from dreal_tf.method.rewards import ABLATIONS, OWN, Ablation


class Differences(NamedTuple):
    """What was measured of n images, right and wrong ones.

    Attributes:
        groups: tuple of tuples of str: the modules that were ablated together, one for each column.
        labels: int array (n,).
        log_p: float array (n,). Log probability of the label, nothing ablated (nats).
        right: bool array (n,). Whether the answer was the label then.
        differences: dict by baseline, "mean" and "static", of float arrays (n, groups): `log_p` less
            what it is with the group ablated (nats).
        right_without: dict by baseline of bool arrays (n, groups): whether the answer was the label
            with the group ablated.
    """

    groups: tuple
    labels: object
    log_p: object
    right: object
    differences: dict
    right_without: dict


def measure_differences(network, batches, static, groups, from_logits=True, track=None):
    """Runs a network once as it is, and once for each group of modules and baseline.

    Args:
        network: `keras.Model` from images to one row (batch, classes).
        batches: sequence or tf.data.Dataset of known length, of (images, int labels).
        static: dict of the static actions of all its modules, see `static_actions`.
        groups: sequence of tuples of str: modules to ablate together.
        from_logits: bool. Whether the rows are logits; False: probabilities.
        track: callable that passes on the items of a sized iterable while it shows progress, or None.
    Returns:
        `Differences`.
    Raises:
        RunError: if a log probability is not finite; it names the batch.
    Example:
        >>> network = plain_network(residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4)))
        >>> images, labels = np.random.rand(6, 8, 8, 1).astype("float32"), np.arange(6)
        >>> groups, static = [("conv2_1/se",)], static_actions(network, images)
        >>> found = measure_differences(network, [(images, labels)], static, groups)
        >>> found.differences["static"].shape
        (6, 1)
    """
    run = _compiled(network, static, from_logits)
    arms = [None, *((baseline, group) for group in groups for baseline in ABLATIONS)]
    found, labels = {arm: [] for arm in arms}, []
    passes = _Passes(batches, arms)
    for arm, images, of_images in track(passes) if track else passes:
        labels += [of_images] if arm is None else []
        found[arm].append([part.numpy() for part in run(images, of_images, _applied(arm, static))])
        if not np.isfinite(found[arm][-1][0]).all():
            raise RunError(
                "Expected finite log probabilities. Received: nan or infinite ones in batch "
                f"{len(labels) - 1} of the test images. Check its images, and audit in float32."
            )
    whole = {arm: [np.concatenate(p) for p in zip(*parts, strict=True)] for arm, parts in found.items()}
    return _differences(tuple(groups), np.concatenate(labels), whole)


class _Passes:
    """Every batch with every arm, nothing ablated first: what progress is counted in."""

    def __init__(self, batches, arms):
        self.batches = batches
        self.arms = arms

    def __len__(self):
        return len(self.batches) * len(self.arms)

    def __iter__(self):
        for images, labels in self.batches:
            for arm in self.arms:
                yield arm, images, labels


def _compiled(network, static, from_logits):
    """One function for all arms, and for a last batch that is shorter."""
    shape = (None, *network.input_shape[1:])
    specs = tf.TensorSpec(shape), tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None,), tf.int32)

    @tf.function(input_signature=specs, autograph=False)
    def run(images, labels, applied):
        ablation = Ablation(applied, static)
        with intervene(ablation):
            outputs = propagate_nonfinite(network(images, training=False), images)
        right = tf.argmax(outputs, axis=1, output_type=tf.int32) == labels
        unchanged = tf.broadcast_to(ablation.unchanged, tf.shape(labels))
        return per_example_score(labels, outputs, from_logits), right, unchanged

    def run_cast(images, labels, applied):
        return run(tf.cast(images, tf.float32), tf.cast(labels, tf.int32), applied)

    return run_cast


def _applied(arm, static):
    """What each module applies in an arm."""
    baseline, group = arm or ("mean", ())
    return tf.constant([ABLATIONS[baseline] if module in group else OWN for module in static])


def _differences(groups, labels, whole):
    log_p, right, _ = whole[None]
    log_p = np.asarray(log_p, np.float64)
    differences, right_without = {}, {}
    for baseline in ABLATIONS:
        of_groups = [whole[baseline, group] for group in groups]
        # An ablation that changes no action changes nothing, whatever the rounding of two passes.
        differences[baseline] = np.stack(
            [np.where(same, 0.0, log_p - without) for without, _, same in of_groups], axis=1
        )
        right_without[baseline] = np.stack(
            [np.where(same, right, answer) for _, answer, same in of_groups], axis=1
        )
    return Differences(groups, labels, log_p, right, differences, right_without)
