"""What the parts of a network give while it runs, however they are nested."""

import contextlib
import functools
from typing import NamedTuple

import keras


class Call(NamedTuple):
    """One part of a network that ran.

    Attributes:
        operation: `keras.layers.Layer`, or another operation of a functional network.
        output: tensor or structure of them, what it gave.
        logits: tensor, what its softmax read; None where it has none.
    """

    operation: object
    output: object
    logits: object


@contextlib.contextmanager
def observed(network, watch=lambda output: None):
    """Notes what every part of a network gives while it runs inside the context.

    Parts are layers and other operations; a network inside the network is looked into and noted
    after its parts. Nothing is rewired: graphs of nested networks do not hang together, calls do.

    Args:
        network: `keras.Model` of any kind.
        watch: callable that is shown each part's output at once, before anything reads it.
    Returns:
        Context of a list of `Call`, which grows in the order in which parts run.
    Example:
        >>> head = keras.Sequential([keras.layers.Flatten(), keras.layers.Softmax(name="end")])
        >>> network = keras.Sequential([keras.layers.ReLU(), head])
        >>> with observed(network) as calls:
        ...     probabilities = network(np.float32([[-1.0, 1.0]]))
        >>> calls[2].operation.name, calls[2].logits.numpy().tolist()
        ('end', [[0.0, 1.0]])
    """
    calls = []
    with contextlib.ExitStack() as undone:
        for operation in {id(part): part for part in parts_of(network)}.values():
            undone.enter_context(_noted(operation, calls, watch))
        yield calls


def parts_of(network):
    """Yields the parts of a network, those of networks inside it first.

    Args:
        network: `keras.Model`.
    """
    for operation in getattr(network, "operations", network.layers):
        if isinstance(operation, keras.Model):
            yield from parts_of(operation)
        yield operation


@contextlib.contextmanager
def _noted(operation, calls, watch):
    own_call, read = operation.call, []

    @functools.wraps(own_call)
    def call(*args, **kwargs):
        read.clear()
        output = own_call(*args, **kwargs)
        watch(output)
        if type(operation).__name__ == "Softmax":  # Keras's layer, and its operation.
            read.append(args[0] if args else next(iter(kwargs.values())))
        calls.append(Call(operation, output, read[0] if read else None))
        return output

    operation.call = call
    activation = getattr(operation, "activation", None)
    ends_in_softmax = activation is keras.activations.softmax
    if ends_in_softmax:

        def noting(logits, **kwargs):
            read.append(logits)
            return activation(logits, **kwargs)

        operation.activation = noting
    try:
        yield
    finally:
        del operation.call
        if ends_in_softmax:
            operation.activation = activation
