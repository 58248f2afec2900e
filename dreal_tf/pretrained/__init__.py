"""Weights of other origin: read from files, named as ours, put into our networks."""

from dreal_tf.pretrained.imagenet import imagenet_file
from dreal_tf.pretrained.loading import LoadedWeights, load_pretrained

__all__ = ["LoadedWeights", "imagenet_file", "load_pretrained"]
