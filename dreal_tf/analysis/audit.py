"""The contribution of each attention module of a network, measured by ablation on test images."""

import math
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from dreal_tf.analysis.inputs import (
    AUDIT,
    AUDIT_FILES,
    Source,
    check_audit_folder,
    check_images,
    source_of,
    unvaried,
)
from dreal_tf.data.splits import Splits, sample_batches
from dreal_tf.errors import InputError, RunError
from dreal_tf.layers import intervene
from dreal_tf.method.finite import check_finite_weights, propagate_nonfinite
from dreal_tf.method.formulas import per_example_score
from dreal_tf.method.instruments import bootstrap_mean
from dreal_tf.method.rewards import ABLATIONS, OWN, Ablation, calibrated_modules
from dreal_tf.model import DREAL
from dreal_tf.model.settings import ends_in_softmax, outputs_are_logits
from dreal_tf.networks.attaching import attached_where
from dreal_tf.networks.backbones import plain_network
from dreal_tf.storage import locked, read_network, reporting_unwritable, write_json, write_whole
from dreal_tf.training.builder import build_data
from dreal_tf.training.recipe import OtherBackbone, Recipe
from dreal_tf.training.recipe_files import load_recipe
from dreal_tf.training.run_directory import RunDirectory, finished_run
from dreal_tf.training.trained_run import kept_network
from dreal_tf.visualization.module_figures import module_values
from dreal_tf.visualization.style import LIGHT, as_png, as_svg

IMAGES_AT_A_TIME = 32
CALIBRATION_IMAGES = 1024  # Training images, at most, over which the static action is the mean.
# An image is untouched if its log p changes by no more than this (nats), p by about 0.1 % of itself.
TOLERANCE = 1e-3
RESAMPLES = 1000
RESAMPLED_AT_A_TIME = 2**22  # Values that the bootstrap holds in memory.
COLUMNS = ("part", "name", "class", "baseline", "images", "value", "low", "high")
COLUMNS += ("accuracy_drop", "p_value", "helped", "harmed", "untouched")


class Audit(dict):
    """The results of `audit`, ready for JSON: a dict of

    - `images` (int), `accuracy` (fraction), `log_p` (nats, mean of the label's log probability),
      `calibration_images` (int), `tolerance` (nats) and `seed`;
    - `modules`: by name, in depth order, each with its `stage`, `mean` and `static`;
    - `stages`: by name, all modules of a stage ablated together, each with `mean` and `static`;
    - `attention`: all modules ablated together, with `mean` and `static`;
    - `classes`: by name and then by module, for classes with at least two images; `class_images` counts
      the images of each class.

    `mean` and `static` hold a value, see `values_of`; of classes only `value`, `low` and `high`.
    """

    def to_pandas(self):
        """A tidy `pandas.DataFrame`: a row for each module, stage and class, and each reference action.

        Returns:
            `pandas.DataFrame` with the columns `COLUMNS`; `class` is empty except in rows of one class,
            which lack the quantities that are not measured by class.
        """
        import pandas as pd

        parts = [("module", name, "", self["images"], both) for name, both in self["modules"].items()]
        parts += [("stage", name, "", self["images"], both) for name, both in self["stages"].items()]
        parts.append(("attention", "attention", "", self["images"], self["attention"]))
        for label, modules in self["classes"].items():
            count = self["class_images"][label]
            parts += [("module", module, label, count, both) for module, both in modules.items()]
        rows = [
            {"part": part, "name": name, "class": label, "baseline": baseline, "images": count}
            | both[baseline]
            for part, name, label, count, both in parts
            for baseline in ABLATIONS
        ]
        return pd.DataFrame(rows, columns=COLUMNS)

    def figure(self, style=LIGHT):
        """The values of the modules as a `matplotlib.figure.Figure`, see `module_values`."""
        modules = self["modules"]
        values = {
            b: [[of[b][end] for end in ("value", "low", "high")] for of in modules.values()]
            for b in ABLATIONS
        }
        drops = {b: [of[b]["accuracy_drop"] for of in modules.values()] for b in ABLATIONS}
        stages = [of["stage"] for of in modules.values()]
        return module_values(list(modules), stages, values, drops, style)


