"""What TensorBoard shows of a run."""

import keras
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams


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
