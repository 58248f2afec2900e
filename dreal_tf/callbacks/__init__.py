"""Callbacks of a run: one file each."""

from dreal_tf.callbacks.best_network import BestNetwork
from dreal_tf.callbacks.checkpoint import Checkpoint
from dreal_tf.callbacks.delayed_start import DelayedStart
from dreal_tf.callbacks.history_file import HistoryFile, read_history
from dreal_tf.callbacks.retrieval_scores import RetrievalScores
from dreal_tf.callbacks.set_epoch import SetEpoch
from dreal_tf.callbacks.stop_on_nan import StopOnNaN
from dreal_tf.callbacks.tensorboard import TensorBoardLog
from dreal_tf.callbacks.tensorboard_figures import TensorBoardFigures

__all__ = [
    "BestNetwork",
    "Checkpoint",
    "DelayedStart",
    "HistoryFile",
    "RetrievalScores",
    "SetEpoch",
    "StopOnNaN",
    "TensorBoardFigures",
    "TensorBoardLog",
    "read_history",
]
