"""All that the sections of a report share, measured once."""

import time
from functools import partial
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dreal_tf.analysis.audit import Audit, audit
from dreal_tf.analysis.inputs import unvaried
from dreal_tf.data.splits import Splits, sample_examples
from dreal_tf.errors import InputError
from dreal_tf.networks.backbones import actors_of, plain_network
from dreal_tf.networks.flops import multiply_adds
from dreal_tf.retrieval import score_embeddings
from dreal_tf.retrieval.embedding import Embedder
from dreal_tf.training.callbacks import read_history
from dreal_tf.training.recipe import Recipe
from dreal_tf.training.run_directory import finished_run
from dreal_tf.training.trained_run import best_network, run_data
from dreal_tf.visualization.heatmaps import reduced

WARM, TIMED = 5, 100  # Calls with one image before its time is measured, and while it is.
TONES = {"this run": "ours", "baseline": "baseline"}  # The colours of the runs in figures.


class Embeddings(NamedTuple):
    """Embeddings of the test split's queries and gallery, by one network.

    Attributes:
        query, gallery: float arrays (images, dimensions).
        scores: dict, see `dreal_tf.retrieval.Scores.summary`.
    """

    query: np.ndarray
    gallery: np.ndarray
    scores: dict


class RunEvidence(NamedTuple):
    """What is known of a run.

    Attributes:
        path: str.
        recipe: `dreal_tf.Recipe`.
        environment: dict, its `environment.json`; empty if the run has none.
        metrics: dict, its `metrics.json`.
        history: list of dicts, its `history.csv`.
        network: functional `keras.Model` with auxiliary outputs, best weights.
        probabilities: float32 array (test images, classes), in the order of the data.
        cost: dict: `training_seconds`, `parameters`, `multiply_adds` (one image), `milliseconds`
            (one image at a time, the fastest call).
        audit: `Audit`; None of a network without attention.
        embeddings: `Embeddings`; None of data of classes.
    """

    path: str
    recipe: Recipe
    environment: dict
    metrics: dict
    history: list
    network: object
    probabilities: np.ndarray
    cost: dict
    audit: Audit | None
    embeddings: Embeddings | None


class Evidence(NamedTuple):
    """All that a report is made from.

    Attributes:
        ours: `RunEvidence` of the run.
        baseline: `RunEvidence` of the one to compare with, or None.
        data: `Splits` of the run.
        labels: int array (test images,), in the order of the data.
        examples: pair of arrays: test images that attention is measured on, and their labels.
        seed: int, of all random choices.
    """

    ours: RunEvidence
    baseline: RunEvidence | None
    data: Splits
    labels: np.ndarray
    examples: tuple
    seed: int

    @property
    def runs(self):
        """Dict from the name of a run in the report to its `RunEvidence`."""
        both = {"this run": self.ours, "baseline": self.baseline}
        return {name: run for name, run in both.items() if run is not None}

    @property
    def class_names(self):
        """Tuple of str, by label."""
        return self.data.class_names

    def pixels(self, inputs):
        """Inputs of a network as people see them: float64, from 0 to 1; large ones `reduced`."""
        return self.data.preprocessing.pixels(reduced(inputs)).numpy() / 255.0


def gather(inputs, data_dir=None, track=None):
    """Measures all that the sections of a report share.

    Both networks predict the whole test split of the run's data, in its order; attention is measured
    on images drawn from it, the same ones for both.

    Args:
        inputs: `dreal_tf.analysis.inputs.ReportInputs`.
        data_dir: str, path or None. Folder of the data; None for the run's own.
        track: callable (items, description, their number or None) that passes on the items while it shows
            progress, or None.
    Returns:
        `Evidence`.
    Raises:
        InputError: if a run has no weights or no attention, or its data is not there.
    """
    runs = [run for run in (inputs.run, inputs.baseline) if run is not None]
    recipe, directory = inputs.run.recipe, inputs.run.directory
    data, seed = run_data(directory, unvaried(recipe.reading(data_dir))), recipe.run.seed
    networks = [best_network(finished_run(run.directory.path), run.recipe, data) for run in runs]
    if not actors_of(networks[0]):
        raise InputError(
            f"Expected a run whose network has attention. Received: {str(directory.path)!r}, whose blocks "
            "all go without. Name one that has, and this one with --against."
        )
    times = latencies(networks, data.image_shape)
    examples = sample_examples(data, inputs.images, seed)

    def tracked(items):
        return track(items, "Values of modules", len(items)) if track else items

    evidence = []
    for run, network, milliseconds in zip(runs, networks, times, strict=True):
        labels, probabilities = predictions(network, data.test, track)
        plain = plain_network(network)
        cost = {
            "training_seconds": run.metrics.get("training_seconds"),
            "milliseconds": milliseconds,
            "parameters": plain.count_params(),
            "multiply_adds": multiply_adds(plain, data.image_shape),
        }
        of_run = RunEvidence(
            path=str(run.directory.path),
            recipe=run.recipe,
            environment=run.directory.read_environment(),
            metrics=run.metrics,
            history=read_history(run.directory.history),
            network=network,
            probabilities=probabilities,
            cost=cost,
            audit=audit(network, inputs.images, data, track=tracked) if actors_of(network) else None,
            embeddings=_embeddings(network, data.retrieval["test"]) if data.retrieval else None,
        )
        evidence.append(of_run)
    return Evidence(evidence[0], *(evidence[1:] or [None]), data, labels, examples, seed)


