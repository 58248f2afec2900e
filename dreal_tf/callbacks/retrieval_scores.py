"""How well a network finds who is the same, while it trains."""

import keras

from dreal_tf.embedding import Embedder, scores_of

LOGGED = ("rank_1", "rank_5", "rank_10", "mAP", "mINP")


class RetrievalScores(keras.callbacks.Callback):
    """Adds `val_mAP`, `val_rank_1` and the others to the logs of each epoch.

    They are taken when validation ends, with the weights that validation has judged. Put it before
    what reads the logs, and before `SwapEMAWeights`.

    Args:
        asked: `dreal_tf.data.RetrievalSet`.
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
