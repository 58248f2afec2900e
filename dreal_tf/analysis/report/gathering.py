"""All that a report needs of a run, computed once."""

import json
import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dreal_tf.analysis.audit import audit, mcnemar
from dreal_tf.analysis.report.rankings import Asked, Ranking, asked_of, ranking_of
from dreal_tf.analysis.report.views import Shown, Views, shown_images, views_of
from dreal_tf.analysis.sources import unvaried
from dreal_tf.data import Splits, draw_examples
from dreal_tf.errors import InputError
from dreal_tf.method.instruments import bootstrap_mean
from dreal_tf.networks.backbones import actors_of, plain_network
from dreal_tf.networks.flops import multiply_adds
from dreal_tf.recipe import Recipe
from dreal_tf.training.callbacks.history_file import read_history
from dreal_tf.training.run_directory import RunDirectory
from dreal_tf.training.trained_run import best_network, finished_run, run_data
from dreal_tf.visualization.channel_actions import channel_actions


def confusion_counts(labels, answered, classes):
    """How often each label was answered by each class.

    Args:
        labels, answered: int arrays (n,).
        classes: int.
    Returns:
        Int array (classes, classes): rows by label, columns by answer.
    Example:
        >>> confusion_counts(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    pairs = np.asarray(labels) * classes + np.asarray(answered)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def most_confused(counts, most=12):
    """The pairs of label and wrong answer that occur most often.

    Args:
        counts: int array (classes, classes), see `confusion_counts`.
        most: int. Pairs to name, at most.
    Returns:
        List of (label, answer, count, share of the label's images), most frequent first; of equally
        frequent ones the first in the order of the classes.
    Example:
        >>> most_confused(np.array([[5, 1], [3, 7]]))
        [(1, 0, 3, 0.3), (0, 1, 1, 0.16666666666666666)]
    """
    wrong = np.array(counts)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = np.stack(np.unravel_index(order, wrong.shape), axis=1).tolist()
    of_label = np.asarray(counts).sum(axis=1)
    return [
        (label, answer, int(wrong[label, answer]), float(wrong[label, answer] / of_label[label]))
        for label, answer in places
        if wrong[label, answer]
    ]


def confident_mistakes(probabilities, labels, most=12):
    """The wrong answers that were given with the greatest probability.

    Args:
        probabilities: float array (n, classes).
        labels: int array (n,).
        most: int. Mistakes to name, at most.
    Returns:
        Int array of positions, most confident first; of equal ones the first in the data.
    Example:
        >>> p = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
        >>> confident_mistakes(p, np.array([1, 1, 0])).tolist()
        [0, 2]
    """
    answered = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(answered != labels)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return wrong[order][:most]


def paired_difference(right, right_of_other, seed=0):
    """How much more often one network is right than another, on the same images.

    Args:
        right, right_of_other: bool arrays (n,), by image.
        seed: int, of the bootstrap over images.
    Returns:
        Dict: `mean`, `low`, `high` (difference of the accuracies and its 95 % interval, fractions),
        `only_this`, `only_other` (images that one alone gets right) and `p_value` (exact McNemar
        test: that the two numbers differ by chance).
    Example:
        >>> found = paired_difference(np.array([True] * 6), np.array([False] * 6))
        >>> found["mean"], found["only_this"], found["p_value"]
        (1.0, 6, 0.03125)
    """
    right, right_of_other = np.asarray(right, bool), np.asarray(right_of_other, bool)
    counts = {
        "only_this": int((right & ~right_of_other).sum()),
        "only_other": int((~right & right_of_other).sum()),
        "p_value": mcnemar(right, right_of_other),
    }
    return bootstrap_mean(right.astype(float) - right_of_other, seed) | counts


WARM, TIMED = 5, 100  # Calls with one image before its time is taken, and while it is.


class RunEvidence(NamedTuple):
    """What is known of a run.

    Attributes:
        path: str.
        recipe: `dreal_tf.Recipe`.
        environment: dict, see `dreal_tf.run_directory`; empty where the run has none.
        metrics: dict, its `metrics.json`.
        history: list of dicts, its `history.csv`.
        network: functional `keras.Model` with auxiliary outputs, best weights.
        probabilities: float32 array (test images, classes), in the order of the data.
        cost: dict: `training_seconds`, `parameters`, `multiply_adds` (one image), `milliseconds`
            (one image at a time, the fastest call).
        audit: dict, see `dreal_tf.auditing.audit.audit`; None of a network without attention.
        channels: dict by module of `dreal_tf.visualize.ChannelActions`; empty where there are none.
        views: `dreal_tf.reporting.views.Views`.
        ranking: `dreal_tf.reporting.rankings.Ranking`; None of data of classes.
    """

    path: str
    recipe: Recipe
    environment: dict
    metrics: dict
    history: list
    network: object
    probabilities: np.ndarray
    cost: dict
    audit: dict | None
    channels: dict
    views: Views
    ranking: Ranking | None = None


class Evidence(NamedTuple):
    """All that a report is made from.

    Attributes:
        ours: `RunEvidence` of the run.
        baseline: `RunEvidence` of the one beside it, or None.
        data: `Splits` of the run.
        labels: int array (test images,), in the order of the data.
        shown: `dreal_tf.reporting.views.Shown`, the images whose maps are drawn.
        seed: int, of what is drawn.
        asked: `dreal_tf.reporting.rankings.Asked`; None of data of classes.
    """

    ours: RunEvidence
    baseline: RunEvidence | None
    data: Splits
    labels: np.ndarray
    shown: Shown
    seed: int
    asked: Asked | None = None

    @property
    def runs(self):
        """Dict from what a run is called in the report to its `RunEvidence`."""
        both = {"this run": self.ours, "baseline": self.baseline}
        return {name: run for name, run in both.items() if run is not None}

    @property
    def class_names(self):
        """Tuple of str, by label."""
        return self.data.class_names


def gather(run_path, against=None, images=2000, data_dir=None, track=None):
    """Measures all that a report shows of a run, and of its baseline beside it.

    Both networks answer the whole test split of the run's data, in its order; attention is measured
    on images drawn from it, the same ones for both.

    Args:
        run_path: str or path of a finished run.
        against: str or path of another on the same data, or None.
        images: int >= 2. Test images to measure attention on; all of them where there are fewer.
        data_dir: str, path or None. Where the data lies now; None for where the run found it.
        track: callable (items, what is done with them, their number or None) that passes on the items
            while it shows progress, or None.
    Returns:
        `Evidence`.
    Raises:
        InputError: if there is no such run, or its data is not there.
    """
    runs = [RunDirectory(path) for path in (run_path, against) if path is not None]
    recipe = runs[0].read_recipe()
    data, seed = run_data(runs[0], unvaried(recipe.reading(data_dir))), recipe.run.seed
    networks = [best_network(finished_run(run.path), run.read_recipe(), data) for run in runs]
    if not actors_of(networks[0]):
        raise InputError(
            f"Expected a run whose network has attention. Received: {str(run_path)!r}, whose blocks all "
            "go without. Name one that has, and this one with --against."
        )
    times = latencies(networks, data.image_shape)
    drawn = draw_examples(data.test, data.sizes["test"], images, seed)
    asked = asked_of(data.retrieval["test"], seed) if data.retrieval else None
    found, shown = [], None
    for run, network, milliseconds in zip(runs, networks, times, strict=True):
        labels, probabilities = answers(network, data.test, track)
        shown = shown or shown_images(data, labels, drawn, seed)
        found.append(
            _run_evidence(
                run,
                network=network,
                probabilities=probabilities,
                cost={"milliseconds": milliseconds} | _counts(network, data.image_shape),
                audit=_audited(network, data, images, track) if actors_of(network) else None,
                channels=channel_actions(network, drawn[0]) if actors_of(network) else {},
                views=views_of(network, shown),
                ranking=asked and ranking_of(network, data.retrieval["test"], asked),
            )
        )
    baseline = found[1] if len(found) > 1 else None
    return Evidence(found[0], baseline, data, labels, shown, seed, asked)


def _counts(network, image_shape):
    network = plain_network(network)
    counted = multiply_adds(network, image_shape)
    return {"parameters": network.count_params(), "multiply_adds": counted}


def _audited(network, data, images, track):
    def shown(items):
        return track(items, "What modules are worth", len(items)) if track else items

    return audit(network, images, data, track=shown)


def _run_evidence(run, cost, **measured):
    metrics = run.read_metrics()
    return RunEvidence(
        path=str(run.path),
        recipe=run.read_recipe(),
        environment=json.loads(run.environment.read_text(encoding="utf-8"))
        if run.environment.is_file()
        else {},
        metrics=metrics,
        history=read_history(run.history),
        cost={"training_seconds": metrics.get("training_seconds")} | cost,
        **measured,
    )


def answers(network, data, track=None):
    """What a network answers to a data set.

    Args:
        network: functional `keras.Model` whose output is a dict that holds `logits`.
        data: tf.data.Dataset of (images, int labels), batched.
        track: as of `gather`.
    Returns:
        Int array of the labels, and float32 array (images, classes) of probabilities.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8)
        >>> data = tf.data.Dataset.from_tensors((np.zeros((4, 8, 8, 1), "float32"), np.arange(4)))
        >>> labels, probabilities = answers(network, data)
        >>> labels.tolist(), probabilities.shape
        ([0, 1, 2, 3], (4, 10))
    """

    shape = tf.TensorSpec((None, *network.inputs[0].shape[1:]))  # The last batch may be shorter.

    @tf.function(input_signature=[shape])
    def probabilities(images):
        logits = network(images, training=False)["logits"]
        return tf.nn.softmax(tf.cast(logits, tf.float32))

    labels, answered = [], []
    count = int(data.cardinality())
    tracked = track(data, "Test images", count if count >= 0 else None) if track else data
    for images, of_images in tracked:
        answered.append(probabilities(images).numpy())
        labels.append(of_images.numpy())
    return np.concatenate(labels).astype(int), np.concatenate(answered)


def latencies(networks, image_shape):
    """How long one image takes at best: other work on the machine only adds to it.

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
    calls = [_compiled(plain_network(network)) for network in networks]
    taken = [[] for _ in calls]
    for turn in range(WARM + TIMED):
        for call, times in zip(calls, taken, strict=True):
            start = time.perf_counter()
            call(image).numpy()
            if turn >= WARM:
                times.append(1000 * (time.perf_counter() - start))
    return [min(times) for times in taken]


def _compiled(network):
    return tf.function(lambda images: network(images, training=False))