def _embeddings(network, retrieval):
    embed = Embedder(network)
    query, gallery = embed(retrieval.query), embed(retrieval.gallery)
    labels = retrieval.query_labels, retrieval.gallery_labels
    scores = score_embeddings(query, gallery, *labels, protocol=retrieval.protocol)
    return Embeddings(query, gallery, scores.summary())


def predictions(network, data, track=None):
    """Labels of a data set, and a network's probabilities.

    Args:
        network: functional `keras.Model` whose output is a dict that holds `logits`.
        data: tf.data.Dataset of (images, int labels), batched.
        track: as of `gather`.
    Returns:
        Int array of the labels, and float32 array (images, classes) of probabilities.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8)
        >>> data = tf.data.Dataset.from_tensors((np.zeros((4, 8, 8, 1), "float32"), np.arange(4)))
        >>> labels, probabilities = predictions(network, data)
        >>> labels.tolist(), probabilities.shape
        ([0, 1, 2, 3], (4, 10))
    """
    shape = tf.TensorSpec((None, *network.inputs[0].shape[1:]))  # The last batch may be shorter.

    @tf.function(input_signature=[shape])
    def predict(images):
        logits = network(images, training=False)["logits"]
        return tf.nn.softmax(tf.cast(logits, tf.float32))

    labels, probabilities = [], []
    count = int(data.cardinality())
    for images, of_images in (
        track(data, "Test images", count if count >= 0 else None) if track else data
    ):
        probabilities.append(predict(images).numpy())
        labels.append(of_images.numpy())
    return np.concatenate(labels).astype(int), np.concatenate(probabilities)


def latencies(networks, image_shape):
    """The shortest time of one image: other work on the machine only adds to it.

    Args:
        networks: sequence of functional `keras.Model`.
        image_shape: tuple (height, width, channels).
    Returns:
        List of float (milliseconds), the fastest of a hundred calls of each, the networks in turn.
    Example:
        >>> len(latencies([residual_network((8, 8, 1), 10, depth=8)], (8, 8, 1)))
        1
    """
    image = tf.zeros((1, *image_shape))
    calls = [tf.function(partial(plain_network(network), training=False)) for network in networks]
    milliseconds = [[] for _ in calls]
    for turn in range(WARM + TIMED):
        for call, times in zip(calls, milliseconds, strict=True):
            start = time.perf_counter()
            call(image).numpy()
            if turn >= WARM:
                times.append(1000 * (time.perf_counter() - start))
    return [min(times) for times in milliseconds]


def images_at(data, positions):
    """Some images of a data set, in the given order.

    Args:
        data: tf.data.Dataset of images, or of tuples that begin with images; batched.
        positions: int array (n,), each at most once.
    Returns:
        Array (n, height, width, channels).
    Example:
        >>> data = tf.data.Dataset.from_tensor_slices((np.arange(9.0), np.arange(9))).batch(4)
        >>> images_at(data, np.array([7, 2])).tolist()
        [7.0, 2.0]
    """
    positions = np.asarray(positions)
    images, start = {}, 0
    for batch in data.as_numpy_iterator():
        batch = batch[0] if isinstance(batch, tuple) else batch
        inside = positions[(positions >= start) & (positions < start + len(batch))]
        images |= {int(position): batch[position - start] for position in inside}
        start += len(batch)
        if len(images) == len(positions):
            break
    return np.stack([images[int(position)] for position in positions])
