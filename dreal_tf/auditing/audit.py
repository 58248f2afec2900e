"""What every attention module of a trained network is worth, measured without training."""

from pathlib import Path

import numpy as np

from dreal_tf.auditing.differences import measure_differences
from dreal_tf.auditing.networks import answering, check_answers, check_data, load_network
from dreal_tf.auditing.sources import check_images, source_of, unvaried
from dreal_tf.auditing.values import TOLERANCE, values_by_class, values_of
from dreal_tf.builder import build_data
from dreal_tf.data import Splits, drawn_batches
from dreal_tf.errors import InputError
from dreal_tf.method.rewards import ABLATIONS, calibrated_modules
from dreal_tf.recipe import Recipe
from dreal_tf.recipe_files import load_recipe
from dreal_tf.run_directory import RunDirectory

AT_A_TIME = 32  # Images per pass.
CALIBRATED = 1024  # Training images, at most, whose mean action "static" is.


def audit(target, images=2000, data=None, data_dir=None, track=None, seed=0):
    """Measures what each attention module of a trained network is worth.

    On test images the network answers once as it is, and again with the action of each module
    replaced by its baseline action: "mean", the action's own mean along the axes in which it
    selects, takes its selectivity; "static", its mean over training images, takes its dependence on
    the image. A module is worth what the log probability of the label falls by, over all images,
    right and wrong. If its choices are chance, the interval of that covers 0; it lies below 0 where
    they shake the answer so much that any chance costs.

    Args:
        target: str or path of a run directory or a `.keras` file, or a `keras.Model`: a functional
            network, with our layers anywhere in it, or a `DREAL`. A layer that is used twice is two
            modules, see `dreal_tf.method.rewards.ModuleNames`.
        images: int >= 2. Test images to measure on; all of them where there are fewer.
        data: `dreal_tf.Recipe` or its name or path, or `dreal_tf.data.Splits`: what the network was
            trained on. None for a run's own.
        data_dir: str, path or None. Where the data lies now; None for where the recipe says.
        track: callable that passes on the items of a sized iterable while it shows progress, or None.
        seed: int. Which images are drawn, and of the bootstrap.
    Returns:
        Dict of plain numbers: `images` (int), `accuracy` (fraction), `log_p` (nats, mean of the
        label's log probability), `modules` (by name, in depth order, each with its `stage`,
        `mean` and `static`), `stages` (by name: all modules of a stage ablated together) and
        `attention` (all modules ablated together), each with `mean` and `static`; `classes`, by name
        and then by module, of those with at least two images, whose numbers are in `class_images`;
        `calibration_images`, `tolerance` (nats) and `seed`. Under `mean` and `static` lies a value,
        see `dreal_tf.auditing.values.values_of`; of classes only `value`, `low` and `high`.
    Raises:
        InputError: if there is no such network, it has no attention, or the data is not its own.
        RunError: if a log probability is not finite; it names the batch.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> found = audit(network, images=20, data="digits_resnet8_se")
        >>> list(found["modules"]), sorted(found["modules"]["conv2_1/se"])
        (['conv2_1/se', 'conv3_1/se', 'conv4_1/se'], ['mean', 'stage', 'static'])
    """
    check_images(images)
    network, splits, class_names = _opened(target, data, data_dir)
    network, from_logits = answering(network)
    check_data(network, splits, class_names)
    check_images(min(images, splits.sizes["test"]))
    calibration = calibration_images(splits)
    check_answers(network, calibration[:AT_A_TIME], from_logits)
    specs, static = calibrated_modules(network, calibration)
    if not specs:
        raise InputError(
            f"Expected a network with attention of ours in it. Received: {network.name!r}, which has "
            "none. Audit one whose attention layers are ours, or make actors of its own attention with "
            "`dreal_tf.attach`."
        )
    batches = drawn_batches(splits.test, splits.sizes["test"], images, AT_A_TIME, seed)
    groups = _groups(specs)
    every = tuple(dict.fromkeys(groups.values()))
    measured = measure_differences(network, batches, static, every, from_logits, track)
    found = {
        "images": len(measured.labels),
        "accuracy": float(measured.right.mean()),
        "log_p": float(measured.log_p.mean()),
        "calibration_images": len(calibration),
        "tolerance": TOLERANCE,
        "seed": seed,
    }
    stages = {spec.module: spec.stage for spec in specs}
    return found | _by_part(measured, groups, stages, seed) | _by_class(measured, stages, splits, seed)


def calibration_images(data, count=CALIBRATED):
    """Training images to take static actions from, as the network is given them.

    Args:
        data: `dreal_tf.data.Splits`.
        count: int. How many, at most; whole batches are drawn.
    Returns:
        Float array (n, height, width, channels).
    Example:
        >>> calibration_images(build_data(load_recipe("digits_resnet8_se")), 100).shape
        (100, 8, 8, 1)
    """
    drawn, size = [], 0
    for images, _ in data.train.as_numpy_iterator():
        drawn.append(images)
        size += len(images)
        if size >= count:
            break
    return np.concatenate(drawn)[:count]


def _opened(target, data, data_dir):
    """The network, its data, and the names of its classes where they are known."""
    if isinstance(target, str | Path):
        source = source_of(target, data, data_dir)
        recorded = RunDirectory(source.path).recorded_splits if source.is_run and data is None else None
        return load_network(source), build_data(source.recipe, recorded), source.class_names
    if data is None:
        raise InputError(
            "Expected the data that the network was trained on. Received: data=None. Give a recipe or "
            "its name, or `dreal_tf.data.Splits`."
        )
    if isinstance(data, Splits):
        return target, data, None
    recipe = data if isinstance(data, Recipe) else load_recipe(data)
    return target, build_data(unvaried(recipe.reading(data_dir))), None


def _groups(specs):
    """The modules that are ablated together, by (part, name); a stage of one is that module."""
    modules, stages = [spec.module for spec in specs], {}
    for spec in specs:
        stages.setdefault(spec.stage, []).append(spec.module)
    groups = {("modules", module): (module,) for module in modules}
    groups |= {("stages", stage): tuple(members) for stage, members in stages.items()}
    return groups | {("attention", "attention"): tuple(modules)}


def _by_part(measured, groups, stages, seed):
    values = {
        baseline: values_of(
            measured.differences[baseline], measured.right, measured.right_without[baseline], seed
        )
        for baseline in ABLATIONS
    }
    found = {"modules": {}, "stages": {}, "attention": {}}
    for (part, name), group in groups.items():
        column = measured.groups.index(group)
        both = {baseline: dict(values[baseline][column]) for baseline in ABLATIONS}
        found[part][name] = ({"stage": stages[name]} if part == "modules" else {}) | both
    return found | {"attention": found["attention"]["attention"]}


def _by_class(measured, modules, splits, seed):
    columns = {module: measured.groups.index((module,)) for module in modules}
    values = {
        baseline: values_by_class(measured.differences[baseline], measured.labels, seed)
        for baseline in ABLATIONS
    }
    names, classes = splits.class_names, {}
    for label in values["mean"]:
        classes[names[label]] = {
            module: {baseline: values[baseline][label][column] for baseline in ABLATIONS}
            for module, column in columns.items()
        }
    counts = np.bincount(measured.labels, minlength=len(names)).tolist()
    return {"classes": classes, "class_images": dict(zip(names, counts, strict=True))}
