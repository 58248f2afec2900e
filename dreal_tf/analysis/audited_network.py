"""The network of an audit, the images and labels to measure it on, and the score it is measured by."""

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.analysis.inputs import Source, check_images, named_data, source_of
from dreal_tf.data.splits import Splits, sample_batches
from dreal_tf.errors import InputError, received
from dreal_tf.keras_internals import layers_inside
from dreal_tf.layers import AttentionActor
from dreal_tf.method.finite import check_finite_weights
from dreal_tf.method.formulas import per_example_score
from dreal_tf.model import DREAL
from dreal_tf.model.settings import ends_in_softmax, is_over_classes, outputs_are_logits
from dreal_tf.networks.attaching import attached, attached_where, gate_names
from dreal_tf.networks.backbones import plain_network
from dreal_tf.storage import read_network
from dreal_tf.training.builder import build_data
from dreal_tf.training.recipe import OtherBackbone, Recipe
from dreal_tf.training.run_directory import finished_run
from dreal_tf.training.trained_run import kept_network

IMAGES_AT_A_TIME = 32
CALIBRATION_IMAGES = 1024  # Images, at most, over which the static action is the mean.


class Task(NamedTuple):
    """The score of an audit.

    Attributes:
        score: callable (labels, outputs) -> float32 tensor (batch,): log p of the label, or the negative
            loss of an image, the mean over its entries.
        correct: callable (labels, outputs) -> bool tensor (batch,): whether the label is predicted; None
            where there are no classes that exclude each other.
        unit: str, of the score: "nats", or "loss" if the loss is not a log likelihood.
        loss: str, the name of the loss.
        from_logits: bool. Whether classes are told apart by logits.
    """

    score: object
    correct: object
    unit: str
    loss: str
    from_logits: bool = False


def over_classes(from_logits=True):
    """The task of classes that exclude each other.

    Args:
        from_logits: bool. Whether the network gives logits; False: probabilities.
    Returns:
        `Task`.
    Example:
        >>> task = over_classes(from_logits=False)
        >>> round(float(task.score(np.int32([1]), np.float32([[0.25, 0.75]]))[0]), 3)
        -0.288
    """

    def correct(labels, outputs):
        return tf.argmax(outputs, axis=1, output_type=tf.int32) == tf.cast(labels, tf.int32)

    def score(labels, outputs):
        return per_example_score(tf.cast(labels, tf.int32), outputs, from_logits)

    return Task(score, correct, "nats", "categorical_crossentropy", from_logits)


# Their values are negative log probabilities, a mean over the entries of an image.
LOG_LIKELIHOODS = (
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalCrossentropy,
    keras.losses.BinaryCrossentropy,
)


def by_loss(loss):
    """The task of lowering a loss, such as that of several labels, of a number, or of a map of classes.

    Args:
        loss: name, function or `keras.losses.Loss`, as `compile` takes it.
    Returns:
        `Task`.
    Example:
        >>> task = by_loss("mse")
        >>> task.score(np.float32([[1.0]]), np.float32([[3.0]])).numpy().tolist(), task.unit
        ([-4.0], 'loss')
    """
    loss = keras.losses.get(keras.tree.flatten(loss)[0])
    values = loss.call if isinstance(loss, keras.losses.Loss) else loss
    functions = [kind().fn for kind in LOG_LIKELIHOODS]
    is_likelihood = isinstance(loss, LOG_LIKELIHOODS) or loss in functions

    def score(labels, outputs):
        lost = values(tf.cast(labels, tf.float32), tf.cast(outputs, tf.float32))
        return -tf.reduce_mean(tf.reshape(lost, [tf.shape(outputs)[0], -1]), axis=1)

    name = getattr(loss, "name", None) or getattr(loss, "__name__", type(loss).__name__)
    return Task(score, None, "nats" if is_likelihood else "loss", name)


class Audited(NamedTuple):
    """All that an audit measures.

    Attributes:
        network: `keras.Model` from images to one output.
        task: `Task`.
        batches: sequence or tf.data.Dataset of known length, of (images, labels).
        calibration: float array (n, ...), the images of the static actions.
        class_names: tuple of str, by label; None without classes that exclude each other.
    """

    network: object
    task: Task
    batches: object
    calibration: np.ndarray
    class_names: tuple | None


