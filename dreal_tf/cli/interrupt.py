"""Interrupts that wait for the end of a step: TensorFlow does not take them well inside one."""

import signal

import keras

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DeferInterrupts(keras.callbacks.Callback):
    """While training, turns the first interrupt into `KeyboardInterrupt` after the current batch.

    A second one is not deferred.
    """

    def on_train_begin(self, logs=None):
        self._asked = False
        self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}

    def _ask(self, number, frame):
        self._asked = True
        self._restore()

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop_if_asked(self):
        if self._asked:
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch, logs=None):
        self._stop_if_asked()

    def on_test_batch_end(self, batch, logs=None):
        self._stop_if_asked()

    def on_train_end(self, logs=None):
        self._restore()
        self._stop_if_asked()
