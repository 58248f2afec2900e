"""Settings that a recipe leaves open, found from the data itself."""

import numpy as np

from dreal_tf.data import known_set
from dreal_tf.data.folder import TEST_FRACTION, list_classes
from dreal_tf.data.image_files import inspect_images

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
    facts = inspect_images(found.tree, names[apart].tolist()).facts
    sides = [min(fact.size) for fact in facts.values()] or [SIDES[1]]
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