def audit(target, images=2000, data=None, data_dir=None, track=None, seed=0):
    """Measures what each attention module of a trained network contributes.

    The network predicts test images once as it is, and again with the action of each module replaced by
    its reference action: "mean", the action's own mean along the axes in which it selects, removes its
    selectivity; "static", its mean over training images, removes its dependence on the image. The value
    of a module is the fall of the label's log probability, over all images, correct or not. A module
    that selects at random has an interval that covers 0; the interval lies below 0 if selecting at random
    disturbs the prediction.

    Args:
        target: str or path of a run directory or a `.keras` file, a `Source`, or a `keras.Model`: a
            functional network, with our layers anywhere in it, or a `DREAL`. A layer that is used twice
            is two modules, see `dreal_tf.method.rewards.ModuleNames`.
        images: int >= 2. Test images to measure on; all of them if there are fewer.
        data: `dreal_tf.Recipe` or its name or path, or `dreal_tf.data.splits.Splits`: the training data of the
            network. None for a run's own.
        data_dir: str, path or None. Folder of the data; None for the recipe's.
        track: callable that passes on the items of a sized iterable while it shows progress, or None.
        seed: int, of the choice of images and of the bootstrap.
    Returns:
        `Audit`, a dict with `to_pandas()`.
    Raises:
        InputError: if there is no such network, it has no attention, or the data is not its own.
        RunError: if a log probability is not finite; it names the batch.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> result = audit(network, images=20, data="digits_resnet8_se")
        >>> list(result["modules"]), sorted(result["modules"]["conv2_1/se"])
        (['conv2_1/se', 'conv3_1/se', 'conv4_1/se'], ['mean', 'stage', 'static'])
        >>> result.to_pandas().query("part == 'attention'")["baseline"].tolist()
        ['mean', 'static']
    """
    network, splits, class_names = _network_and_data(target, data, data_dir)
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
    batches = sample_batches(splits.test, splits.sizes["test"], images, IMAGES_AT_A_TIME, seed)
    groups = _groups(specs)
    measured = measure_differences(
        network, batches, static, tuple(dict.fromkeys(groups.values())), from_logits, track
    )
    return Audit(
        images=len(measured.labels),
        accuracy=float(measured.correct.mean()),
        log_p=float(measured.log_p.mean()),
        calibration_images=len(calibration),
        tolerance=TOLERANCE,
        seed=seed,
        **_by_part(measured, groups, {spec.module: spec.stage for spec in specs}, seed),
        **_by_class(measured, [spec.module for spec in specs], splits.class_names, seed),
    )


def _network_and_data(target, data, data_dir):
    """The network, its data, and the names of its classes if they are known."""
    if isinstance(target, str | Path):
        target = source_of(target, data, data_dir)
    if isinstance(target, Source):
        recorded = RunDirectory(target.path).recorded_splits if target.own_data else None
        return load_network(target), build_data(target.recipe, recorded), target.class_names
    if data is None:
        raise InputError(
            "Expected the data that the network was trained on. Received: data=None. Give a recipe or "
            "its name, or `dreal_tf.data.splits.Splits`."
        )
    if isinstance(data, Splits):
        return target, data, None
    recipe = data if isinstance(data, Recipe) else load_recipe(data)
    return target, build_data(unvaried(recipe.reading(data_dir))), None


def calibration_images(data, count=CALIBRATION_IMAGES):
    """Training images for static actions, as the network is given them.

    Args:
        data: `dreal_tf.data.splits.Splits`.
        count: int. Their number, at most.
    Returns:
        Float array (n, height, width, channels).
    Example:
        >>> calibration_images(build_data(load_recipe("digits_resnet8_se")), 100).shape
        (100, 8, 8, 1)
    """
    images = data.train.map(lambda images, labels: images).unbatch().batch(count)
    return next(images.as_numpy_iterator())


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
            measured.differences[baseline],
            measured.correct,
            measured.correct_without[baseline],
            seed,
        )
        for baseline in ABLATIONS
    }
    parts = {"modules": {}, "stages": {}, "attention": {}}
    for (part, name), group in groups.items():
        column = measured.groups.index(group)
        both = {baseline: dict(values[baseline][column]) for baseline in ABLATIONS}
        parts[part][name] = ({"stage": stages[name]} if part == "modules" else {}) | both
    return parts | {"attention": parts["attention"]["attention"]}


