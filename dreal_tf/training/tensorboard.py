"""TensorBoard: scalars, hyperparameters, histograms and the figures of the paper."""

import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from dreal_tf.visualization.attention_maps import ActionRecorder, attention_map, has_map
from dreal_tf.visualization.grad_cam import GradCam
from dreal_tf.visualization.heatmaps import MapRow, chosen_images, heatmaps
from dreal_tf.visualization.module_figures import channel_attention, channel_statistics
from dreal_tf.visualization.style import LIGHT, as_png
from dreal_tf.visualization.training_curves import critic_curves, history_curves

SHOWN = 6  # Images whose maps are drawn.
AVERAGED = 64  # Images whose channel actions are averaged.
FIRST_SECONDS = 5.0  # Assumed time of the first drawing, which compiles.
DOTS = 100  # Pixels per inch.


class TensorBoardLog(keras.callbacks.TensorBoard):
    """Keras's TensorBoard, with the recipe as hyperparameters and histograms of the actions.

    Args:
        folder: where to write.
        recipe: `dreal_tf.Recipe`.
        images: float tensor (n, height, width, channels), images whose actions are drawn as
            histograms after each epoch.
    """

    def __init__(self, folder, recipe, images):
        super().__init__(str(folder), write_graph=False)
        self.folder = folder
        self.recipe = recipe
        self.images = images

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        flat = {
            f"{section}.{field}": value if isinstance(value, int | float | str) else str(value)
            for section, fields in self.recipe.model_dump(exclude={"name"}).items()
            for field, value in fields.items()
        }
        # In the folder of Keras's writer, so that TensorBoard shows both as one run.
        self.writer = tf.summary.create_file_writer(str(self.folder / "train"))
        with self.writer.as_default():
            hparams.hparams(flat, trial_id=self.recipe.name)
        self._actions = tf.function(
            lambda images: self.model.trajectory_network(images, training=False)["actions"]
        )

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        with self.writer.as_default():
            for module, action in self._actions(self.images).items():
                tf.summary.histogram(f"action/{module}", action, step=epoch)

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        self.writer.close()


class TensorBoardFigures(keras.callbacks.Callback):
    """Draws where the network looks, as often as a fraction of the time allows, and at the end.

    After an epoch it draws the channel attention of every module, Grad-CAM of a few images with their
    predictions, the attention maps of modules that have one, and critique and reward of every module
    over the epochs. It skips an epoch if drawing would take more than the fraction of the time since
    training began, see `time_allows`. It changes nothing in the network.

    Args:
        folder: str or path of TensorBoard's files; the pictures go to its folder `figures`.
        images: float tensor (n, height, width, channels), fixed images, preprocessed for the network.
        labels: int tensor (n,), or float rows (n, classes).
        preprocessing: `dreal_tf.data.preprocessing.Preprocessing` of these images.
        fraction: float > 0. The largest fraction of the time that drawing may take.
        history: `HistoryFile` that precedes this in the list of callbacks; None for no curves.
    Attributes:
        seconds: list of float, the time of each drawing.
    """

    def __init__(self, folder, images, labels, preprocessing, fraction=0.02, history=None):
        super().__init__()
        self.folder = Path(folder) / "figures"
        labels = np.asarray(labels)
        labels = labels.argmax(axis=-1) if labels.ndim > 1 else labels
        self.images = np.asarray(images)[:AVERAGED]
        shown = chosen_images(labels, min(SHOWN, len(labels)))
        self.shown, self.labels = np.asarray(images)[shown], labels[shown]
        self.pixels = preprocessing.pixels(self.shown).numpy() / 255.0
        self.class_names = preprocessing.class_names
        self.history = history
        self.fraction = fraction
        self.seconds = []

    def on_train_begin(self, logs=None):
        self._begin, self._ended, self._last_epoch = time.perf_counter(), None, None
        self._writer = tf.summary.create_file_writer(str(self.folder))
        network = self.model.network
        self._cam = GradCam(network)
        self._channels = ActionRecorder(network, ("channel",))
        self._map_actions = ActionRecorder(network, ("spatial", "pairwise"))

    def on_epoch_end(self, epoch, logs=None):
        self._ended = epoch
        if time_allows(self.seconds, time.perf_counter() - self._begin, self.fraction):
            self._draw()

    def on_train_end(self, logs=None):
        if self._ended is not None and self._last_epoch != self._ended:
            self._draw()
        self._writer.close()

    def _draw(self):
        start = time.perf_counter()
        with self._writer.as_default():
            for name, figure in self.figures().items():
                picture = tf.io.decode_png(as_png(figure, DOTS, LIGHT.ground))
                tf.summary.image(name, picture[None], step=self._ended)
        self._writer.flush()
        self._last_epoch = self._ended
        self.seconds.append(time.perf_counter() - start)

    def figures(self):
        """The figures of the network as it is now.

        Returns:
            Dict of `matplotlib.figure.Figure` by name.
        """
        figures = {"Grad-CAM": self._grad_cam()}
        channels = self._channels(self.images)
        if channels:
            statistics = {m: channel_statistics(action) for m, (_, action) in channels.items()}
            figures["channel attention"] = channel_attention(statistics, names=("attention", ""))
        maps = {
            m: attention_map(*one)
            for m, one in self._map_actions(self.shown).items()
            if has_map(one.spec)
        }
        if maps:
            rows = [MapRow(m, values, tone="ours", ranged=True) for m, values in maps.items()]
            legend = "attention of the module, from its least on the image to its most"
            figures["attention over the image"] = self._heatmaps(rows, legend)
        rows = self.history.rows if self.history else []
        critiques, rewards = (history_curves(rows, name) for name in ("critique", "reward"))
        if critiques:
            epochs = [row["epoch"] for row in rows]
            figures["critique and reward"] = critic_curves(epochs, critiques, rewards)
        return figures

    def _grad_cam(self):
        maps, logits = self._cam.with_logits(self.shown, self.labels)
        given = logits.argmax(axis=1)
        marks = np.where(given == self.labels, "✓", "✗")
        notes = [f"{mark} {self.class_names[one]}" for one, mark in zip(given, marks, strict=True)]
        return self._heatmaps([MapRow("Grad-CAM", maps, notes, "ours")], "evidence for the label")

    def _heatmaps(self, rows, legend):
        names = [self.class_names[label] for label in self.labels]
        return heatmaps(self.pixels, names, rows, columns=SHOWN, legend=legend)


def time_allows(seconds, passed, fraction):
    """Whether drawing once more, in the time of the last drawing, stays within a fraction of all time.

    Args:
        seconds: sequence of float, the time of each drawing so far.
        passed: float. All time since training began, drawing included (seconds).
        fraction: float > 0.
    Example:
        >>> time_allows([], passed=50.0, fraction=0.1), time_allows([], passed=49.0, fraction=0.1)
        (True, False)
        >>> time_allows([3.0], passed=59.0, fraction=0.1), time_allows([3.0], passed=60.0, fraction=0.1)
        (False, True)
    """
    expected = seconds[-1] if len(seconds) else FIRST_SECONDS
    return sum(seconds) + expected <= fraction * passed
