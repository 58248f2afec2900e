"""Callbacks of training in a terminal: progress on standard error, and interrupts.

They have a file of their own because it imports Keras, which takes seconds.
"""

import signal
import threading
import time

import keras

from dreal_tf.cli.output import WIDTH, say

# The logs of an epoch's line, as many as fit; history.csv has all of them. Identities have a mAP.
SHOWN = ("loss", "accuracy", "val_mAP", "val_accuracy", "reward", "val_loss")


class EpochProgress(keras.callbacks.Callback):
    """A bar over the steps of each epoch, and one line when it ends.

    Args:
        bar: `rich.progress.Progress`, which the callback starts and the caller stops.
    """

    def __init__(self, bar):
        super().__init__()
        self._bar = bar

    def on_train_begin(self, logs=None):
        self._bar.start()
        self._task = self._bar.add_task("", total=self.params["steps"])
        self._began, self._epochs_done = time.monotonic(), 0

    def on_epoch_begin(self, epoch, logs=None):
        description = f"epoch {epoch + 1}/{self.params['epochs']}"
        self._bar.reset(self._task, total=self.params["steps"], description=description)

    def on_train_batch_end(self, batch, logs=None):
        self._bar.update(self._task, completed=batch + 1)

    def on_epoch_end(self, epoch, logs=None):
        epochs = self.params["epochs"]
        self._epochs_done += 1
        elapsed = time.monotonic() - self._began
        left = elapsed / self._epochs_done * (epochs - epoch - 1)
        line = f"epoch {epoch + 1:>{len(str(epochs))}}/{epochs}  {_clock(elapsed)}, {_clock(left)} left"
        for name in SHOWN:
            shown = f"  {name} {logs[name]:.3f}" if name in logs else ""
            line += shown if len(line) + len(shown) <= WIDTH else ""
        say(line)


def _clock(seconds):
    """Minutes and seconds, or hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DeferInterrupts(keras.callbacks.Callback):
    """During training, raises `KeyboardInterrupt` for an interrupt after the current batch.

    TensorFlow does not handle an interrupt well inside a step. A second one is not deferred. Outside the
    main thread, which alone receives signals, it does nothing.
    """

    def on_train_begin(self, logs=None):
        self._interrupted = False
        numbers = SIGNALS if threading.current_thread() is threading.main_thread() else ()
        self._before = {number: signal.signal(number, self._note) for number in numbers}

    def _note(self, number, frame):
        self._interrupted = True
        self._restore()

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop_if_interrupted(self):
        if self._interrupted:
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch, logs=None):
        self._stop_if_interrupted()

    def on_test_batch_end(self, batch, logs=None):
        self._stop_if_interrupted()

    def on_train_end(self, logs=None):
        self._restore()
        self._stop_if_interrupted()
