"""Gradient clipping of the task loss alone, as the compiled optimizer would have clipped it."""

import contextlib

from dreal_tf.keras_internals import clip_gradients

_ARGUMENTS = ("clipnorm", "global_clipnorm", "clipvalue")


def clipped(gradients, optimizer):
    """The gradients clipped as `optimizer` is set to clip them.

    Args:
        gradients: list of tensors or None.
        optimizer: `keras.optimizers.Optimizer`.
    Returns:
        List of tensors or None.
    Example:
        >>> clipped([tf.constant([3.0, 4.0])], keras.optimizers.SGD(clipnorm=1.0))[0].numpy().tolist()
        [0.6000000238418579, 0.800000011920929]
    """
    # By Keras's own rule: without an actor loss the step must be Keras's to the bit.
    return clip_gradients(optimizer, gradients)


def clipping_of(optimizer):
    """How an optimizer is set to clip.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
    Returns:
        Dict of its three arguments.
    Example:
        >>> clipping_of(keras.optimizers.SGD(clipnorm=1.0))["clipnorm"]
        1.0
    """
    return {name: getattr(optimizer, name, None) for name in _ARGUMENTS}


@contextlib.contextmanager
def clipping_off(optimizer, settings):
    """The optimizer applies gradients as they come, inside the context.

    Without it, a norm that spans both losses would let the actor loss change every weight.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        settings: what `clipping_of` gave for it before any step: replicas pass here in turns, and
            what one finds another may have switched off.
    Example:
        >>> optimizer = keras.optimizers.SGD(1.0, clipnorm=1.0)
        >>> weight = keras.Variable([0.0])
        >>> with clipping_off(optimizer, clipping_of(optimizer)):
        ...     optimizer.apply([tf.constant([3.0])], [weight])
        >>> float(weight[0]), optimizer.clipnorm
        (-3.0, 1.0)
    """
    try:
        for name in settings:
            setattr(optimizer, name, None)
        yield
    finally:
        for name, value in settings.items():
            setattr(optimizer, name, value)
