"""Backbones of other origin: any Keras network becomes one of ours, with attention found or inserted."""

import importlib

import keras

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.networks.attaching import AttachedNetwork, find_gates, insert


def other_network(make, image_shape, classes, attention=None, insert_after=None, gates=None, decay=0.0):
    """A network of any origin with auxiliary outputs.

    Args:
        make: callable (image_shape, classes) that returns a functional or Sequential `keras.Model`, see
            `maker_of`. If its output is a map (batch, height, width, channels), average pooling and a
            dense layer "logits" follow.
        image_shape: tuple (height, width, channels).
        classes: int.
        attention: `AttentionActor` used as a pattern; None: no attention.
        insert_after: sequence of str, names or patterns of layers after which copies of `attention` are
            inserted, or None: the network's own gates become the actors.
        gates: sequence of str, names or patterns of these, or None: all that are found.
        decay: float >= 0. Half of it times the squared kernels joins the loss.
    Returns:
        `keras.Model` whose output is a dict of `logits`, `states` and `actions`.
    Raises:
        InputError: if `make` fails, its network has another output, or no attention is found.
    Example:
        >>> make = maker_of("keras.applications.MobileNetV3Small")
        >>> network = other_network(make, (32, 32, 3), 5, SqueezeExcite(4))
        >>> len(network.output["actions"]), network.output["logits"].shape
        (9, (None, 5))
    """
    try:
        network = make(image_shape, classes)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Expected a backbone for images of {image_shape} and {classes} classes. Received: its "
            f"constructor says: {str(error).strip().splitlines()[0]} Change backbone.arguments or "
            "data.image_size."
        ) from error
    network = _with_logits(network, classes)
    if attention is not None and insert_after:
        network = insert(network, attention, insert_after, attention.blended)
    for variable in network.trainable_variables:
        if decay and variable.name.endswith("kernel") and variable.regularizer is None:
            variable.regularizer = keras.regularizers.L2(decay / 2)
    if attention is None:
        outputs = {"logits": network.output, "states": {}, "actions": {}}
        return keras.Model(network.input, outputs, name=network.name)
    if insert_after:
        return AttachedNetwork(network)
    gates = tuple(gates or dict.fromkeys(gate.name for gate in find_gates(network)))
    if not gates:
        raise InputError(
            f"Expected a network with attention of its own. Received: {network.name!r}, in which none was "
            "found. Name layers after which attention is to be inserted, as in "
            "attention.insert_after='*_project_bn', or choose attention.kind=none."
        )
    return AttachedNetwork(network, gates)


def maker_of(name, arguments=()):
    """The constructor of a network of Keras Applications or KerasHub.

    Args:
        name: str, "keras.applications.NAME" or "keras_hub.models.NAMEBackbone".
        arguments: dict of further arguments of its constructor.
    Returns:
        Callable (image_shape, classes) that returns a `keras.Model`.
    Raises:
        InputError: if there is no such network.
    """
    library, _, attribute = name.rpartition(".")
    try:
        module = importlib.import_module(library)
    except ImportError as error:
        package = library.partition(".")[0].replace("_", "-")
        raise InputError(
            f"Expected the package of the backbone {name!r}. Received: it is not installed ({error}). "
            f"Install it with `python -m pip install {package}`."
        ) from error
    if not hasattr(module, attribute):
        known = [other for other in vars(module) if other[0].isupper()]
        raise unknown_name(f"network of {library}", attribute, known)
    constructor, arguments = getattr(module, attribute), dict(arguments)
    if library.startswith("keras_hub"):
        return lambda image_shape, classes: constructor(**{"image_shape": image_shape} | arguments)
    if "weights" in arguments:  # Those of ImageNet fit the features, not the logits.
        arguments = {"include_top": False} | arguments
        return lambda image_shape, classes: constructor(**{"input_shape": image_shape} | arguments)
    arguments = {"weights": None, "classifier_activation": None} | arguments
    return lambda image_shape, classes: constructor(
        **{"input_shape": image_shape, "classes": classes} | arguments
    )


def _with_logits(network, classes):
    """The network itself if it gives a row of logits for each image, else with a head on its map."""
    if not isinstance(network, keras.Model) or not network.built:
        raise InputError(
            "Expected a built functional or Sequential keras.Model as a backbone. Received: "
            f"{type(network).__name__}. Return one from the plugin's function."
        )
    shape = getattr(network, "output_shape", None)
    if isinstance(shape, tuple) and len(shape) == 4:
        features = keras.layers.GlobalAveragePooling2D(name="average")(network.output)
        logits = keras.layers.Dense(classes, name="logits", dtype="float32")(features)
        return keras.Model(network.input, logits, name=network.name)
    if shape != (None, classes):
        raise InputError(
            f"Expected a backbone with an output (batch, {classes}) or (batch, height, width, channels). "
            f"Received: {network.name!r} with the output {shape}. Change its constructor."
        )
    return network
