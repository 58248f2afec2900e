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
from dreal_tf.visualization.training_curves import critic_curves


class TensorBoardLog(keras.callbacks.TensorBoard):
    """Keras's TensorBoard with the recipe as hyperparameters, and the actions' distribution.

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
        # Beside Keras's own, which TensorBoard shows as one with it.
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


SHOWN = 6  # Images whose maps are drawn.
COUNTED = 64  # Images whose channel actions are averaged.
FIRST_SECONDS = 5.0  # What the first drawing, which compiles, is taken to cost.
DOTS = 100  # Pixels per inch.


class TensorBoardFigures(keras.callbacks.Callback):
    """Draws what the network looks at, as often as its share of the time allows, and at the end.

    After an epoch: the channel attention of every module, Grad-CAM of a few images with what the
    network takes them for, the attention over places of modules that have one, and critique and
    reward of every module over the epochs. They are drawn if, at the cost of the last time, all drawing still stays under the share of the time since
    training began. It changes nothing in the network.

    Args:
        folder: str or path of TensorBoard's files; the pictures go to its folder `figures`.
        images: float tensor (n, height, width, channels), fixed images, as the network takes them.
        labels: int tensor (n,), or float rows (n, classes).
        preprocessing: `dreal_tf.data.preprocessing.Preprocessing` of these images.
        share: float > 0. See above.
        history: `HistoryFile` that stands before this in the list of callbacks; None: no curves.
    Attributes:
        budget: `TimeBudget`, what drawing took.
    """

    def __init__(self, folder, images, labels, preprocessing, share=0.02, history=None):
        super().__init__()
        self.folder = Path(folder) / "figures"
        labels = np.asarray(labels)
        labels = labels.argmax(axis=-1) if labels.ndim > 1 else labels
        self.images = np.asarray(images)[:COUNTED]
        shown = chosen_images(labels, min(SHOWN, len(labels)))
        self.shown, self.labels = np.asarray(images)[shown], labels[shown]
        self.pixels = preprocessing.pixels(self.shown).numpy() / 255.0
        self.class_names = preprocessing.class_names
        self.history = history
        self.budget = TimeBudget(share, FIRST_SECONDS)

    def on_train_begin(self, logs=None):
        self._begin, self._ended, self._drawn = time.perf_counter(), None, None
        self._writer = tf.summary.create_file_writer(str(self.folder))
        network = self.model.network
        self._cam = GradCam(network)
        self._channels = ActionRecorder(network, ("channel",))
        self._places = ActionRecorder(network, ("spatial", "pairwise"))

    def on_epoch_end(self, epoch, logs=None):
        self._ended = epoch
        if self.budget.allows(time.perf_counter() - self._begin):
            self._draw()

    def on_train_end(self, logs=None):
        if self._ended is not None and self._drawn != self._ended:
            self._draw()
        self._writer.close()

    def _draw(self):
        start = time.perf_counter()
        with self._writer.as_default():
            for name, figure in self.figures().items():
                picture = tf.io.decode_png(as_png(figure, DOTS, LIGHT.ground))
                tf.summary.image(name, picture[None], step=self._ended)
        self._writer.flush()
        self._drawn = self._ended
        self.budget.spend(time.perf_counter() - start)

    def figures(self):
        """What is drawn of the network as it is now.

        Returns:
            Dict of `matplotlib.figure.Figure` by name.
        """
        figures = {"Grad-CAM": self._grad_cam()}
        channels = self._channels(self.images)
        if channels:
            found = {m: channel_statistics(action) for m, (_, action) in channels.items()}
            figures["channel attention"] = channel_attention(found, names=("attention", ""))
        maps = {
            m: attention_map(*one) for m, one in self._places(self.shown).items() if has_map(one.spec)
        }
        if maps:
            rows = [MapRow(m, found, tone="ours", ranged=True) for m, found in maps.items()]
            said = "attention of the module, from its least on the image to its most"
            figures["attention over the image"] = self._heatmaps(rows, said)
        rows = self.history.rows if self.history else []
        critiques, rewards = (_courses(rows, f"{name}/") for name in ("critique", "reward"))
        if critiques:
            epochs = [row["epoch"] + 1 for row in rows]
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


def _courses(rows, prefix):
    """Of each module, a quantity epoch by epoch."""
    names = [name for name in (rows[-1] if rows else ()) if name.startswith(prefix)]
    return {name.removeprefix(prefix): [row.get(name, np.nan) for row in rows] for name in names}


class TimeBudget:
    """Whether something may be done once more, at its last cost, within a share of all time.

    Args:
        share: float > 0. Share of the time that has passed (no unit).
        expected: float. What doing it the first time is taken to cost (seconds).
    Attributes:
        costs: list of float, what it cost each time (seconds).
    Example:
        >>> budget = TimeBudget(share=0.1, expected=2.0)
        >>> budget.allows(passed=10.0), budget.allows(passed=20.0)
        (False, True)
        >>> budget.spend(3.0)
        >>> budget.allows(passed=50.0), budget.allows(passed=60.0)
        (False, True)
    """

    def __init__(self, share, expected):
        self.share = share
        self.expected = expected
        self.costs = []

    def allows(self, passed):
        """Whether it may be done now.

        Args:
            passed: float. All time since the beginning, what was spent included (seconds).
        """
        expected = self.costs[-1] if self.costs else self.expected
        return sum(self.costs) + expected <= self.share * passed

    def spend(self, seconds):
        """Notes what it cost this time (seconds)."""
        self.costs.append(seconds)
