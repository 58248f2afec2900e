"""The trained model: a network whose attention actors climb a critic."""

from dreal_tf.model.attach import attach
from dreal_tf.model.dreal import DREAL
from dreal_tf.model.embedding_losses import EmbeddingLosses
from dreal_tf.model.factual_pass import FactualPass

__all__ = ["DREAL", "EmbeddingLosses", "FactualPass", "attach"]
