"""Evaluates networks: accuracy, loss, the reward of each module, and retrieval scores."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from dreal_tf.data.splits import sample_examples
from dreal_tf.errors import InputError
from dreal_tf.model import DREAL
from dreal_tf.retrieval.embedding import Embedder, scores_of
from dreal_tf.training.callbacks import StopOnNaN
from dreal_tf.visualization.attention_maps import module_maps
from dreal_tf.visualization.grad_cam import energy_in_box, peak_in_box

MEASURED = ("reward/", "gain/")
POINTED = 2000  # Test images, at most, on which attention is compared with objects.


class RunMetrics(dict):
    """Metrics of a run's best weights on the test split, as in the run's `metrics.json`.

    Attributes:
        run: Path of the run directory.
    Example:
        >>> RunMetrics({"accuracy": 0.75, "loss": 0.5}, "runs/mine").accuracy
        0.75
    """

    def __init__(self, metrics: Mapping[str, Any], run: str | os.PathLike[str]):
        super().__init__(metrics)
        self.run = Path(run)

    @property
    def accuracy(self) -> float:
        """Fraction of test images whose predicted class is their label."""
        return self["accuracy"]

    @property
    def loss(self) -> float:
        """Cross entropy of the test images (nats), regularisers included."""
        return self["loss"]


def evaluate_network(network, data, reference_action="mean", penalty=1.0):
    """Accuracy, loss, and the reward of every module of a network.

    Args:
        network: functional `keras.Model` with auxiliary outputs, see `DREAL`, ending in logits.
        data: tf.data.Dataset of (images, int labels), batched.
        reference_action, penalty: see `DREAL`.
    Returns:
        Dict of float: `accuracy`, `loss` (cross entropy and regularisers), `cross_entropy` (nats), and
        for each module `reward/<module>` and `gain/<module>`.
    Raises:
        DivergedError: if the loss is not finite; the message names the batch.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> data = tf.data.Dataset.from_tensors((np.zeros((4, 8, 8, 1)), np.arange(4)))
        >>> sorted(evaluate_network(network, data))[:3]
        ['accuracy', 'cross_entropy', 'gain/conv2_1/se']
    """
    model = DREAL(
        network, None, reference_action=reference_action, penalty=penalty, validation_fraction=1.0
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Without regularisers, whose sum differs between networks with and without attention.
    cross_entropy = keras.metrics.SparseCategoricalCrossentropy("cross_entropy", from_logits=True)
    model.compile(loss=loss, metrics=["accuracy", cross_entropy])
    logs = model.evaluate(data, verbose=0, return_dict=True, callbacks=[StopOnNaN()])
    measured = {name: value for name, value in logs.items() if name.startswith(MEASURED)}
    chosen = {name: logs[name] for name in ("accuracy", "loss", "cross_entropy")} | measured
    return {name: float(value) for name, value in chosen.items()}


def evaluate_splits(network, data, reference_action="mean", penalty=1.0, ranking=None):
    """Evaluates a network on the test images of a data set.

    Args:
        network, reference_action, penalty: see `evaluate_network`.
        data: `dreal_tf.data.splits.Splits`.
        ranking: dict of options of `dreal_tf.retrieval.embedding.scores_of`, for data of identities only; None
            for its defaults.
    Returns:
        Dict, see `evaluate_network`. Data of identities adds the scores of its gallery in front; the
        other values are then those of held-out images of the training identities. Data whose objects are
        known adds the scores of `pointing`.
    Raises:
        InputError: if ranking options are given for data without identities.
    """
    if data.retrieval is None and ranking:
        raise InputError(
            f"Expected a run on data of identities for {', '.join(ranking)}. Received: one on classes, "
            "which has no gallery. Remove these options."
        )
    scores = {}
    if data.retrieval is not None:
        scores = scores_of(Embedder(network), data.retrieval["test"], **(ranking or {}))
    scores |= evaluate_network(network, data.test, reference_action, penalty)
    return scores | (pointing(network, data) if data.boxes_of is not None else {})


def pointing(network, data, images=POINTED):
    """How well the attention maps of a network point at the objects that give the labels.

    Args:
        network: see `evaluate_network`.
        data: `dreal_tf.data.splits.Splits` with `boxes_of`.
        images: int. Test images, at most.
    Returns:
        Dict of float: for each module with a map over positions `pointing/<module>`, the fraction of images
        whose map has its maximum on the object, and `energy/<module>`, the mean fraction of the map that lies
        on it. An even map gets the fraction of the image that objects cover.
    Example:
        >>> from dreal_tf.data.cued import cued
        >>> network = residual_network((24, 24, 1), 10, depth=8, attention=CBAM(4))
        >>> sorted(pointing(network, cued(batch_size=64), images=20))[:2]
        ['energy/conv2_1/cbam_spatial', 'energy/conv3_1/cbam_spatial']
    """
    examples, _ = sample_examples(data, images)
    boxes, scores = data.boxes_of(examples), {}
    for module, maps in module_maps(network, examples).items():
        scores[f"pointing/{module}"] = float(peak_in_box(maps, boxes).mean())
        scores[f"energy/{module}"] = float(energy_in_box(maps, boxes).mean())
    return scores
