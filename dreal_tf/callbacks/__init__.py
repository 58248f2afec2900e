"""Callbacks of a run: one file each."""

from dreal_tf.callbacks.best_network import BestNetwork
from dreal_tf.callbacks.checkpoint import Checkpoint
from dreal_tf.callbacks.history_file import HistoryFile, read_history
from dreal_tf.callbacks.set_epoch import SetEpoch
from dreal_tf.callbacks.tensorboard import TensorBoardLog

__all__ = [
    "BestNetwork",
    "Checkpoint",
    "HistoryFile",
    "SetEpoch",
    "TensorBoardLog",
    "read_history",
]
