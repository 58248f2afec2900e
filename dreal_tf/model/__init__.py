"""The trained model: a network whose attention actors climb a critic."""

from dreal_tf.model.dreal import DREAL

__all__ = ["DREAL"]
