"""Any network as a `DREAL` model."""

from collections.abc import Sequence
from typing import Any

import keras

from dreal_tf.model.dreal import DREAL
from dreal_tf.networks.attaching import AttachedNetwork


def attach(network: keras.Model, gates: str | Sequence[str] = (), **settings: Any) -> DREAL:
    """A `DREAL` model around a network that you have, sharing its layers and weights.

    Attention layers of this package are found wherever they are, in nested models and in layers of
    your own. Attention of other origin is named by `gates`: what multiplies a map with a gate that
    is made of it (squeeze-and-excitation of `keras.applications`, a layer of yours that ends so), or
    attends (`keras.layers.MultiHeadAttention` and its kin), or layers of other origin with such
    attention inside, a transformer's encoder for one. `dreal_tf.find_gates` lists it.

    Args:
        network: functional or Sequential `keras.Model` with one output (batch, classes): logits, or
            a softmax of them. It stays as it is; `model.network` gives it back.
        gates: str or sequence of str: names of layers, or patterns such as "*_se_excite".
        **settings: those of `DREAL`.
    Returns:
        `DREAL`, to be compiled. The module of a gate called "block2a_se_excite" is
        "block2a_se_excite/gate", of attention called "block_1" it is "block_1/attention", of "mha"
        inside a layer "block_1" it is "block_1_mha/attention". If names do not tell stages, as
        "conv4_3" does, these are "stage1", "stage2", ...: consecutive modules of one size and width.
    Raises:
        InputError: if the network has no graph to be seen, has no attention, shares it between
            places, or a gate is none; the message says why, and which names come near.
    Example:
        >>> images = keras.Input((16, 16, 3))
        >>> maps = keras.layers.Conv2D(8, 3, activation="relu")(images)
        >>> gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(maps)
        >>> gate = keras.layers.Dense(8, activation="sigmoid")(gate)
        >>> gated = keras.layers.Multiply(name="first_se_excite")([maps, gate])
        >>> network = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(gated)))
        >>> model = attach(network, gates="*_se_excite")
        >>> model.trajectory.modules, model.network is network
        (['first_se_excite/gate'], True)
    """
    return DREAL(AttachedNetwork(network, gates), **settings)
