"""Training that starts from weights: what is loaded, what is frozen, and how fast each part learns."""

from pathlib import Path

import keras
import numpy as np

from dreal_tf.data.folder import TEST_FRACTION, list_classes
from dreal_tf.data.image_files import inspect_images
from dreal_tf.data.preprocessing import known_set
from dreal_tf.errors import InputError, unknown_name
from dreal_tf.keras_internals import variable_key
from dreal_tf.modules import stage_name
from dreal_tf.networks.backbones import actors_of
from dreal_tf.networks.pretrained import imagenet_file, load_pretrained

AUTO = "auto"
FIELDS = ("data.image_size", "data.batch_size", "schedule.epochs")  # That may be left open.
LOOKED_AT = 256  # Images of a folder whose sizes are read, at most.
SIDES = (64, 224)  # Of images (pixels); in between, multiples of ...
STEP = 32  # ... the total stride of the networks that are fine-tuned.
LARGEST_BATCH, LEAST_STEPS = 32, 20  # Images a step; steps an epoch, where there are images for it.
STEPS, LEAST_EPOCHS, MOST_EPOCHS = 2000, 5, 50  # Of a whole training, about.


def settled(recipe, earlier=None):
    """A recipe with what it leaves open ("auto") chosen; the same for the same data.

    Of a folder of images: `data.image_size` is the median of the shorter sides, a multiple of 32 from
    64 to 224 pixels; `data.batch_size` 32, or less so that an epoch has 20 steps, but at least 4;
    `schedule.epochs` about 2,000 steps, from 5 to 50 epochs. Of any other data: as stored where that
    is known, else 224; 32; 10.

    Args:
        recipe: `dreal_tf.Recipe`.
        earlier: `dreal_tf.Recipe` of a run that goes on and has chosen already, or None.
    Returns:
        `dreal_tf.Recipe`; the same one where nothing is open.
    Raises:
        InputError: if the folder that is named is not there, or holds no images.
    Example:
        >>> for number in range(400):
        ...     image = tf.io.encode_png(np.zeros((90, 100, 3), "uint8"))
        ...     tf.io.write_file(f"beasts/{('cats', 'dogs')[number % 2]}/{number}.png", image)
        >>> recipe = load_recipe("finetune").replace({"data.folder": "beasts"})
        >>> found = settled(recipe)
        >>> found.data.image_size, found.data.batch_size, found.schedule.epochs
        (96, 14, 50)
    """
    values = {path: _field(recipe, path) for path in FIELDS}
    if AUTO not in values.values():
        return recipe
    if earlier is not None:
        return recipe.replace({p: _field(earlier, p) for p in FIELDS if values[p] == AUTO})
    seen = recipe.data.name == "folder" and recipe.data.folder is not None
    chosen = _of_folder(recipe, values) if seen else _of_other(recipe)
    return recipe.replace({path: chosen[path] for path in FIELDS if values[path] == AUTO})


def found_line(recipe, found):
    """Text: what was found for what a recipe leaves open, to be changed by `--set`.

    Args:
        recipe: `dreal_tf.Recipe` that leaves something open.
        found: what `settled` made of it.
    Example:
        >>> recipe = load_recipe("finetune").replace({"data.name": "cifar10"})
        >>> found_line(recipe, settled(recipe))
        'Found from the data: data.image_size=None, data.batch_size=32, schedule.epochs=10.'
    """
    paths = [path for path in FIELDS if _field(recipe, path) == AUTO]
    return f"Found from the data: {', '.join(f'{path}={_field(found, path)}' for path in paths)}."


def _field(recipe, path):
    section, _, field = path.partition(".")
    return getattr(getattr(recipe, section), field)


