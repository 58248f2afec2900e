"""Backbones of other origin: any Keras network becomes one of ours, with attention found or inserted."""

import importlib

import keras

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.networks.attaching import (
    attached,
    gate_names,
    insert,
    layers_matching,
    without_modules,
)
from dreal_tf.networks.backbones import actors_of


def other_network(
    make,
    image_shape,
    classes,
    attention=None,
    insert_after=None,
    gates=None,
    pruned=None,
    weight_decay=0.0,
):
    """A network of any origin with auxiliary outputs.

    Args:
        make: callable (image_shape, classes) that returns a functional or Sequential `keras.Model`, see
            `maker_of`. If its output is a map (batch, height, width, channels) or tokens (batch,
            tokens, channels), average pooling and a dense layer "logits" follow.
        image_shape: tuple (height, width, channels).
        classes: int.
        attention: `AttentionActor` used as a pattern; None: no attention.
        insert_after: sequence of str, names or patterns of layers after which copies of `attention` are
            inserted, or None: the network's own gates become the actors.
        gates: sequence of str, names or patterns of these, or None: all that are found.
        pruned: sequence of str, names of such layers or gates that go without attention, or None.
        weight_decay: float >= 0. Half of it times the squared kernels joins the loss.
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
    if attention is None:
        made = without_modules(network)
    elif insert_after:
        after = layers_matching(network, insert_after)
        _check_pruned(pruned, after)
        after = [name for name in after if name not in (pruned or ())]
        made = attached(insert(network, attention, after, attention.blended) if after else network)
    else:
        made = attached(network, gates or gate_names(network))
        _check_pruned(pruned, [actor.name for actor in actors_of(made)])
        made = made.without(pruned) if pruned else made
        if not made.output["actions"] and not pruned:
            raise InputError(
                f"Expected a network with attention of its own. Received: {network.name!r}, in which none "
                "was found. Name layers after which attention is to be inserted, as in "
                "attention.insert_after='*_project_bn', or choose attention.kind=none."
            )
    for variable in made.trainable_variables:
        if weight_decay and variable.name.endswith("kernel") and variable.regularizer is None:
            variable.regularizer = keras.regularizers.L2(weight_decay / 2)
    return made


def _check_pruned(pruned, names):
    for name in pruned or ():
        if name not in names:
            raise unknown_name("layer or gate with attention for attention.pruned", name, names)


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
            f"Expected the package of the backbone {name!r}. Received: it cannot be imported ({error}). "
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
    """The network itself if it gives a row of logits for each image, else with a head on its output."""
    if not isinstance(network, keras.Model) or not network.built:
        raise InputError(
            "Expected a built functional or Sequential keras.Model as a backbone. Received: "
            f"{type(network).__name__}. Return one from the plugin's function."
        )
    shape = getattr(network, "output_shape", None)
    pooling = {3: keras.layers.GlobalAveragePooling1D, 4: keras.layers.GlobalAveragePooling2D}
    if isinstance(shape, tuple) and len(shape) in pooling:
        features = pooling[len(shape)](name="average")(network.output)
        logits = keras.layers.Dense(classes, name="logits", dtype="float32")(features)
        return keras.Model(network.input, logits, name=network.name)
    if shape != (None, classes):
        raise InputError(
            f"Expected a backbone with an output (batch, {classes}), (batch, height, width, channels) or "
            f"(batch, tokens, channels). Received: {network.name!r} with the output {shape}. Change its "
            "constructor."
        )
    return network
