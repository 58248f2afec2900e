"""Actors taken out of a network: folded into the BatchNorm before them, or passed by."""

import keras
import tensorflow as tf

from dreal_tf.layers import intervene
from dreal_tf.networks.backbones import actors_of
from dreal_tf.pruning.ways_out import AUXILIARY, FOLDED, REMOVED


def without_actors(network, ways):
    """A network without some of its actors; the one given stays as it is.

    Args:
        network: functional `keras.Model` with actors, auxiliary outputs or not.
        ways: dict of `WayOut`, see `ways_out`, by the name of each actor to be taken out.
    Returns:
        Functional `keras.Model` with layers and weights of its own, which answers as `network` does
        under `imposed(ways)`, up to rounding.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> ways = ways_out(network, {m: np.ones(a.shape[1:])[None]
        ...     for m, a in network.output["actions"].items()})
        >>> smaller = without_actors(network, {"conv2_1_se": ways["conv2_1_se"]})
        >>> sorted(smaller.output["actions"])
        ['conv3_1/se', 'conv4_1/se']
    """
    copies = {}

    def copied(layer):
        copies[layer.name] = type(layer).from_config(layer.get_config())
        return copies[layer.name]

    def called(layer, *inputs, **arguments):
        if layer.name not in ways:
            return layer(*inputs, **arguments)
        outputs = keras.tree.flatten(network.get_layer(layer.name).output)
        return tuple(inputs[:1]) * len(outputs)  # The state, in place of all that came of it.

    smaller = keras.models.clone_model(network, clone_function=copied, call_function=called)
    if isinstance(network.output, dict):
        gone = {m for a in actors_of(network) if a.name in ways for m in a.modules()}
        outputs = dict(smaller.output)
        for name in AUXILIARY:
            outputs[name] = {m: t for m, t in outputs[name].items() if m not in gone}
        smaller = keras.Model(smaller.input, outputs, name=network.name)
    for layer in network.layers:
        if layer.name not in ways and layer.weights:
            copies[layer.name].set_weights(layer.get_weights())
    for way in ways.values():
        if way.done == FOLDED:
            norm = copies[way.norm]
            for variable in (norm.gamma, norm.beta):
                if variable is not None:
                    variable.assign(variable * way.gain)
    return smaller


def imposed(ways):
    """The actions that a network without some actors amounts to, for `dreal_tf.layers.intervene`.

    Args:
        ways: dict of `WayOut`, see `without_actors`.
    Returns:
        Context manager: while it is active, the named actors' actions are those that take their
        place.
    """

    def decide(actor, index, state, action):
        way = ways.get(actor.name)
        if way is None:
            return action
        if way.done == REMOVED:
            return actor.identity_action(action, index)
        return tf.broadcast_to(tf.cast(way.constants[index], action.dtype), tf.shape(action))

    return intervene(decide)
