"""The trained model: a network whose attention modules are actors, and the critic that trains them."""

from dreal_tf.model.dreal import DREAL, FactualPass, UpdateResult, attach
from dreal_tf.model.gradients import RelativeWeight, Trust
from dreal_tf.model.settings import Settings
from dreal_tf.retrieval.metric_losses import EmbeddingLosses

__all__ = [
    "DREAL",
    "EmbeddingLosses",
    "FactualPass",
    "RelativeWeight",
    "Settings",
    "Trust",
    "UpdateResult",
    "attach",
]