def _by_class(measured, modules, class_names, seed):
    columns = {module: measured.groups.index((module,)) for module in modules}
    values = {
        baseline: values_by_class(measured.differences[baseline], measured.labels, seed)
        for baseline in ABLATIONS
    }
    classes = {
        class_names[label]: {
            module: {baseline: values[baseline][label][column] for baseline in ABLATIONS}
            for module, column in columns.items()
        }
        for label in values["mean"]
    }
    counts = np.bincount(measured.labels, minlength=len(class_names)).tolist()
    return {"classes": classes, "class_images": dict(zip(class_names, counts, strict=True))}


def write_audit(result, folder):
    """Writes the results of an audit; files of an earlier one are replaced.

    Args:
        result: `Audit`.
        folder: str or path: `audit.json`, `audit.csv`, `module_values.png` and `module_values.svg`
            go there.
    Returns:
        Path of the folder.
    Raises:
        InputError: if the folder cannot be written.
    """
    folder, figure = Path(folder), result.figure()
    check_audit_folder(folder)
    table = result.to_pandas().to_csv(index=False, lineterminator="\n")
    with locked(folder / AUDIT), reporting_unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / AUDIT, result)
        contents = table, as_svg(figure, LIGHT.ground), as_png(figure, ground=LIGHT.ground)
        for name, content in zip(AUDIT_FILES, contents, strict=True):
            write_whole(folder / name, content)
    return folder


# The network, from images to one row of logits or probabilities ------------------------------------


OWN_LAYERS = (
    "If layers of your own are in it, import what registers them, load it, and give it to "
    "`dreal_tf.audit(network, data=...)`; else save it again."
)


def load_network(source):
    """The network of a file, with the modules of its run.

    Args:
        source: `dreal_tf.analysis.inputs.Source`.
    Returns:
        `keras.Model`; with auxiliary outputs if a run trained gates that the network itself has.
    Raises:
        InputError: if the run has no weights yet, or Keras cannot load the file.
    """
    run = finished_run(source.path) if source.is_run else None
    network = kept_network(run) if run else read_network(source.path, OWN_LAYERS)
    recipe = run.read_recipe() if run else None
    own = recipe and isinstance(recipe.backbone, OtherBackbone) and recipe.attention.kind != "none"
    if own and not recipe.attention.insert_after:
        return attached_where(network, recipe.attention.gates)
    return network


def answering(network):
    """A network alone, and whether it answers with logits.

    Args:
        network: functional `keras.Model` with one row (batch, classes) as output, or with auxiliary
            outputs; or a `DREAL`.
    Returns:
        `keras.Model` from images to one row (batch, classes), and bool: whether these are logits, not
        probabilities.
    Raises:
        InputError: if its classes are not exclusive, or a weight is not finite.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> plain, from_logits = answering(network)
        >>> plain.output_shape, from_logits
        ((None, 10), True)
    """
    loss = network.loss if getattr(network, "compiled", False) else None
    if isinstance(network, DREAL):
        network.average_statistics()
        network = network.trajectory_network
    plain = network
    if isinstance(getattr(network, "output", None), dict) and "logits" in network.output:
        plain = plain_network(network)
        # Not the plain network, which skips actors that were made of foreign attention.
        network = keras.Model(network.input, network.output["logits"], name=network.name)
    check_finite_weights(network)
    outputs = getattr(network, "outputs", None) or []
    if len(outputs) != 1 or len(outputs[0].shape) != 2 or len(network.inputs) != 1:
        raise InputError(
            "Expected a functional network from images to one row of logits or probabilities for each. "
            f"Received: {type(network).__name__} {network.name!r} with outputs {outputs}. Give "
            "`keras.Model(inputs, logits)`."
        )
    if loss is not None:
        return network, outputs_are_logits(loss, plain)
    return network, not ends_in_softmax(plain)


