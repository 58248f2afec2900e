"""The contribution of each attention module of a network, measured by ablation on test images."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import stats

from dreal_tf.analysis.audited_network import audited, over_classes
from dreal_tf.analysis.inputs import AUDIT, AUDIT_FILES, check_audit_folder
from dreal_tf.errors import InputError, RunError
from dreal_tf.layers import intervene
from dreal_tf.method.instruments import bootstrap_mean
from dreal_tf.method.rewards import ABLATIONS, OWN, AblationPass, ModuleNames, calibrated_modules
from dreal_tf.networks.flops import function_cost
from dreal_tf.storage import locked, reporting_unwritable, write_json, write_whole
from dreal_tf.visualization.module_figures import module_values
from dreal_tf.visualization.style import LIGHT, as_png, as_svg

# An image is untouched if its log p changes by no more than this (nats), p by about 0.1 % of itself; or its
# loss by no more than this fraction of the mean loss.
TOLERANCE = 1e-3
ARMS_A_PASS = 4  # Ablations of one batch that run together; memory grows with them.
RESAMPLES = 1000
RESAMPLED_AT_A_TIME = 2**22  # Values that the bootstrap holds in memory.
COLUMNS = ("part", "name", "class", "baseline", "images", "value", "low", "high")
COLUMNS += ("accuracy_drop", "p_value", "helped", "harmed", "untouched", "parameters", "multiply_adds")
COSTS = COLUMNS[-2:]
SAME_SCORES = 1e-4  # Scores of a label that differ by less do not depend on the image (nats).


class Audit(dict):
    """The results of `audit`, ready for JSON, and a table when printed: a dict of

    - `images` (int); `accuracy` (fraction), None without exclusive classes; `log_p` (nats, mean of the
      label's log probability), None for a loss that is no log likelihood; `loss`, its name; `unit` of all
      values, "nats" or "loss"; `calibration_images` (int), `tolerance` (in that unit) and `seed`;
    - `parameters` (trainable weights) and `multiply_adds` (of one image) of the network, see `module_costs`;
    - `notes`: sentences about modules and outputs that do not depend on the image;
    - `modules`: by name, in depth order, each with its `stage`, the `parameters` and `multiply_adds` of its
      layer, `mean` and `static`;
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
            | {cost: both.get(cost) for cost in COSTS}
            for part, name, label, count, both in parts
            for baseline in ABLATIONS
        ]
        return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(COSTS, "Int64"))

    def figure(self, style=LIGHT):
        """The values of the modules as a `matplotlib.figure.Figure`, see `module_values`."""
        modules = self["modules"]
        values = {
            b: [[of[b][end] for end in ("value", "low", "high")] for of in modules.values()]
            for b in ABLATIONS
        }
        drops = {b: [of[b]["accuracy_drop"] for of in modules.values()] for b in ABLATIONS}
        stages = [of["stage"] for of in modules.values()]
        if self["accuracy"] is not None:
            return module_values(list(modules), stages, values, drops, style)
        quantity = f"rise of {self['loss']} without it{' (nats)' if self['unit'] == 'nats' else ''}"
        return module_values(list(modules), stages, values, None, style, quantity)

    def __repr__(self):
        accuracy = "" if self["accuracy"] is None else f", accuracy {self['accuracy']:.3f}"
        parts = [f"Audit on {self['images']} images{accuracy}", self._table().to_string()]
        return "\n".join([*parts, *self["notes"]])

    def _repr_html_(self):
        return self._table().to_html()

    def _table(self):
        """A `pandas.DataFrame` of text, a row for each module."""
        import pandas as pd

        unit = "nats" if self["unit"] == "nats" else self["loss"]
        rows = {}
        for name, module in self["modules"].items():
            rows[name] = {
                f"{baseline} ({unit}) [95 %]": "{value:+.4f} [{low:+.4f}, {high:+.4f}]".format(
                    **module[baseline]
                )
                for baseline in ABLATIONS
            }
            if self["accuracy"] is not None:
                rows[name]["accuracy (points)"] = f"{100 * module['mean']['accuracy_drop']:+.1f}"
            for cost in COSTS:
                rows[name][cost] = "" if module[cost] is None else f"{module[cost]:,}"
        return pd.DataFrame.from_dict(rows, orient="index")


