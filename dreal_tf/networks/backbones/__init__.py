"""Networks that return logits and, as auxiliary outputs, the states and actions of their modules."""

from dreal_tf.networks.backbones.backbone import (
    Attended,
    Trajectory,
    Wiring,
    actor_of,
    actors_of,
    embedding_network,
    plain_network,
)
from dreal_tf.networks.backbones.kernels import FusedBatchNormalization, SmallMapConv2D
from dreal_tf.networks.backbones.residual import imagenet_residual_network, residual_network

__all__ = [
    "Attended",
    "FusedBatchNormalization",
    "SmallMapConv2D",
    "Trajectory",
    "Wiring",
    "actor_of",
    "actors_of",
    "embedding_network",
    "imagenet_residual_network",
    "plain_network",
    "residual_network",
]
