"""Keras's progress bar, without the values of each module, which would fill the screen, and a last line."""

import sys

import keras

SHOWN = ("accuracy", "loss", "critic_loss", "actor_loss", "reward")
METHOD = ("critique", "trust", "gain", "alignment", "direction", "r2", "actor_grad", "reward_measured")


class ProgressBar(keras.callbacks.ProgbarLogger):
    """Keras's own bar of `fit` and `evaluate` over the logs that fit a line; `History` has all of them.

    It leaves out the logs of modules and the instruments', and keeps the user's metrics. When training ends
    it prints what the method did, see `DREAL.method_summary`.
    """

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, _short(logs))

    def on_test_batch_end(self, batch, logs=None):
        super().on_test_batch_end(batch, _short(logs))

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, _short(logs))

    def on_test_end(self, logs=None):
        super().on_test_end(_short(logs))

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        shown = self.verbose and keras.config.is_interactive_logging_enabled()
        if shown and self.model.critic is not None:
            sys.stdout.write(f"{self.model.method_summary().line}\n")


def _short(logs):
    """The logs of the whole network, in a fixed order: what `SHOWN` names, then the user's metrics."""
    kept = {
        name: value
        for name, value in (logs or {}).items()
        if "/" not in name and not name.removeprefix("val_").startswith(METHOD)
    }
    named = [prefix + name for prefix in ("", "val_") for name in SHOWN if prefix + name in kept]
    return {name: kept[name] for name in dict.fromkeys([*named, *kept])}


def with_progress_bar(callbacks):
    """Callbacks for `fit` or `evaluate` with the bar, where the caller has none of its own.

    Args:
        callbacks: as Keras takes them: None, a callback, a list of them or a
            `keras.callbacks.CallbackList`, which is left as it is.
    Returns:
        The same kind, or a list.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    callbacks = (
        list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks] if callbacks else []
    )
    if any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in callbacks):
        return callbacks
    return [*callbacks, ProgressBar()]
