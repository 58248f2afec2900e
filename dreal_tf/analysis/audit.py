"""What each attention module of a network contributes: its ablation, image by image."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
from scipy import stats

from dreal_tf.analysis.ablation import measure_differences
from dreal_tf.analysis.audited_network import answering, check_answers, check_data, load_network
from dreal_tf.analysis.sources import check_images, source_of, unvaried
from dreal_tf.data import Splits, drawn_batches
from dreal_tf.errors import InputError
from dreal_tf.method.rewards import ABLATIONS, calibrated_modules
from dreal_tf.recipe import Recipe
from dreal_tf.training.builder import build_data
from dreal_tf.training.recipe_files import load_recipe
from dreal_tf.training.run_directory import RunDirectory, write_whole
from dreal_tf.visualization.module_values import module_values
from dreal_tf.visualization.style import LIGHT, as_png, as_svg

# An image is untouched where its log p changes by no more (nats): its p by a thousandth of itself.
TOLERANCE = 1e-3
DRAWS = 1000  # Of the bootstrap.
WEIGHTS_AT_A_TIME = 2**22  # Weights of the bootstrap that are held in memory.


def values_of(differences, right, right_without, seed=0):
    """The value of every group of modules.

    Args:
        differences: float array (n, groups), n >= 2: log p of the label with the group's own actions, less
            that with its baseline actions (nats).
        right: bool array (n,). Whether the answer was the label.
        right_without: bool array (n, groups): the same with the group ablated.
        seed: int, of the bootstrap.
    Returns:
        List of dicts, one for each group: `value`, and `low` and `high`, its paired bootstrap 95 %
        interval (nats); `accuracy_drop`, what the accuracy loses (fraction), and `p_value`, that it
        loses or gains as much by chance (`mcnemar`); `helped`, `harmed`, `untouched`, the fractions
        of images whose log p the module raises, lowers, or moves by no more than `TOLERANCE`.
    Example:
        >>> differences = np.array([[0.5], [0.25], [-0.25], [0.0]])
        >>> right = np.array([True, True, False, True])
        >>> found = values_of(differences, right, right[:, None] & (differences <= 0))[0]
        >>> found["value"], found["accuracy_drop"], found["p_value"]
        (0.125, 0.5, 0.5)
        >>> found["helped"], found["harmed"], found["untouched"]
        (0.5, 0.25, 0.25)
    """
    low, high = bootstrap_intervals(differences, seed)
    found = []
    for column, (difference, without) in enumerate(zip(differences.T, right_without.T, strict=True)):
        found.append(
            {
                "value": float(difference.mean()),
                "low": float(low[column]),
                "high": float(high[column]),
                "accuracy_drop": float(right.mean() - without.mean()),
                "p_value": mcnemar(right, without),
                "helped": float((difference > TOLERANCE).mean()),
                "harmed": float((difference < -TOLERANCE).mean()),
                "untouched": float((np.abs(difference) <= TOLERANCE).mean()),
            }
        )
    return found


def values_by_class(differences, labels, seed=0):
    """The values of every group of modules on the images of each class.

    Args:
        differences: float array (n, groups), see `values_of`.
        labels: int array (n,).
        seed: int, of the bootstrap.
    Returns:
        Dict by label (int) of lists of dicts, one for each group, of `value`, `low` and `high`. A
        label with fewer than two images is left out: nothing is known of its spread.
    Example:
        >>> values_by_class(np.array([[1.0], [1.0], [5.0]]), np.array([3, 3, 4]))
        {3: [{'value': 1.0, 'low': 1.0, 'high': 1.0}]}
    """
    found = {}
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count >= 2:
            rows = differences[labels == label]
            columns = zip(rows.mean(axis=0), *bootstrap_intervals(rows, seed), strict=True)
            names = "value", "low", "high"
            found[int(label)] = [
                dict(zip(names, map(float, column), strict=True)) for column in columns
            ]
    return found


def bootstrap_intervals(values, seed=0, draws=DRAWS):
    """The 95 % intervals of means over the same images.

    All columns are drawn anew together, image by image. The percentiles are taken so far out that a
    mean of a few values is covered nearly as often as one of many.

    Args:
        values: float array (n, columns), n >= 2.
        seed: int.
        draws: int >= 1. How often the images are drawn anew.
    Returns:
        Two float arrays (columns,): low and high.
    Example:
        >>> low, high = bootstrap_intervals(np.random.default_rng(0).normal(size=(400, 1)))
        >>> bool(low[0] < 0 < high[0] and high[0] - low[0] < 0.25)
        True
    Source: Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, the expanded
    percentile interval.
    """
    count, mean = len(values), values.mean(axis=0)
    random, means = np.random.default_rng(seed), []
    for first in range(0, draws, rows := max(WEIGHTS_AT_A_TIME // count, 1)):
        rows = min(rows, draws - first)
        drawn = random.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        means.append(weights / count @ (values - mean))
    level = stats.norm.cdf(math.sqrt(count / (count - 1)) * stats.t.ppf(0.025, count - 1))
    low, high = np.percentile(np.concatenate(means), [100 * level, 100 * (1 - level)], axis=0)
    return mean + low, mean + high


def mcnemar(right, right_without):
    """The exact p-value of McNemar's test, two-sided: whether two accuracies on the same images differ.

    Args:
        right, right_without: bool arrays (n,).
    Returns:
        Float; 1 where no answer changes.
    Example:
        >>> mcnemar(np.array([True] * 6 + [False] * 9), np.zeros(15, bool))
        0.03125
    Source: McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12, 1947; exact by the binomial distribution.
    """
    lost = int((right & ~right_without).sum())
    changed = int((right != right_without).sum())
    return float(stats.binomtest(lost, changed).pvalue) if changed else 1.0


COLUMNS = ("part", "name", "class", "baseline", "images", "value", "low", "high")
COLUMNS += ("accuracy_drop", "p_value", "helped", "harmed", "untouched")


def write_audit(found, folder):
    """Writes what an audit found; files of an earlier one are replaced.

    Args:
        found: dict, see `dreal_tf.analysis.audit.audit`.
        folder: str or path: `audit.json`, `audit.csv`, `module_values.png` and `module_values.svg`
            go there.
    Returns:
        Path of the folder.
    Raises:
        InputError: if the folder cannot be written.
    """
    folder, figure = Path(folder), values_figure(found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "audit.json", json.dumps(found, indent=2) + "\n")
        write_whole(folder / "audit.csv", csv_text(found))
        write_whole(folder / "module_values.svg", as_svg(figure, LIGHT.ground))
        (folder / "module_values.png").write_bytes(as_png(figure, ground=LIGHT.ground))
    except OSError as error:
        raise InputError(
            f"Expected a folder that can be written. Received: {str(folder)!r} ({error.strerror}). "
            "Choose another --out."
        ) from error
    return folder


def values_figure(found, style=LIGHT):
    """The figure of an audit, see `dreal_tf.visualization.module_values`.

    Args:
        found: dict, see `dreal_tf.analysis.audit.audit`.
        style: `dreal_tf.visualization.style.Style`.
    Returns:
        `matplotlib.figure.Figure`.
    """
    modules = found["modules"]
    values = {
        b: [[module[b][end] for end in ("value", "low", "high")] for module in modules.values()]
        for b in ABLATIONS
    }
    drops = {b: [module[b]["accuracy_drop"] for module in modules.values()] for b in ABLATIONS}
    stages = [module["stage"] for module in modules.values()]
    return module_values(list(modules), stages, values, drops, style)


def csv_text(found):
    """What an audit found, as tidy rows: one for each module, stage and class, and each baseline.

    Args:
        found: dict, see `dreal_tf.analysis.audit.audit`.
    Returns:
        Str: CSV with the columns `COLUMNS`; `class` is empty but in rows of one class, where what
        was not measured is empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    parts = [("module", name, both) for name, both in found["modules"].items()]
    parts += [("stage", name, both) for name, both in found["stages"].items()]
    parts.append(("attention", "attention", found["attention"]))
    for part, name, both in parts:
        for baseline in ABLATIONS:
            row = {"part": part, "name": name, "baseline": baseline, "images": found["images"]}
            writer.writerow(row | both[baseline])
    for label, modules in found["classes"].items():
        for name, both in modules.items():
            for baseline in ABLATIONS:
                row = {"part": "module", "name": name, "class": label, "baseline": baseline}
                writer.writerow(row | {"images": found["class_images"][label]} | both[baseline])
    return text.getvalue()


IMAGES_AT_A_TIME = 32  # Images per pass.
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
        see `dreal_tf.analysis.audit.values_of`; of classes only `value`, `low` and `high`.
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
    check_answers(network, calibration[:IMAGES_AT_A_TIME], from_logits)
    specs, static = calibrated_modules(network, calibration)
    if not specs:
        raise InputError(
            f"Expected a network with attention of ours in it. Received: {network.name!r}, which has "
            "none. Audit one whose attention layers are ours, or make actors of its own attention with "
            "`dreal_tf.attach`."
        )
    batches = drawn_batches(splits.test, splits.sizes["test"], images, IMAGES_AT_A_TIME, seed)
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
