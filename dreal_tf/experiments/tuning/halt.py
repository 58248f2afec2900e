"""Ends a trial when it has been trained as far as it should be."""

import keras

from dreal_tf.errors import unknown_name


class Halt(keras.callbacks.Callback):
    """Stops training where `Objective.ended` says so; the run can go on from there later.

    Args:
        objective: `dreal_tf.experiments.tuning.scores.Objective`.
        history: path of the run's `history.csv`, whose epochs count after an interruption.
        epochs, patience: see `Objective.ended`.
    Raises:
        InputError: after the first epoch, if the objective is not logged.
    """

    def __init__(self, objective, history, epochs=None, patience=None):
        super().__init__()
        self.objective = objective
        self.history = history
        self.epochs = epochs
        self.patience = patience

    @property
    def due(self):
        """Whether the epochs in the history are all there should be."""
        return self._ended(self.objective.curve(self.history))

    def on_train_begin(self, logs=None):
        self._curve = None

    def on_epoch_begin(self, epoch, logs=None):
        if self._curve is None:  # Where training has gone on from.
            self._curve = self.objective.curve(self.history)[:epoch]

    def on_epoch_end(self, epoch, logs=None):
        if self.objective.name not in logs:
            known = [name for name in logs if name.startswith("val_")]
            raise unknown_name("logged objective", self.objective.name, known)
        self._curve.append(float(logs[self.objective.name]))
        if self._ended(self._curve):
            self.model.stop_training = True

    def _ended(self, curve):
        return self.objective.ended(curve, self.epochs, self.patience)