def audited(target, images, data, data_dir=None, seed=0, gates=None, loss=None):
    """Finds and checks the network, the data and the score of an audit.

    Args:
        target, images, data, data_dir, seed, gates, loss: see `dreal_tf.analysis.audit.audit`.
    Returns:
        `Audited`.
    Raises:
        InputError: see `dreal_tf.analysis.audit.audit`.
    """
    network, data, class_names = _network_and_data(target, data, data_dir)
    if loss is None and getattr(network, "compiled", False):
        loss = network.loss
    _check_loss(loss)
    own, network = _plain(network), _one_output(with_actors(network, gates))
    task = _task(network, own, loss, labels_are_classes=isinstance(data, Splits))
    if isinstance(data, Splits):
        check_data(network, data, class_names)
        check_images(min(images, data.sizes["test"]))
        calibration, names = calibration_images(data), tuple(data.class_names)
        batches = sample_batches(data, images, IMAGES_AT_A_TIME, seed)
    else:
        pictures, labels = _examples(data, images, seed)
        labels = _checked_labels(task, network, pictures, labels)
        calibration = pictures[:CALIBRATION_IMAGES]
        names = None if task.correct is None else tuple(map(str, range(network.output_shape[-1])))
        starts = range(0, len(pictures), IMAGES_AT_A_TIME)
        batches = [tuple(part[n : n + IMAGES_AT_A_TIME] for part in (pictures, labels)) for n in starts]
    if task.from_logits:
        _check_logits(network, calibration[:IMAGES_AT_A_TIME])
    return Audited(network, task, batches, calibration, names)


def _check_loss(loss):
    try:
        keras.tree.map_structure(keras.losses.get, loss)
    except ValueError as error:
        raise InputError(
            f"Expected a loss as `compile` takes it. Received: loss={received(loss)}. Give a name such as "
            "'binary_crossentropy', or a `keras.losses.Loss`."
        ) from error


def _task(network, own, loss, labels_are_classes):
    """The task of a network: classes unless the loss is another's and the labels may be anything."""
    is_row = len(network.output_shape) == 2
    if not (labels_are_classes or loss is None or (is_over_classes(loss) and is_row)):
        return by_loss(loss)
    if not is_row:
        raise InputError(
            "Expected a network from images to one row of logits or probabilities for each, or the loss of "
            f"another task. Received: {network.name!r} with an output of shape {network.output_shape} and "
            "no loss. Give for example `loss=keras.losses.SparseCategoricalCrossentropy()`."
        )
    return over_classes(outputs_are_logits(loss, own) if loss is not None else not ends_in_softmax(own))


def _network_and_data(target, data, data_dir):
    """The network; its data, `Splits` or any that `fit` takes; and its class names if they are known."""
    if data is not None and not isinstance(data, str | Path | Recipe):  # Data itself.
        network = read_network(target, OWN_LAYERS) if isinstance(target, str | Path) else target
        return network, data, None
    if isinstance(target, str | Path):
        target = source_of(target, data, data_dir)
    if isinstance(target, Source):
        network, named, class_names = load_network(target), target.data, target.class_names
    elif data is not None:
        network, named, class_names = target, named_data(data, data_dir), None
    else:
        raise InputError(
            "Expected the data that the network was trained on. Received: data=None. Give (images, labels), "
            "a `tf.data.Dataset`, a recipe or its name, or `dreal_tf.data.splits.Splits`."
        )
    if named.classes is not None:
        return network, _folder_of_classes(named.classes, network), None
    return network, build_data(named.recipe, named.recorded), class_names


OWN_LAYERS = (
    "If layers of your own are in it, import what registers them, load it, and give it to "
    "`dreal_tf.audit(network, data=...)`; else save it again."
)


def load_network(source):
    """The network of a file, with the modules of its run.

    Args:
        source: `dreal_tf.analysis.inputs.Source`.
    Returns:
        `keras.Model`; with auxiliary outputs if a run trained gates that the network itself has.
    Raises:
        InputError: if the run has no weights yet, or Keras cannot load the file.
    """
    run = finished_run(source.path) if source.is_run else None
    network = kept_network(run) if run else read_network(source.path, OWN_LAYERS)
    recipe = run.read_recipe() if run else None
    own = recipe and isinstance(recipe.backbone, OtherBackbone) and recipe.attention.kind != "none"
    if own and not recipe.attention.insert_after:
        return attached_where(network, recipe.attention.gates)
    return network


