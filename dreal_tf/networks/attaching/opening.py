"""Opens layers: traces the operations of a layer's `call` as a graph."""

import inspect

import keras

from dreal_tf.errors import InputError
from dreal_tf.keras_internals import mask_of, takes_training


def traced(layer, args, kwargs):
    """Traces the `call` of a layer as a graph of Keras operations.

    Args:
        layer: built `keras.layers.Layer`.
        args, kwargs: the arguments of the call, which include symbolic tensors.
    Returns:
        `keras.Function`, and the list of the tensors in `args` and `kwargs` that are its inputs.
    Raises:
        InputError: if `call` cannot be traced, or differs between training and inference.
    Example:
        >>> graph, _ = traced(keras.layers.ReLU(), (keras.Input((4,)),), {})
        >>> [type(operation).__name__ for operation in graph.operations]
        ['InputLayer', 'ReLU']
    """
    if layer.activity_regularizer is not None:
        raise _opaque(layer, "it has an activity regularizer")
    if has_scores(layer):  # Without scores, Keras takes a path that computes no attention map.
        kwargs = kwargs | {"return_attention_scores": True}
    inputs = [t for t in keras.tree.flatten((args, kwargs)) if isinstance(t, keras.KerasTensor)]
    inputs = list({id(tensor): tensor for tensor in inputs}.values())
    if any(mask_of(tensor) is not None for tensor in inputs):
        raise _opaque(layer, "its input is masked")
    graph = _graph(layer, args, kwargs, inputs)
    if takes_training(layer):
        modes = [_graph(layer, args, kwargs | {"training": mode}, inputs) for mode in (True, False)]
        kinds = [[type(operation) for operation in mode.operations] for mode in modes]
        if kinds[0] != kinds[1]:
            raise _opaque(layer, "its `call` goes another way in training")
    return graph, inputs


def has_scores(layer):
    """Whether a layer can return its attention scores, as Keras's attention layers can."""
    return "return_attention_scores" in inspect.signature(layer.call).parameters


def _graph(layer, args, kwargs, inputs):
    fresh = {id(t): keras.Input(batch_shape=t.shape, dtype=t.dtype) for t in inputs}

    def replaced(value):
        return fresh.get(id(value), value)

    args, kwargs = keras.tree.map_structure(replaced, (args, kwargs))
    losses = len(layer.losses)
    try:
        outputs = layer.call(*args, **kwargs)
        graph = keras.Function(list(fresh.values()), outputs)
    except Exception as error:  # Custom code can fail on symbolic tensors in any way.
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
        raise _opaque(layer, f"its `call` cannot be traced ({problem})") from error
    if len(layer.losses) != losses:
        raise _opaque(layer, "its `call` adds a loss")
    return graph


def _opaque(layer, reason):
    return InputError(
        "Expected a layer whose `call` is made of Keras layers and `keras.ops`, the same in training "
        f"and at inference, to find its attention map in it. Received: {layer.name!r} "
        f"({type(layer).__name__}): {reason}. Write it so, or make it a `dreal_tf.AttentionActor`."
    )