def check_answers(network, images, from_logits):
    """Refuses probabilities that come without a softmax at the network's end.

    Args:
        network, from_logits: as of `answering`.
        images: float array (n, ...), as the network takes them.
    Raises:
        InputError: if all values lie from 0 to 1 although they should be logits.
    """
    rows = np.asarray(network(images, training=False), np.float64)
    if from_logits and rows.min() >= 0 and rows.max() <= 1 and rows.any():
        raise InputError(
            "Expected logits, or a softmax as the network's last layer. Received: answers that all lie "
            f"from 0 to 1 from {network.name!r}, which ends in neither. Let it end in logits; sigmoid "
            "and multi-label heads are not supported."
        )


def check_data(network, data, class_names=None):
    """Refuses data that does not fit a network.

    Args:
        network: `keras.Model` from images to one row (batch, classes).
        data: `dreal_tf.data.splits.Splits`.
        class_names: sequence of str, the network's classes in order, or None if they are unknown.
    Raises:
        InputError: if images or classes differ.
    """
    cure = "Give the data that it was trained on with --data RECIPE."
    expected, received = tuple(network.input_shape[1:]), tuple(data.image_shape)
    fits = len(expected) == len(received) and all(
        ours in (None, theirs) for ours, theirs in zip(expected, received, strict=True)
    )
    if not fits:
        raise InputError(
            f"Expected images of shape {expected}, which {network.name!r} takes. Received: images of "
            f"shape {received}. {cure}"
        )
    classes = network.output_shape[-1]
    if classes != len(data.class_names):
        raise InputError(
            f"Expected data of {classes} classes, which {network.name!r} tells apart. Received: data "
            f"of {len(data.class_names)} classes. {cure}"
        )
    if class_names is not None and tuple(class_names) != tuple(data.class_names):
        ours, theirs = next(
            pair for pair in zip(class_names, data.class_names, strict=True) if pair[0] != pair[1]
        )
        raise InputError(
            f"Expected data of the classes that {network.name!r} was trained on, such as {ours!r}. "
            f"Received: data that has {theirs!r} at its position. {cure}"
        )


# The ablation of modules ---------------------------------------------------------------------------


class Differences(NamedTuple):
    """Log probabilities and predictions of n images, with the attention and without.

    Attributes:
        groups: tuple of tuples of str: the modules that were ablated together, one for each column.
        labels: int array (n,).
        log_p: float array (n,). Log probability of the label, nothing ablated (nats).
        correct: bool array (n,). Whether the label was predicted then.
        differences: dict by reference action, "mean" and "static", of float arrays (n, groups): `log_p`
            less its value with the group ablated (nats).
        correct_without: dict by reference action of bool arrays (n, groups): whether the label was
            predicted with the group ablated.
    """

    groups: tuple
    labels: object
    log_p: object
    correct: object
    differences: dict
    correct_without: dict