def _folder_of_classes(folder, network):
    """A folder of classes as Keras reads it: images of the network's size, values from 0 to 255."""
    height, width, channels = network.input_shape[1:]
    modes = {1: "grayscale", 3: "rgb", 4: "rgba"}
    if None in (height, width) or channels not in modes:
        raise InputError(
            "Expected a network for images of a fixed size for a folder of classes. Received: "
            f"{network.name!r} with inputs of shape {network.input_shape}. Name a recipe of the data instead."
        )
    options = dict(image_size=(height, width), color_mode=modes[channels], batch_size=IMAGES_AT_A_TIME)
    try:
        return keras.utils.image_dataset_from_directory(
            folder, shuffle=True, seed=0, verbose=False, **options
        )
    except ValueError as error:
        raise InputError(
            f"Expected a folder with a folder of images for each class. Received: {str(folder)!r} ({error}). "
            "Name the folder that holds those of the classes, such as DATA/test."
        ) from error


def _plain(network):
    """The network that the user has, without auxiliary outputs."""
    if isinstance(network, DREAL):
        network.average_statistics()
        network = network.trajectory_network
    has_modules = isinstance(getattr(network, "output", None), dict) and "logits" in network.output
    return plain_network(network) if has_modules else network


def with_actors(network, gates):
    """A network with its attention as actors.

    Args:
        network: `keras.Model` or `DREAL`.
        gates: names or patterns of attention of other origin; None: all of it, if the network has no actors.
    Returns:
        `keras.Model`: the network itself if it has actors, else an `AttachedNetwork`.
    """
    if isinstance(network, DREAL):
        network = network.trajectory_network
    if not isinstance(network, keras.Function) or isinstance(network.output, dict):
        return network
    if gates is None and not any(isinstance(layer, AttentionActor) for layer in layers_inside(network)):
        gates = gate_names(network) if len(network.outputs) == 1 else ()
    return attached(network, gates) if gates else network


def _one_output(network):
    """The network from images to its logits alone; with actors that were made of foreign attention."""
    if isinstance(getattr(network, "output", None), dict) and "logits" in network.output:
        network = keras.Model(network.input, network.output["logits"], name=network.name)
    outputs = getattr(network, "outputs", None) or []
    if len(outputs) != 1 or len(network.inputs) != 1:
        raise InputError(
            "Expected a functional network from images to one output. Received: "
            f"{type(network).__name__} {network.name!r} with outputs {outputs}. Give "
            "`keras.Model(inputs, output)`."
        )
    check_finite_weights(network)
    return network


def _check_logits(network, images):
    """Refuses probabilities that come without a softmax at the network's end."""
    rows = np.asarray(network(images, training=False), np.float64)
    if rows.min() >= 0 and rows.max() <= 1 and rows.any():
        raise InputError(
            "Expected logits, or a softmax as the network's last layer. Received: answers that all lie "
            f"from 0 to 1 from {network.name!r}, which ends in neither. Let it end in logits; for a sigmoid "
            "of several labels give arrays and `loss='binary_crossentropy'`."
        )


