"""What a network starts from, and what of it is not trained."""

from pathlib import Path

import numpy as np

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.modules import stage_name
from dreal_tf.networks.backbones import actors_of
from dreal_tf.networks.pretrained import imagenet_file, load_pretrained


def start_file(backbone):
    """The file with the weights that a recipe names, so that its absence is said at once.

    Args:
        backbone: `dreal_tf.recipe.Backbone` whose `weights` are "imagenet" or a file.
    Returns:
        Path.
    Raises:
        InputError: if they are not there, or the backbone is none that takes weights.
    """
    if backbone.name != "imagenet_resnet":
        raise InputError(
            "Expected backbone.name='imagenet_resnet', which weights are known for. Received: "
            f"backbone.weights={backbone.weights!r} with backbone.name={backbone.name!r}. Choose it, or "
            "leave the weights out."
        )
    if backbone.weights == "imagenet":
        return imagenet_file(backbone.depth, backbone.download)
    path = Path(backbone.weights).expanduser()
    if not path.is_file():
        raise InputError(
            f"Expected a file of weights, or 'imagenet'. Received: backbone.weights={backbone.weights!r}, "
            "where there is no file. Check the path; backbone.weights=null starts from none."
        )
    return path


def load_start(network, path, preprocessing):
    """Puts the weights that a recipe names into its network.

    Args:
        network: functional `keras.Model`.
        path: path, from `start_file`.
        preprocessing: `dreal_tf.data.Preprocessing` of the images that the network gets.
    Returns:
        `dreal_tf.networks.pretrained.LoadedWeights`.
    Raises:
        InputError: if they do not fit.
    """
    top = preprocessing.top
    mean, deviation = (
        np.broadcast_to(np.asarray(row) / top, 3)
        for row in (preprocessing.mean, preprocessing.deviation)
    )
    return load_pretrained(network, path, (mean, deviation))


def freeze(network, stages):
    """Leaves some stages of a network out of training, but not the attention in them.

    Args:
        network: functional `keras.Model` of ours, before an optimizer is made for it.
        stages: collection of str, such as {"conv1", "conv2"}.
    Raises:
        InputError: if one is none of the network's.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> freeze(network, {"conv1", "conv2"})
        >>> [v.path for v in network.trainable_variables][:2]
        ['conv2_1_se/squeeze/kernel', 'conv2_1_se/squeeze/bias']
    """
    attention = {actor.name for actor in actors_of(network)}
    parts = {}
    for layer in network.layers:
        if layer.name not in attention and layer.weights and layer.name != "logits":
            stage = stage_name(layer.name.split("_")[0])
            parts.setdefault(stage, []).append(layer)
    for stage in stages:
        if stage not in parts:
            raise unknown_name("stage of the network", stage, parts)
        for layer in parts[stage]:
            layer.trainable = False