def audit(target, images=2000, data=None, data_dir=None, track=None, seed=0, gates=None, loss=None):
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
        data: the images and labels to measure on: (images, labels), a batched `tf.data.Dataset`, or a
            `keras.utils.PyDataset`, as the network takes them; a `dreal_tf.Recipe`, its name or path, or
            `dreal_tf.data.splits.Splits`, of which the test split is measured. None for a run's own.
        data_dir: str, path or None. Folder of the data; None for the recipe's.
        track: callable that passes on the items of a sized iterable while it shows progress, or None.
        seed: int, of the choice of images and of the bootstrap.
        gates: names or patterns of attention that is not ours, see `dreal_tf.find_gates`; None: all of it,
            if the network has no attention of ours.
        loss: name, function or `keras.losses.Loss` of another task than exclusive classes: several labels,
            a number, or a map of classes. None: that which the network was compiled with, else classes. The
            value of a module is then the rise of this loss, in nats if it is a log likelihood.
    Returns:
        `Audit`, a dict with `to_pandas()`.
    Raises:
        InputError: if there is no such network, it has no attention, or the data is not its own.
        RunError: if a score is not finite; it names the batch.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> result = audit(network, images=20, data="digits_resnet8_se")
        >>> {name: module["parameters"] for name, module in result["modules"].items()}
        {'conv2_1/se': 148, 'conv3_1/se': 552, 'conv4_1/se': 2128}
        >>> result.to_pandas().query("part == 'attention'")["baseline"].tolist()
        ['mean', 'static']
    """
    of = audited(target, images, data, data_dir, seed, gates, loss)
    specs, static = calibrated_modules(of.network, of.calibration)
    if not specs:
        raise InputError(
            f"Expected a network with attention in it. Received: {of.network.name!r}, in which "
            "`dreal_tf.find_gates` finds none. Name its attention with `gates`, or audit a network that has some."
        )
    groups = _groups(specs)
    together = tuple(dict.fromkeys(groups.values()))
    measured = measure_differences(of.network, of.batches, static, together, of.task, track)
    modules, by_class = [spec.module for spec in specs], {"classes": {}, "class_images": {}}
    tolerance = (
        TOLERANCE if of.task.unit == "nats" else TOLERANCE * float(np.abs(measured.score).mean())
    )
    network_cost, costs = module_costs(of.network, of.calibration.shape[1:])
    of_modules = {spec.module: {"stage": spec.stage} | costs[spec.module] for spec in specs}
    if of.class_names is not None:
        by_class = _by_class(measured, modules, of.class_names, seed)
    return Audit(
        images=len(measured.labels),
        accuracy=None if measured.correct is None else float(measured.correct.mean()),
        log_p=float(measured.score.mean()) if of.task.unit == "nats" else None,
        loss=of.task.loss,
        unit=of.task.unit,
        calibration_images=len(of.calibration),
        tolerance=tolerance,
        seed=seed,
        **network_cost,
        notes=_notes(measured, modules, of.task),
        **_by_part(measured, groups, of_modules, seed, tolerance),
        **by_class,
    )


def module_costs(network, image_shape):
    """The weights and multiply-adds of a network, and those of the attention layer of each of its modules.

    Args:
        network: `keras.Model` with attention actors, which may lie in nested networks.
        image_shape: tuple (height, width, channels).
    Returns:
        Dict of `parameters` (trainable weights) and `multiply_adds` (of one image), and such a dict by module.
        Modules of one layer have one cost. Both are None of a layer that does more than attend, and with a
        loop, which has no fixed number of multiply-adds.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> module_costs(network, (8, 8, 1))[1]["conv2_1/se"]
        {'multiply_adds': 128, 'parameters': 148}
    """
    layers, names, inputs = {}, ModuleNames(), []

    def note(actor, index, state, action):
        if index == 0:  # The layer's input; a later module may read another state.
            inputs.append(tf.TensorSpec(state.shape, state.dtype))
        layers[names(actor, index)] = actor, inputs[-1]
        return action

    def run(images):
        with intervene(note):
            return network(images, training=False)

    def cost(function, spec):
        try:
            return function_cost(function, spec)._asdict()
        except InputError:  # A loop.
            return dict.fromkeys(COSTS)

    whole = cost(run, tf.TensorSpec((1, *image_shape)))
    nothing = dict.fromkeys(COSTS)
    return whole, {
        module: cost(actor, spec) if _only_attends(actor) else nothing
        for module, (actor, spec) in layers.items()
    }


def _only_attends(actor):
    """Whether a network can do without a layer; else its cost is not that of attention."""
    has_identity = all(map(actor.has_identity, range(len(actor.kinds))))
    return actor.is_removable and (actor.is_gate or has_identity)


def _groups(specs):
    """The modules that are ablated together, by (part, name); a stage of one is that module."""
    modules, stages = [spec.module for spec in specs], {}
    for spec in specs:
        stages.setdefault(spec.stage, []).append(spec.module)
    groups = {("modules", module): (module,) for module in modules}
    groups |= {("stages", stage): tuple(members) for stage, members in stages.items()}
    return groups | {("attention", "attention"): tuple(modules)}


def _notes(measured, modules, task):
    """Sentences about modules and outputs that do not depend on the image."""
    notes = []
    columns = [measured.groups.index((module,)) for module in modules]
    constant = [
        module
        for module, c in zip(modules, columns, strict=True)
        if measured.same["static"][:, c].all()
    ]
    if constant:
        notes.append(
            f"The same action for every image: {', '.join(constant)}. Pruning these modules changes no prediction."
        )
    if task.correct is not None:
        spreads = [
            np.ptp(measured.score[measured.labels == label]) for label in np.unique(measured.labels)
        ]
        if max(spreads) < SAME_SCORES:
            notes.append(
                "The network predicts nearly the same for every image, as an untrained one does: these values say "
                "nothing about its modules."
            )
    return notes


def _by_part(measured, groups, of_modules, seed, tolerance):
    values = {
        baseline: values_of(
            measured.differences[baseline],
            measured.correct,
            measured.correct_without[baseline],
            seed,
            tolerance,
        )
        for baseline in ABLATIONS
    }
    parts = {"modules": {}, "stages": {}, "attention": {}}
    for (part, name), group in groups.items():
        column = measured.groups.index(group)
        both = {baseline: dict(values[baseline][column]) for baseline in ABLATIONS}
        parts[part][name] = (of_modules[name] if part == "modules" else {}) | both
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


# The ablation of modules ---------------------------------------------------------------------------


class Differences(NamedTuple):
    """Scores and predictions of n images, with the attention and without.

    Attributes:
        groups: tuple of tuples of str: the modules that were ablated together, one for each column.
        labels: array (n, ...).
        score: float array (n,), of the task, nothing ablated: log p of the label (nats), or minus the loss.
        correct: bool array (n,). Whether the label was predicted then; None without exclusive classes.
        differences: dict by reference action, "mean" and "static", of float arrays (n, groups): `score`
            less its value with the group ablated.
        correct_without: dict by reference action of bool arrays (n, groups): whether the label was
            predicted with the group ablated; of None without exclusive classes.
        same: dict by reference action of bool arrays (n, groups): whether every action of the group equals
            its reference action.
    """

    groups: tuple
    labels: object
    score: object
    correct: object
    differences: dict
    correct_without: dict
    same: dict


def measure_differences(
    network, batches, static, groups, task=None, track=None, shared=True, baselines=ABLATIONS
):
    """Runs a network as it is, and from each group of modules on with each reference action.

    Args:
        network: `keras.Model` from images to one output.
        batches: sequence or tf.data.Dataset of known length, of (images, labels).
        static: dict of the static actions of all its modules, see `static_actions`.
        groups: sequence of tuples of str: modules to ablate together.
        task: `dreal_tf.analysis.audited_network.Task`; None: exclusive classes, from logits.
        track: callable that passes on the items of a sized iterable while it shows progress, or None.
        shared: bool, see `dreal_tf.method.rewards.AblationPass`.
        baselines: sequence of str of `ABLATIONS`, the reference actions to measure with.
    Returns:
        `Differences`.
    Raises:
        RunError: if a score is not finite; it names the batch.
    Example:
        >>> network = plain_network(residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4)))
        >>> images, labels = np.random.rand(6, 8, 8, 1).astype("float32"), np.arange(6)
        >>> groups, static = [("conv2_1/se",)], static_actions(network, images)
        >>> measured = measure_differences(network, [(images, labels)], static, groups)
        >>> measured.differences["static"].shape
        (6, 1)
    """
    task = over_classes() if task is None else task
    given = isinstance(batches, tf.data.Dataset)
    label_shape = batches.element_spec[1].shape[1:] if given else np.shape(batches[0][1])[1:]
    ablation_pass = AblationPass(network, static, shared)
    factual, ablated = _compiled(ablation_pass, task, label_shape)
    arms = [(baseline, group) for group in groups for baseline in baselines]
    arms.sort(key=lambda arm: _join(ablation_pass, arm))
    chunks = [arms[start : start + ARMS_A_PASS] for start in range(0, len(arms), ARMS_A_PASS)]
    passes = [(batch, chunk) for batch in range(len(batches)) for chunk in [None, *chunks]]
    outputs, labels, remaining = {arm: [] for arm in [None, *arms]}, [], iter(batches)
    for batch, chunk in track(passes) if track else passes:
        if chunk is None:
            images, of_images = next(remaining)
            labels.append(of_images)
            images, of_images = tf.cast(images, tf.float32), tf.cast(of_images, tf.float32)
            parts, cached = factual(images, of_images)
            results = {None: [part.numpy() for part in parts]}
        else:
            rows = _rows(ablation_pass, chunk, len(of_images))
            parts = ablated(images, of_images, cached, *rows)
            by_arm = zip(*(np.split(part.numpy(), len(chunk)) for part in parts), strict=True)
            results = dict(zip(chunk, by_arm, strict=True))
        for arm, parts in results.items():
            outputs[arm].append(parts)
            if not np.isfinite(parts[0]).all():
                raise RunError(
                    f"Expected finite {'log probabilities' if task.unit == 'nats' else 'losses'}. Received: nan or "
                    f"infinite ones in batch {batch} of the test images. Check its images, and audit in float32."
                )
    whole = {
        arm: [np.concatenate(p) for p in zip(*parts, strict=True)] for arm, parts in outputs.items()
    }
    score, _, *correct = whole[None]
    score, correct = np.asarray(score, np.float64), correct[0] if correct else None
    differences, correct_without, unchanged = {}, {}, {}
    for baseline in baselines:
        ablated = [whole[baseline, group] for group in groups]
        unchanged[baseline] = np.stack([same for _, same, *_ in ablated], axis=1)
        # An ablation that changes no action changes nothing, whatever the rounding of two passes.
        differences[baseline] = np.stack(
            [np.where(same, 0.0, score - without) for without, same, *_ in ablated], axis=1
        )
        correct_without[baseline] = (
            correct
            if correct is None
            else np.stack([np.where(same, correct, without) for _, same, without in ablated], axis=1)
        )
    return Differences(
        tuple(groups), np.concatenate(labels), score, correct, differences, correct_without, unchanged
    )


def _compiled(ablation_pass, task, label_shape):
    """The compiled passes without ablation and with it; a last batch may be shorter."""
    network = ablation_pass.network
    examples = tf.TensorSpec((None, *network.input_shape[1:])), tf.TensorSpec((None, *label_shape))
    whole = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((ablation_pass.steps + 1,), tf.int32)
    codes = tf.TensorSpec((None, len(ablation_pass.static)), tf.int32)

    def measured(labels, outputs, unchanged):
        correct = [] if task.correct is None else [task.correct(labels, outputs)]
        return task.score(labels, outputs), unchanged, *correct

    @tf.function(input_signature=examples, autograph=False)
    def factual(images, labels):
        outputs, cached = ablation_pass.factual(images)
        return measured(labels, outputs, tf.fill(tf.shape(images)[:1], True)), cached

    @tf.function(
        input_signature=[*examples, ablation_pass.cached_specs, *whole, codes], autograph=False
    )
    def ablated(images, labels, cached, rows, row_splits, applied):
        outputs, unchanged = ablation_pass(images, cached, rows, row_splits, applied)
        return measured(tf.gather(labels, rows), outputs, unchanged)

    return factual, ablated


def _join(ablation_pass, arm):
    """The first step at which an arm differs from the network as it is."""
    _, group = arm
    return min(ablation_pass.joins[module] for module in group)


def _rows(ablation_pass, arms, images):
    """The rows of some arms, ordered by their join: images, row splits, and codes of `Ablation`."""
    joins = [_join(ablation_pass, arm) for arm in arms]
    splits = images * np.searchsorted(joins, range(ablation_pass.steps + 1))
    codes = [
        [ABLATIONS[baseline] if module in group else OWN for module in ablation_pass.static]
        for baseline, group in arms
    ]
    rows = np.tile(np.arange(images), len(arms)), splits, np.repeat(codes, images, axis=0)
    return [tf.constant(part, tf.int32) for part in rows]


# Values of modules ---------------------------------------------------------------------------------


def values_of(differences, correct, correct_without, seed=0, tolerance=TOLERANCE):
    """The value of every group of modules.

    Args:
        differences: float array (n, groups), n >= 2: the score with the group's own actions, less that with
            its reference actions, such as log p of the label (nats).
        correct: bool array (n,). Whether the label was predicted; None without exclusive classes.
        correct_without: bool array (n, groups): the same with the group ablated; or None.
        seed: int, of the bootstrap.
        tolerance: float, in the unit of the score.
    Returns:
        List of dicts, one for each group: `value`, and `low` and `high`, its paired bootstrap 95 %
        interval (nats); `accuracy_drop`, the fall of the accuracy (fraction), and its `p_value`
        (`mcnemar`), both None without classes; `helped`, `harmed`, `untouched`, the fractions of images
        whose score the module raises, lowers, or moves by no more than the tolerance.
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
    without = [None] * len(low) if correct is None else correct_without.T
    columns = zip(differences.T, low.tolist(), high.tolist(), without, strict=True)
    return [
        {
            "value": float(difference.mean()),
            "low": least,
            "high": most,
            "accuracy_drop": None if correct is None else float(correct.mean() - without.mean()),
            "p_value": None if correct is None else mcnemar(correct, without),
            "helped": float((difference > tolerance).mean()),
            "harmed": float((difference < -tolerance).mean()),
            "untouched": float((np.abs(difference) <= tolerance).mean()),
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
