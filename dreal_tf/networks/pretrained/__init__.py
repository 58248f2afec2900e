"""Pretrained weights: read from files, mapped to our names, loaded into our networks."""

from dreal_tf.networks.pretrained.imagenet import imagenet_file
from dreal_tf.networks.pretrained.loading import LoadedWeights, load_pretrained

__all__ = ["LoadedWeights", "imagenet_file", "load_pretrained"]
