"""Keeps the best weights, judged by a validation metric or by retrieval scores."""

import io
import os
from pathlib import Path

import keras
import numpy as np

from dreal_tf.retrieval.embedding import Embedder, scores_of


class BestNetwork(keras.callbacks.Callback):
    """Keeps the weights of the plain network of the epoch with the highest validation accuracy.

    Each is a file of its own, named by its epoch, so that the weights are those of `state` whatever
    is interrupted. Put it before `Checkpoint` in the list, which stores `state`.

    Args:
        folder: where to write the weights.
        monitor: str, the logged quantity; more is better. The first of equals is kept.
        swap: `keras.callbacks.SwapEMAWeights` where averaged weights are the ones to keep, or None.
    Attributes:
        state: dict of the best `epoch` and `value` so far.
    Example:
        >>> BestNetwork("checkpoints").state["epoch"]
        -1
    """

    def __init__(self, folder, monitor="val_accuracy", swap=None):
        super().__init__()
        self.folder = Path(folder)
        self.monitor = monitor
        self.swap = swap
        self.state = {"epoch": -1, "value": float("-inf")}

    def on_epoch_end(self, epoch, logs=None):
        value = float(logs[self.monitor])
        if value > self.state["value"]:
            self.state = {"epoch": epoch, "value": value}
            if self.swap:
                self.swap.on_test_begin()  # What validation has judged.
            self._write(self.model.network.get_weights())
            if self.swap:
                self.swap.on_test_end()

    def _path(self, epoch):
        return self.folder / f"best-{epoch}.npz"

    def _write(self, weights):
        # In memory first: the HDF5 library, with which Keras writes weights, dies on a full disk.
        archive = io.BytesIO()
        np.savez(archive, *weights)
        path = self._path(self.state["epoch"])
        partial = path.with_suffix(".partial")
        partial.write_bytes(archive.getvalue())
        os.replace(partial, path)  # Never half a file.

    def restore(self, network):
        """Gives a network the best weights so far.

        Args:
            network: `keras.Model` of the same form.
        """
        with np.load(self._path(self.state["epoch"])) as archive:
            network.set_weights([archive[name] for name in archive.files])

    def forget_but(self, count):
        """Removes all weights but those of the last `count` best epochs.

        Args:
            count: int >= 1.
        """
        epochs = sorted(int(path.stem.split("-")[1]) for path in self.folder.glob("best-*.npz"))
        for epoch in epochs[:-count]:
            self._path(epoch).unlink()


LOGGED = ("rank_1", "rank_5", "rank_10", "mAP", "mINP")


class RetrievalScores(keras.callbacks.Callback):
    """Adds `val_mAP`, `val_rank_1` and the others to the logs of each epoch.

    They are taken when validation ends, with the weights that validation has judged. Put it before
    what reads the logs, and before `SwapEMAWeights`.

    Args:
        asked: `dreal_tf.data.identities.RetrievalSet`.
    Attributes:
        scores: dict, the last ones.
    """

    def __init__(self, asked):
        super().__init__()
        self.asked = asked
        self.scores, self._embed = {}, None

    def on_test_end(self, logs=None):
        if self._embed is None or self._embed.of is not self.model:
            self._embed = Embedder(self.model.network)
            self._embed.of = self.model
        scores = scores_of(self._embed, self.asked)
        self.scores = {f"val_{name}": scores[name] for name in LOGGED}

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs |= self.scores