def _examples(data, images, seed):
    """Images and labels: a sample of arrays, the first of anything else that yields batches."""
    if isinstance(data, tuple | list):
        pictures, labels, _ = keras.utils.unpack_x_y_sample_weight(tuple(data))
        if labels is None or len(pictures) != len(labels):
            raise InputError(
                "Expected as many labels as images. Received: "
                f"{'no labels' if labels is None else f'{len(labels)} labels for {len(pictures)} images'}. "
                "Give data=(images, labels)."
            )
        order = np.sort(np.random.default_rng(seed).permutation(len(pictures))[:images])
        return np.asarray(pictures)[order].astype("float32"), np.asarray(labels)[order]
    if not isinstance(data, tf.data.Dataset | keras.utils.PyDataset):
        raise InputError(
            "Expected (images, labels), a batched `tf.data.Dataset`, a `keras.utils.PyDataset`, a recipe or "
            f"`dreal_tf.data.splits.Splits`. Received: {received(data)}. Convert it."
        )
    batches, count = [], 0
    for batch in data if isinstance(data, tf.data.Dataset) else map(data.__getitem__, range(len(data))):
        pictures, labels, _ = keras.utils.unpack_x_y_sample_weight(batch)
        if np.ndim(labels) == 0:
            raise InputError(
                f"Expected batches of images and labels. Received: {'no labels' if labels is None else 'single examples'}. "
                "Give pairs in batches, such as data.batch(32)."
            )
        batches.append((np.asarray(pictures, "float32"), np.asarray(labels)))
        count += len(pictures)
        if count >= images:
            break
    if not batches:
        raise InputError(
            "Expected data with images. Received: an empty data set. Give one with images."
        )
    pictures, labels = (np.concatenate(part)[:images] for part in zip(*batches, strict=True))
    return pictures, labels


def _checked_labels(task, network, pictures, labels):
    """Labels as the task compares them with outputs; of classes int32 (n,)."""
    check_images(len(pictures))
    _check_shape(network, pictures.shape[1:])
    if task.correct is not None:
        return _class_labels(labels, network)
    try:
        task.score(labels[:2], network(pictures[:2], training=False))
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        problem = str(error).splitlines()[0]
        raise InputError(
            f"Expected labels that the loss compares with outputs of shape {network.output_shape}. Received: "
            f"labels of shape {(None, *labels.shape[1:])} ({problem}). Give labels as `fit` takes them."
        ) from error
    return labels


def _class_labels(labels, network):
    """Columns and one-hot rows are taken too."""
    classes = network.output_shape[-1]
    if labels.ndim == 2:
        labels = labels[:, 0] if labels.shape[1] == 1 else labels.argmax(axis=1)
    if labels.ndim != 1 or not np.all(np.isin(labels, np.arange(classes))):
        raise InputError(
            f"Expected labels from 0 to {classes - 1}, a class for each image. Received: labels of shape "
            f"{labels.shape}, such as {received(labels.ravel()[0].item())}. Number the classes, or give the "
            "`loss` of another task."
        )
    return labels.astype("int32")


def _check_shape(network, received_shape, cure="Give the data that it was trained on."):
    expected = tuple(network.input_shape[1:])
    if len(expected) != len(received_shape) or any(
        ours not in (None, theirs) for ours, theirs in zip(expected, received_shape, strict=True)
    ):
        raise InputError(
            f"Expected images of shape {expected}, which {network.name!r} takes. Received: images of "
            f"shape {tuple(received_shape)}. {cure}"
        )


def check_data(network, data, class_names=None):
    """Refuses data that does not fit a network.

    Args:
        network: `keras.Model` from images to one row (batch, classes).
        data: `dreal_tf.data.splits.Splits`.
        class_names: sequence of str, the network's classes in order, or None if they are unknown.
    Raises:
        InputError: if images or classes differ.
    """
    cure = "Give the data that it was trained on with --data RECIPE."
    _check_shape(network, data.image_shape, cure)
    classes = network.output_shape[-1]
    if classes != len(data.class_names):
        raise InputError(
            f"Expected data of {classes} classes, which {network.name!r} tells apart. Received: data "
            f"of {len(data.class_names)} classes. {cure}"
        )
    if class_names is not None and tuple(class_names) != tuple(data.class_names):
        ours, theirs = next(
            pair for pair in zip(class_names, data.class_names, strict=True) if pair[0] != pair[1]
        )
        raise InputError(
            f"Expected data of the classes that {network.name!r} was trained on, such as {ours!r}. "
            f"Received: data that has {theirs!r} at its position. {cure}"
        )


def calibration_images(data, count=CALIBRATION_IMAGES):
    """Training images for static actions, as the network is given them.

    Args:
        data: `dreal_tf.data.splits.Splits`.
        count: int. Their number, at most.
    Returns:
        Float array (n, height, width, channels).
    Example:
        >>> calibration_images(build_data(load_recipe("digits_resnet8_se")), 100).shape
        (100, 8, 8, 1)
    """
    images = data.train.map(lambda images, labels: images).unbatch().batch(count)
    return next(images.as_numpy_iterator())
