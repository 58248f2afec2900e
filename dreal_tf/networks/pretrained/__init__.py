"""Weights of other origin: read from files, named as ours, put into our networks."""

from dreal_tf.networks.pretrained.imagenet import imagenet_file
from dreal_tf.networks.pretrained.loading import LoadedWeights, load_pretrained

__all__ = ["LoadedWeights", "imagenet_file", "load_pretrained"]
