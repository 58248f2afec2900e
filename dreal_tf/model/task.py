"""The task, as the compiled loss tells it: whether the network ends in logits."""

import keras

from dreal_tf.errors import InputError
from dreal_tf.keras_internals import node_of

_CLASSIFICATION = (
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
)


def outputs_are_logits(loss, network):
    """Whether a network ends in logits, read from the loss it is compiled with.

    Args:
        loss: what `compile` was given: a name, function or `keras.losses.Loss`.
        network: functional `keras.Model` with one output (batch, classes).
    Returns:
        bool: the loss's `from_logits`.
    Raises:
        ValueError: if the loss is not a categorical cross entropy, or contradicts the network's
            last activation.
    Example:
        >>> network = plain_network(residual_network((8, 8, 1), 10, depth=8))
        >>> outputs_are_logits(keras.losses.SparseCategoricalCrossentropy(from_logits=True), network)
        True
    """
    if not is_over_classes(loss):
        names = ", ".join(kind.__name__ for kind in _CLASSIFICATION)
        raise InputError(
            "Expected a loss over classes that exclude each other, since the reward needs the "
            f"probability of one true class: {names}. Received: {loss!r}. Sigmoid, multi-label "
            "and regression heads are not supported; train them without critics (critic=None)."
        )
    loss, softmax = _loss_object(loss), ends_in_softmax(network)
    if loss.from_logits and softmax:
        raise InputError(
            "Expected logits, since the loss has from_logits=True. Received: a network that ends "
            "in a softmax. Set from_logits=False, or leave the softmax out of the network."
        )
    if not loss.from_logits and not softmax:
        raise InputError(
            "Expected probabilities, since the loss has from_logits=False. Received: a network "
            f"whose last layer, {node_of(network.outputs[0]).operation.name!r}, is not a "
            f"softmax. Compile with {type(loss).__name__}(from_logits=True), or end the network in "
            "a softmax."
        )
    return bool(loss.from_logits)


def is_over_classes(loss):
    """Whether a loss is over classes that exclude each other.

    Args:
        loss: a name, function or `keras.losses.Loss`.
    Example:
        >>> is_over_classes("sparse_categorical_crossentropy"), is_over_classes("mse")
        (True, False)
    """
    return isinstance(_loss_object(loss), _CLASSIFICATION)


def _loss_object(loss):
    function = keras.losses.get(loss)
    for kind in _CLASSIFICATION:  # A bare name or function means the class with its defaults.
        if function is kind().fn:
            return kind()
    return function


def ends_in_softmax(network):
    """Whether the last operation of a network that changes values is a softmax.

    Example:
        >>> ends_in_softmax(plain_network(residual_network((8, 8, 1), 10, depth=8)))
        False
    """
    tensor = network.outputs[0]
    while True:
        node = node_of(tensor)
        operation = node.operation
        if isinstance(operation, keras.Model):
            return ends_in_softmax(operation)
        activation = getattr(operation, "activation", None)
        if activation is keras.activations.softmax or type(operation).__name__ == "Softmax":
            return True
        linear = isinstance(operation, keras.layers.Activation) and (
            activation is keras.activations.linear
        )
        if not linear and type(operation).__name__ not in ("Identity", "Reshape", "Flatten", "Cast"):
            return False
        tensor = node.input_tensors[0]
