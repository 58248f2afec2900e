"""The curves of a run as a file."""

import csv
import os
import time
from pathlib import Path

import keras


class HistoryFile(keras.callbacks.Callback):
    """Writes one row of `history.csv` per epoch: `epoch`, `seconds`, then the logs.

    Put it before `Checkpoint` in the list: a row whose epoch was not kept is written again.

    Args:
        path: where to write.
    Example:
        >>> callback = HistoryFile("history.csv")
        >>> callback.path.name
        'history.csv'
    """

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)
        self.rows = []

    def on_epoch_begin(self, epoch, logs=None):
        if not self.rows and epoch and self.path.exists():
            self.rows = [row for row in read_history(self.path) if row["epoch"] < epoch]
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = round(time.perf_counter() - self._started, 3)
        self.rows.append({"epoch": epoch, "seconds": seconds, **(logs or {})})
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        partial = self.path.with_suffix(".partial")
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(partial, self.path)  # Never half a file.


def read_history(path):
    """The rows of a `history.csv`.

    Args:
        path: str or path.
    Returns:
        List of dicts from column to float; `epoch` is an int.
    """
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    return [row | {"epoch": int(row["epoch"])} for row in rows]
