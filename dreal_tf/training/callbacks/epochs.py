"""Tells the model which epoch it is in, and when the method starts."""

import keras


class DelayedStart(keras.callbacks.Callback):
    """Trains a `DREAL` model as plain Keras does until an epoch, and by the method from there.

    Until then no reward is measured in training, and the critic does not learn.

    Args:
        epoch: int >= 0. The first epoch (counted from 0) of the method.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> model = DREAL(network, critic="paper")
        >>> model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(np.ones((8, 8, 8, 1)), np.arange(8), epochs=2, verbose=0,
        ...                     callbacks=[DelayedStart(1)]).history
        >>> history["reward_measured"]
        [0.0, 2.0]
    """

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        enabled = epoch >= self.epoch
        if enabled != self.model.method_enabled:
            self.model.method_enabled = enabled
            self.model.make_train_function(force=True)  # The traced step has the other branch.


class SetEpoch(keras.callbacks.Callback):
    """Moves the clock of the training data, so that order and augmentation follow the epoch.

    Args:
        clock: `dreal_tf.data.splits.EpochClock`.
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
