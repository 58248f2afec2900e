"""Any network as an audit takes it: from images to one row of logits or probabilities."""

import zipfile

import keras
import numpy as np

from dreal_tf.errors import InputError
from dreal_tf.finite import check_finite_weights
from dreal_tf.model import DREAL
from dreal_tf.model.task import ends_in_softmax, outputs_are_logits
from dreal_tf.networks.backbones import plain_network
from dreal_tf.training.trained_run import finished_run


def load_network(source):
    """The network of a file.

    Args:
        source: `dreal_tf.auditing.sources.Source`.
    Returns:
        `keras.Model`.
    Raises:
        InputError: if the run has no weights yet, or Keras cannot load the file.
    """
    file = finished_run(source.path).network if source.is_run else source.path
    try:
        return keras.saving.load_model(file)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(
            f"Expected a network that Keras can load. Received: {str(file)!r}, which ends in "
            f"{type(error).__name__}: {said}. If layers of your own are in it, import what registers "
            "them, load it, and give it to `dreal_tf.audit(network, data=...)`."
        ) from error


def answering(network):
    """A network alone, and what its answers are.

    Args:
        network: functional `keras.Model` with one row (batch, classes) as output, or with auxiliary
            outputs; or a `DREAL`.
    Returns:
        `keras.Model` from images to one row (batch, classes), and bool: whether these are logits;
        else they are probabilities.
    Raises:
        InputError: if it is none over exclusive classes, or a weight is not finite.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> plain, from_logits = answering(network)
        >>> plain.output_shape, from_logits
        ((None, 10), True)
    """
    loss = network.loss if getattr(network, "compiled", False) else None
    if isinstance(network, DREAL):
        network.average_statistics()
        network = network.trajectory_network
    plain = network
    if isinstance(getattr(network, "output", None), dict) and "logits" in network.output:
        plain = plain_network(network)
        # Where foreign attention was made actors, the plain network does not ask them.
        network = keras.Model(network.input, network.output["logits"], name=network.name)
    check_finite_weights(network)
    outputs = getattr(network, "outputs", None) or []
    if len(outputs) != 1 or len(outputs[0].shape) != 2 or len(network.inputs) != 1:
        raise InputError(
            "Expected a functional network from images to one row of logits or probabilities for each. "
            f"Received: {type(network).__name__} {network.name!r} with outputs {outputs}. Give "
            "`keras.Model(inputs, logits)`."
        )
    if loss is not None:
        return network, outputs_are_logits(loss, plain)
    return network, not ends_in_softmax(plain)


def check_answers(network, images, from_logits):
    """Refuses answers that are none over exclusive classes, or another kind than they seem.

    Args:
        network, from_logits: as of `answering`.
        images: float array (n, ...), as the network takes them.
    Raises:
        InputError: if probabilities come without a softmax at the network's end.
    """
    rows = np.asarray(network(images, training=False), np.float64)
    if from_logits and rows.min() >= 0 and rows.max() <= 1 and rows.any():
        raise InputError(
            "Expected logits, or a softmax as the network's last layer. Received: answers that all lie "
            f"from 0 to 1 from {network.name!r}, which ends in neither. Let it end in logits; sigmoid "
            "and multi-label heads are not supported."
        )


def check_data(network, data, class_names=None):
    """Refuses data that is not what a network was made for.

    Args:
        network: `keras.Model` from images to one row (batch, classes).
        data: `dreal_tf.data.Splits`.
        class_names: sequence of str, the network's classes in order, where they are known.
    Raises:
        InputError: if images or classes are others.
    """
    cure = "Give the data that it was trained on with --data RECIPE."
    expected, received = tuple(network.input_shape[1:]), tuple(data.image_shape)
    fits = len(expected) == len(received) and all(
        ours in (None, theirs) for ours, theirs in zip(expected, received, strict=True)
    )
    if not fits:
        raise InputError(
            f"Expected images of shape {expected}, which {network.name!r} takes. Received: images of "
            f"shape {received}. {cure}"
        )
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
            f"Received: data that has {theirs!r} in its place. {cure}"
        )
