"""Non-finite values: kept visible in outputs, found in weights.

TensorFlow's fused kernels for CPUs compute ReLU as a maximum that turns NaN into 0. A NaN in an image or
a weight can therefore vanish on its way through a network, and the outputs look like any others.
"""

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.errors import InputError


def all_finite(tensors):
    """Whether all values of some tensors are finite.

    Args:
        tensors: structure of tensors; those without a floating dtype are finite.
    Returns:
        Bool scalar tensor.
    Example:
        >>> bool(all_finite([tf.ones([2]), tf.constant([1.0, float("nan")])]))
        False
    """
    floats = map(tf.convert_to_tensor, tf.nest.flatten(tensors))
    floats = [tensor for tensor in floats if tensor.dtype.is_floating]
    if not floats:
        return tf.constant(True)
    flat = [tf.cast(tensor, tf.float32) for tensor in floats]
    # Each operation counts where there are hundreds of statistics, which are flat already.
    flat = [tensor if tensor.shape.rank == 1 else tf.reshape(tensor, [-1]) for tensor in flat]
    return tf.reduce_all(tf.math.is_finite(tf.concat(flat, axis=0)))


def propagate_nonfinite(outputs, inputs):
    """Makes the outputs NaN for each example whose inputs are not all finite.

    Args:
        outputs: float tensor (batch, ...).
        inputs: the network's inputs, a tensor (batch, ...) or a structure of them.
    Returns:
        Tensor like `outputs`, and equal to it wherever the inputs are finite.
    Example:
        >>> images = tf.constant([[[[1.0]]], [[[float("nan")]]]])
        >>> propagate_nonfinite(tf.ones([2, 3]), images).numpy()
        array([[ 1.,  1.,  1.],
               [nan, nan, nan]], dtype=float32)
    """
    for images in map(tf.convert_to_tensor, tf.nest.flatten(inputs)):
        if images.dtype.is_floating:
            axes = list(range(1, images.shape.rank))
            finite = tf.reduce_all(tf.math.is_finite(images), axis=axes)  # (batch,)
            finite = tf.reshape(finite, [-1] + [1] * (outputs.shape.rank - 1))
            outputs = tf.where(finite, outputs, float("nan"))
    return outputs


def nonfinite_weight(network):
    """The first weight of a network that is not finite.

    Args:
        network: `keras.Model`.
    Returns:
        Str, the path and the value, such as "nan in conv1/kernel"; None if all are finite.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8)
        >>> nonfinite_weight(network) is None
        True
    """
    for variable in network.variables:
        if keras.backend.is_float_dtype(variable.dtype):
            values = keras.ops.convert_to_numpy(variable).astype(np.float64)
            bad = values[~np.isfinite(values)]
            if bad.size:
                return f"{bad[0]} in {variable.path}"
    return None


def check_finite_weights(network):
    """Refuses a network with a weight, or an average of BatchNorm, that is not finite.

    Args:
        network: `keras.Model`.
    Raises:
        InputError: naming the weight.
    """
    bad = nonfinite_weight(network)
    if bad is not None:
        raise InputError(
            f"Expected finite weights. Received: {bad} of the network {network.name!r}. Its training "
            "diverged, or its file is damaged. Use an earlier checkpoint, or train again."
        )