def measure_differences(network, batches, static, groups, from_logits=True, track=None):
    """Runs a network once as it is, and once for each group of modules and each reference action.

    Args:
        network: `keras.Model` from images to one row (batch, classes).
        batches: sequence or tf.data.Dataset of known length, of (images, int labels).
        static: dict of the static actions of all its modules, see `static_actions`.
        groups: sequence of tuples of str: modules to ablate together.
        from_logits: bool. Whether the rows are logits; False: probabilities.
        track: callable that passes on the items of a sized iterable while it shows progress, or None.
    Returns:
        `Differences`.
    Raises:
        RunError: if a log probability is not finite; it names the batch.
    Example:
        >>> network = plain_network(residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4)))
        >>> images, labels = np.random.rand(6, 8, 8, 1).astype("float32"), np.arange(6)
        >>> groups, static = [("conv2_1/se",)], static_actions(network, images)
        >>> measured = measure_differences(network, [(images, labels)], static, groups)
        >>> measured.differences["static"].shape
        (6, 1)
    """
    run = _compiled(network, static, from_logits)
    arms = [None, *((baseline, group) for group in groups for baseline in ABLATIONS)]
    passes = [(batch, arm) for batch in range(len(batches)) for arm in arms]  # The unit of progress.
    outputs, labels, remaining = {arm: [] for arm in arms}, [], iter(batches)
    for batch, arm in track(passes) if track else passes:
        if arm is None:
            images, of_images = next(remaining)
            labels.append(of_images)
        outputs[arm].append([part.numpy() for part in run(images, of_images, _codes(arm, static))])
        if not np.isfinite(outputs[arm][-1][0]).all():
            raise RunError(
                f"Expected finite log probabilities. Received: nan or infinite ones in batch {batch} of "
                "the test images. Check its images, and audit in float32."
            )
    whole = {
        arm: [np.concatenate(p) for p in zip(*parts, strict=True)] for arm, parts in outputs.items()
    }
    log_p, correct, _ = whole[None]
    log_p = np.asarray(log_p, np.float64)
    differences, correct_without = {}, {}
    for baseline in ABLATIONS:
        ablated = [whole[baseline, group] for group in groups]
        # An ablation that changes no action changes nothing, whatever the rounding of two passes.
        differences[baseline] = np.stack(
            [np.where(same, 0.0, log_p - without) for without, _, same in ablated], axis=1
        )
        correct_without[baseline] = np.stack(
            [np.where(same, correct, without) for _, without, same in ablated], axis=1
        )
    return Differences(
        tuple(groups), np.concatenate(labels), log_p, correct, differences, correct_without
    )


def _compiled(network, static, from_logits):
    """One function for all arms, and for a last batch that is shorter."""
    shape = (None, *network.input_shape[1:])
    specs = tf.TensorSpec(shape), tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None,), tf.int32)

    @tf.function(input_signature=specs, autograph=False)
    def run(images, labels, codes):
        ablation = Ablation(codes, static)
        with intervene(ablation):
            outputs = propagate_nonfinite(network(images, training=False), images)
        correct = tf.argmax(outputs, axis=1, output_type=tf.int32) == labels
        unchanged = tf.broadcast_to(ablation.unchanged, tf.shape(labels))
        return per_example_score(labels, outputs, from_logits), correct, unchanged

    def run_cast(images, labels, codes):
        return run(tf.cast(images, tf.float32), tf.cast(labels, tf.int32), codes)

    return run_cast


def _codes(arm, static):
    """The action that each module applies in an arm, as a code of `Ablation`."""
    baseline, group = arm or ("mean", ())
    return tf.constant([ABLATIONS[baseline] if module in group else OWN for module in static])


# Values of modules ---------------------------------------------------------------------------------


def values_of(differences, correct, correct_without, seed=0):
    """The value of every group of modules.

    Args:
        differences: float array (n, groups), n >= 2: log p of the label with the group's own actions, less
            that with its reference actions (nats).
        correct: bool array (n,). Whether the label was predicted.
        correct_without: bool array (n, groups): the same with the group ablated.
        seed: int, of the bootstrap.
    Returns:
        List of dicts, one for each group: `value`, and `low` and `high`, its paired bootstrap 95 %
        interval (nats); `accuracy_drop`, the fall of the accuracy (fraction), and its `p_value`
        (`mcnemar`); `helped`, `harmed`, `untouched`, the fractions of images whose log p the module
        raises, lowers, or moves by no more than `TOLERANCE`.
    Example:
        >>> differences = np.array([[0.5], [0.25], [-0.25], [0.0]])
        >>> correct = np.array([True, True, False, True])
        >>> value = values_of(differences, correct, correct[:, None] & (differences <= 0))[0]
        >>> value["value"], value["accuracy_drop"], value["p_value"]
        (0.125, 0.5, 0.5)
        >>> value["helped"], value["harmed"], value["untouched"]
        (0.5, 0.25, 0.25)
    """
    low, high = bootstrap_intervals(differences, seed)
    columns = zip(differences.T, low.tolist(), high.tolist(), correct_without.T, strict=True)
    return [
        {
            "value": float(difference.mean()),
            "low": least,
            "high": most,
            "accuracy_drop": float(correct.mean() - without.mean()),
            "p_value": mcnemar(correct, without),
            "helped": float((difference > TOLERANCE).mean()),
            "harmed": float((difference < -TOLERANCE).mean()),
            "untouched": float((np.abs(difference) <= TOLERANCE).mean()),
        }
        for difference, least, most, without in columns
    ]


