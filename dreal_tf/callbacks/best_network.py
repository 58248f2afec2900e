"""The network at its best on validation data."""

import os
from pathlib import Path

import keras


class BestNetwork(keras.callbacks.Callback):
    """Keeps the weights of the plain network of the epoch with the highest validation accuracy.

    Put it before `Checkpoint` in the list, which stores `state`.

    Args:
        path: where to write the weights, ending in ".weights.h5".
        monitor: str, the logged quantity; more is better. The first of equals is kept.
        swap: `keras.callbacks.SwapEMAWeights` where averaged weights are the ones to keep, or None.
    Attributes:
        state: dict of the best `epoch` and `value` so far.
    Example:
        >>> BestNetwork("best.weights.h5").state["epoch"]
        -1
    """

    def __init__(self, path, monitor="val_accuracy", swap=None):
        super().__init__()
        self.path = Path(path)
        self.monitor = monitor
        self.swap = swap
        self.state = {"epoch": -1, "value": float("-inf")}

    def on_epoch_end(self, epoch, logs=None):
        value = float(logs[self.monitor])
        if value > self.state["value"]:
            self.state = {"epoch": epoch, "value": value}
            partial = self.path.with_name("partial.weights.h5")
            if self.swap:
                self.swap.on_test_begin()  # What validation has judged.
            self.model.network.save_weights(partial, overwrite=True)
            if self.swap:
                self.swap.on_test_end()
            os.replace(partial, self.path)  # Never half a file.
