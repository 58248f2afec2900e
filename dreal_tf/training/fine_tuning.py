"""Fine-tuning: settings chosen from the data, initial weights and frozen stages."""

import os
from operator import attrgetter
from pathlib import Path

import numpy as np

from dreal_tf.data.folder import TEST_FRACTION, list_classes
from dreal_tf.data.image_files import inspect_images
from dreal_tf.data.preprocessing import known_set
from dreal_tf.errors import InputError, unknown_name
from dreal_tf.modules import stage_name
from dreal_tf.networks.backbones import actors_of
from dreal_tf.networks.pretrained import imagenet_file, load_pretrained

AUTO = "auto"
FIELDS = ("data.image_size", "data.batch_size", "schedule.epochs")  # Fields that may be "auto".
MAX_INSPECTED = 256  # Images of a folder whose sizes are read.
SIDES = (64, 224)  # The smallest and the largest image size (pixels); in between, multiples of ...
STRIDE = 32  # ... the total stride of the fine-tuned networks.
MAX_BATCH, MIN_STEPS = 32, 20  # Images a step; steps an epoch, if there are enough images.
STEPS, EPOCHS = 2000, (5, 50)  # Steps of a whole training, about; the fewest and the most epochs.


def resolve_auto(recipe, earlier=None):
    """A recipe with its "auto" fields chosen from the data; equal data gives equal fields.

    For a folder of images: `data.image_size` is the median of the shorter sides, a multiple of 32 from
    64 to 224 pixels; `data.batch_size` is 32, or less so that an epoch has 20 steps, but at least 4;
    `schedule.epochs` gives about 2,000 steps, from 5 to 50 epochs. For any other data: the stored size if
    it is known, else 224; 32; 10.

    Args:
        recipe: `dreal_tf.Recipe`.
        earlier: `dreal_tf.Recipe` of an interrupted run, whose choices are repeated; or None.
    Returns:
        `dreal_tf.Recipe`; the same object if no field is "auto".
    Raises:
        InputError: if the folder does not exist, or holds no images.
    Example:
        >>> for number in range(400):
        ...     image = tf.io.encode_png(np.zeros((90, 100, 3), "uint8"))
        ...     tf.io.write_file(f"beasts/{('cats', 'dogs')[number % 2]}/{number}.png", image)
        >>> recipe = load_recipe("finetune").replace({"data.folder": "beasts"})
        >>> resolved = resolve_auto(recipe)
        >>> resolved.data.image_size, resolved.data.batch_size, resolved.schedule.epochs
        (96, 14, 50)
    """
    open_fields = [path for path in FIELDS if attrgetter(path)(recipe) == AUTO]
    if not open_fields:
        return recipe
    if earlier is not None:
        chosen = {path: attrgetter(path)(earlier) for path in FIELDS}
    elif recipe.data.name == "folder" and recipe.data.folder is not None:
        chosen = _chosen_from_folder(recipe)
    else:
        stored = known_set(recipe.data.name) or recipe.data.name == "generated"
        chosen = dict(zip(FIELDS, (None if stored else SIDES[1], MAX_BATCH, 10), strict=True))
    return recipe.replace({path: chosen[path] for path in open_fields})


def describe_auto(recipe, resolved):
    """A line that names the values chosen for "auto" fields.

    Args:
        recipe: `dreal_tf.Recipe` with "auto" fields.
        resolved: the recipe that `resolve_auto` made of it.
    Example:
        >>> recipe = load_recipe("finetune").replace({"data.name": "cifar10"})
        >>> describe_auto(recipe, resolve_auto(recipe))
        'Found from the data: data.image_size=None, data.batch_size=32, schedule.epochs=10.'
    """
    paths = [path for path in FIELDS if attrgetter(path)(recipe) == AUTO]
    values = ", ".join(f"{path}={attrgetter(path)(resolved)}" for path in paths)
    return f"Found from the data: {values}."


def _chosen_from_folder(recipe):
    classes = list_classes(recipe.data.folder)
    listed = classes.listed
    names = np.concatenate([names for names, _ in listed.values()])
    spaced = np.linspace(0, len(names) - 1, min(len(names), MAX_INSPECTED)).astype(int)
    sizes = inspect_images(classes.tree, names[spaced].tolist()).results
    sides = [min(size) for size in sizes.values()] or [SIDES[1]]
    # Training images are held out for the splits that the folder lacks.
    test = 0 if "test" in listed else TEST_FRACTION
    validation = 0 if "validation" in listed else recipe.data.validation_fraction
    images = int(len(listed["train"][0]) * ((1 - test) * (1 - validation)))
    images = min(images, recipe.data.train_limit or images)
    batch = recipe.data.batch_size
    if batch == AUTO:
        batch = int(np.clip(images // MIN_STEPS, 4, MAX_BATCH))
    return {
        "data.image_size": int(np.clip(round(np.median(sides) / STRIDE) * STRIDE, *SIDES)),
        "data.batch_size": batch,
        "schedule.epochs": int(np.clip(round(STEPS * batch / max(images, 1)), *EPOCHS)),
    }


def start_file(backbone):
    """The file with the initial weights of a recipe; fails early if it is missing.

    Args:
        backbone: `dreal_tf.training.recipe.ImagenetResNet` whose `weights` are "imagenet" or a file.
    Returns:
        Path.
    Raises:
        InputError: if there is no such file.
    """
    if backbone.weights == "imagenet":
        return imagenet_file(backbone.depth, backbone.download)
    path = Path(os.path.expanduser(backbone.weights))
    if not os.path.isfile(path):
        raise InputError(
            f"Expected a file of weights, or 'imagenet'. Received: backbone.weights={backbone.weights!r}, "
            "where there is no file. Check the path; backbone.weights=null starts from none."
        )
    return path


def load_start(network, path, preprocessing):
    """Loads the initial weights of a recipe into its network.

    Args:
        network: functional `keras.Model`.
        path: path, from `start_file`.
        preprocessing: `dreal_tf.data.preprocessing.Preprocessing` of the network's images.
    Returns:
        `dreal_tf.networks.pretrained.LoadedWeights`.
    Raises:
        InputError: if the weights do not match the network.
    """
    standard = preprocessing.mean, preprocessing.deviation
    standard = [np.broadcast_to(np.asarray(row) / preprocessing.top, 3) for row in standard]
    return load_pretrained(network, path, standard)


def freeze(network, stages):
    """Freezes some stages of a network, but not the attention in them.

    Args:
        network: functional `keras.Model` of this package, before its optimizer is built.
        stages: collection of str, such as {"conv1", "conv2"}.
    Raises:
        InputError: if the network has no such stage.
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
