"""Tells the data which epoch is drawn."""

import keras


class SetEpoch(keras.callbacks.Callback):
    """Moves the clock of the training data, so that order and augmentation follow the epoch.

    Args:
        clock: `dreal_tf.data.EpochClock`.
    Example:
        >>> clock = EpochClock()
        >>> SetEpoch(clock).on_epoch_begin(4)
        >>> clock.epoch
        4
    """

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def on_epoch_begin(self, epoch, logs=None):
        self.clock.epoch = epoch
