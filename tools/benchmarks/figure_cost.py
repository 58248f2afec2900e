"""The fraction of a training that TensorBoard's figures take: `python tools/benchmarks/figure_cost.py RECIPE`.

It trains as `dreal-tf train` does, validation and figures included.
"""

import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from recipe_command import on_generated_images, recipe_command

from dreal_tf.training.builder import build
from dreal_tf.training.callbacks import HistoryFile
from dreal_tf.training.recipe_files import load_recipe
from dreal_tf.training.tensorboard import TensorBoardFigures


class FigureSeconds(NamedTuple):
    """Seconds of a training.

    Attributes:
        epochs: list of float, of each epoch with its validation, without figures.
        drawings: list of float, of each time that the figures were drawn before training ended.
        last: float, of the drawing after the end.
    """

    epochs: list
    drawings: list
    last: float


def figure_seconds(recipe, epochs):
    """Trains with figures.

    Args:
        recipe: `dreal_tf.Recipe`, with `run.figures` above 0.
        epochs: int >= 1.
    Returns:
        `FigureSeconds`.
    """
    model, data, callbacks = build(recipe)
    watched = next(iter(data.validation))
    with tempfile.TemporaryDirectory() as folder:
        history = HistoryFile(Path(folder) / "history.csv")
        settings = data.preprocessing, recipe.run.figures, history
        figures = TensorBoardFigures(folder, *watched, *settings)
        clock = _Clock(figures)
        model.fit(
            data.train,
            validation_data=data.validation,
            epochs=epochs,
            callbacks=[*callbacks, clock, history, figures],
            shuffle=False,
            verbose=0,
        )
    costs = figures.seconds
    return FigureSeconds(clock.epochs, costs[: clock.drawings], costs[-1])


class _Clock(keras.callbacks.Callback):
    """Stands before the figures, so that it stops before they are drawn."""

    def __init__(self, figures):
        super().__init__()
        self.figures = figures
        self.epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(time.perf_counter() - self._begin)

    def on_train_end(self, logs=None):
        self.drawings = len(self.figures.seconds)


def main(recipe, side, images, epochs):
    """Prints the share, of a recipe's own data or of generated images."""
    recipe = on_generated_images(load_recipe(recipe), side, images)
    seconds = figure_seconds(recipe, epochs)
    trained, drawing = sum(seconds.epochs), sum(seconds.drawings)
    print(f"epoch     {np.median(seconds.epochs):8.3f} s (median of {epochs})")
    for number, of_drawing in enumerate(seconds.drawings, start=1):
        print(f"drawing {number}{of_drawing:9.3f} s")
    print(f"at the end{seconds.last:8.3f} s")
    percent = 100 * drawing / (trained + drawing)
    print(f"share     {percent:8.2f} % of {trained + drawing:.0f} s, without the drawing at the end")


if __name__ == "__main__":
    recipe_command(main, "The fraction of a training that figures take.", epochs=(10, "To train for."))