def _of_folder(recipe, values):
    found = list_classes(recipe.data.folder)
    listed = found.listed
    names = np.concatenate([names for names, _ in listed.values()])
    apart = np.linspace(0, len(names) - 1, min(len(names), LOOKED_AT)).astype(int)
    sizes = inspect_images(found.tree, names[apart].tolist()).results
    sides = [min(size) for size in sizes.values()] or [SIDES[1]]
    side = int(np.clip(round(np.median(sides) / STEP) * STEP, *SIDES))
    # What a folder does not bring is held out of its training images.
    missing = [TEST_FRACTION if "test" not in listed else 0, 0 if "validation" in listed else 1]
    left = (1 - missing[0]) * (1 - missing[1] * recipe.data.validation_fraction)
    images = int(len(listed["train"][0]) * left)
    images = min(images, recipe.data.train_limit or images)
    batch = values["data.batch_size"]
    if batch == AUTO:
        batch = int(np.clip(images // LEAST_STEPS, 4, LARGEST_BATCH))
    epochs = round(STEPS * batch / max(images, 1))
    return {
        "data.image_size": side,
        "data.batch_size": batch,
        "schedule.epochs": int(np.clip(epochs, LEAST_EPOCHS, MOST_EPOCHS)),
    }


def _of_other(recipe):
    size = None if known_set(recipe.data.name) or recipe.data.name == "generated" else SIDES[1]
    return {"data.image_size": size, "data.batch_size": LARGEST_BATCH, "schedule.epochs": 10}


class _LRMultipliers:
    """Gives each variable a multiple of the learning rate.

    Args:
        lr_multipliers: dict of float by the beginning of a variable's path; the longest that fits
            counts, and 1 if none does. Decoupled weight decay follows the plain rate.
    """

    def __init__(self, *args, lr_multipliers=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.lr_multipliers = dict(lr_multipliers or {})
        self._multiplier_of = {}

    def build(self, variables):
        super().build(variables)
        for variable in variables:
            fitting = [begin for begin in self.lr_multipliers if variable.path.startswith(begin)]
            multiplier = self.lr_multipliers[max(fitting, key=len)] if fitting else 1.0
            self._multiplier_of[variable_key(self, variable)] = multiplier

    def update_step(self, gradient, variable, learning_rate):
        multiplier = self._multiplier_of[variable_key(self, variable)]
        super().update_step(gradient, variable, learning_rate * multiplier)

    def get_config(self):
        return super().get_config() | {"lr_multipliers": dict(self.lr_multipliers)}


@keras.saving.register_keras_serializable("dreal_tf")
class LRMultiplierSGD(_LRMultipliers, keras.optimizers.SGD):
    """Keras's SGD, with a multiple of the learning rate for each variable.

    Args:
        lr_multipliers: dict of float by the beginning of a variable's path; "" is that of all others.
        arguments: those of `keras.optimizers.SGD`.
    Example:
        >>> slow, fast = (keras.Variable([1.0], name=name) for name in ("slow", "fast"))
        >>> LRMultiplierSGD(1.0, lr_multipliers={"slow": 0.25}).apply([[1.0], [1.0]], [slow, fast])
        >>> float(slow[0]), float(fast[0])
        (0.75, 0.0)
    """


@keras.saving.register_keras_serializable("dreal_tf")
class LRMultiplierAdam(_LRMultipliers, keras.optimizers.Adam):
    """Keras's Adam, with a multiple of the learning rate for each variable; see `LRMultiplierSGD`."""


@keras.saving.register_keras_serializable("dreal_tf")
class LRMultiplierAdamW(_LRMultipliers, keras.optimizers.AdamW):
    """Keras's AdamW, with a multiple of the learning rate for each variable; see `LRMultiplierSGD`."""


OPTIMIZERS = {"sgd": LRMultiplierSGD, "adam": LRMultiplierAdam, "adamw": LRMultiplierAdamW}


def lr_multipliers(network, backbone=1.0, attention=1.0, head=1.0):
    """The multipliers of the three parts of one of our networks.

    Args:
        network: functional `keras.Model` whose last layer is called "logits".
        backbone, attention, head: float > 0. Their multipliers.
    Returns:
        Dict, for the optimizers here; empty where all are 1.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> lr_multipliers(network, backbone=0.1)["conv2_1_se/"]
        1.0
    """
    if backbone == attention == head == 1:
        return {}
    actors = {f"{actor.name}/": attention for actor in actors_of(network)}
    return {"": backbone, "logits/": head} | actors


def start_file(backbone):
    """The file with the weights that a recipe names, so that its absence is said at once.

    Args:
        backbone: `dreal_tf.recipe.ImagenetResNet` whose `weights` are "imagenet" or a file.
    Returns:
        Path.
    Raises:
        InputError: if they are not there.
    """
    if backbone.weights == "imagenet":
        return imagenet_file(backbone.depth, backbone.download)
    path = Path(backbone.weights).expanduser()
    if not path.is_file():
        raise InputError(
            f"Expected a file of weights, or 'imagenet'. Received: backbone.weights={backbone.weights!r}, "
            "where there is no file. Check the path; backbone.weights=null starts from none."
        )
    return path


def load_start(network, path, preprocessing):
    """Puts the weights that a recipe names into its network.

    Args:
        network: functional `keras.Model`.
        path: path, from `start_file`.
        preprocessing: `dreal_tf.data.preprocessing.Preprocessing` of the images that the network gets.
    Returns:
        `dreal_tf.networks.pretrained.LoadedWeights`.
    Raises:
        InputError: if they do not fit.
    """
    top = preprocessing.top
    mean, deviation = (
        np.broadcast_to(np.asarray(row) / top, 3)
        for row in (preprocessing.mean, preprocessing.deviation)
    )
    return load_pretrained(network, path, (mean, deviation))


def freeze(network, stages):
    """Leaves some stages of a network out of training, but not the attention in them.

    Args:
        network: functional `keras.Model` of ours, before an optimizer is made for it.
        stages: collection of str, such as {"conv1", "conv2"}.
    Raises:
        InputError: if one is none of the network's.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> freeze(network, {"conv1", "conv2"})
        >>> [v.path for v in network.trainable_variables][:2]
        ['conv2_1_se/squeeze/kernel', 'conv2_1_se/squeeze/bias']
    """
    attention = {actor.name for actor in actors_of(network)}
    parts = {}
    for layer in network.layers:
        if layer.name not in attention and layer.weights and layer.name != "logits":
            stage = stage_name(layer.name.split("_")[0])
            parts.setdefault(stage, []).append(layer)
    for stage in stages:
        if stage not in parts:
            raise unknown_name("stage of the network", stage, parts)
        for layer in parts[stage]:
            layer.trainable = False