def values_by_class(differences, labels, seed=0):
    """The values of every group of modules on the images of each class.

    Args:
        differences: float array (n, groups), see `values_of`.
        labels: int array (n,).
        seed: int, of the bootstrap.
    Returns:
        Dict by label (int) of lists of dicts, one for each group, of `value`, `low` and `high`. A
        label with fewer than two images has none: its spread is unknown.
    Example:
        >>> values_by_class(np.array([[1.0], [1.0], [5.0]]), np.array([3, 3, 4]))
        {3: [{'value': 1.0, 'low': 1.0, 'high': 1.0}]}
    """
    values = {}
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count >= 2:
            rows = differences[labels == label]
            columns = np.transpose([rows.mean(axis=0), *bootstrap_intervals(rows, seed)]).tolist()
            names = "value", "low", "high"
            values[int(label)] = [dict(zip(names, column, strict=True)) for column in columns]
    return values


def bootstrap_intervals(values, seed=0, resamples=RESAMPLES):
    """The 95 % intervals of means over the same images.

    All columns are resampled together, image by image. The percentiles are expanded, so that the interval
    of a mean of few values covers it nearly as often as that of many.

    Args:
        values: float array (n, columns), n >= 2.
        seed: int.
        resamples: int >= 1.
    Returns:
        Two float arrays (columns,): low and high.
    Example:
        >>> low, high = bootstrap_intervals(np.random.default_rng(0).normal(size=(400, 1)))
        >>> bool(low[0] < 0 < high[0] and high[0] - low[0] < 0.25)
        True
    Source: Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, the expanded
    percentile interval.
    """
    count = len(values)
    tail = stats.norm.cdf(math.sqrt(count / (count - 1)) * stats.t.ppf(0.025, count - 1))
    interval = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=max(RESAMPLED_AT_A_TIME // values.size, 1),
        confidence_level=1 - 2 * tail,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return interval.low, interval.high


def mcnemar(correct, correct_without):
    """The exact p-value of McNemar's test, two-sided: whether two accuracies on the same images differ.

    Args:
        correct, correct_without: bool arrays (n,).
    Returns:
        Float; 1 if no prediction changes.
    Example:
        >>> mcnemar(np.array([True] * 6 + [False] * 9), np.zeros(15, bool))
        0.03125
    Source: McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12, 1947; exact by the binomial distribution.
    """
    # By hand: SciPy has no McNemar test, and a library for these three lines would be statsmodels.
    lost = int((correct & ~correct_without).sum())
    changed = int((correct != correct_without).sum())
    return float(stats.binomtest(lost, changed).pvalue) if changed else 1.0


def accuracy_difference(correct, correct_of_other, seed=0):
    """The difference between the accuracies of two networks on the same images.

    Args:
        correct, correct_of_other: bool arrays (n,), by image.
        seed: int, of the bootstrap over images.
    Returns:
        Dict: `mean`, `low`, `high` (difference and its 95 % interval, fractions), `only_this`, `only_other`
        (images that one alone predicts correctly) and `p_value` (exact McNemar test: that the two numbers
        differ by chance).
    Example:
        >>> difference = accuracy_difference(np.array([True] * 6), np.array([False] * 6))
        >>> difference["mean"], difference["only_this"], difference["p_value"]
        (1.0, 6, 0.03125)
    """
    correct, correct_of_other = np.asarray(correct, bool), np.asarray(correct_of_other, bool)
    return bootstrap_mean(correct.astype(float) - correct_of_other, seed) | {
        "only_this": int((correct & ~correct_of_other).sum()),
        "only_other": int((~correct & correct_of_other).sum()),
        "p_value": mcnemar(correct, correct_of_other),
    }
