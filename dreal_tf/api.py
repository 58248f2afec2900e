"""The package's functions: one for each verb of the command line, with its options as arguments.

Each function checks its input before it loads TensorFlow. It prints nothing; `progress` and `say` show
how far it is, and the logger `dreal_tf` has the package's notes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from dreal_tf.errors import InputError, check_at_least_one, checked_path, unknown_name
from dreal_tf.storage import check_new_folder
from dreal_tf.training.recipe_files import default_run_folder, resolve_recipe
from dreal_tf.training.run_directory import finished_run
from dreal_tf.training.strategies import cluster_of

if TYPE_CHECKING:
    import keras

    from dreal_tf.analysis.audit import Audit
    from dreal_tf.analysis.audit_critic import CriticAudit
    from dreal_tf.analysis.benchmark import Benchmark
    from dreal_tf.data.splits import Splits
    from dreal_tf.deployment.results import (
        ExportResult,
        IndexResult,
        Predictions,
        PrunedNetwork,
        PruneResult,
        SearchResult,
    )
    from dreal_tf.experiments.run_search import SearchResult as TuneResult
    from dreal_tf.experiments.run_study import StudyResult
    from dreal_tf.experiments.search import Space
    from dreal_tf.experiments.study import Study
    from dreal_tf.model import DREAL
    from dreal_tf.training.evaluation import RunMetrics
    from dreal_tf.training.recipe import Recipe

PathLike = str | os.PathLike[str]
# (images, labels), tf.data.Dataset or keras.utils.PyDataset, Splits, or a recipe.
AuditData = Any
Images = PathLike | Sequence[PathLike]
Progress = Callable[..., Iterable[Any]]  # Passes on an iterable while it shows progress.
Say = Callable[[str], None]

RANKING_METRICS = ("cosine", "euclidean")


def train(
    recipe: PathLike | Recipe,
    *,
    baseline: bool = False,
    smoke: bool = False,
    changes: Mapping[str, Any] | None = None,
    out: PathLike | None = None,
    data_dir: PathLike | None = None,
    strategy: str = "auto",
    seed: int | None = None,
    fresh: bool = False,
    callbacks: Iterable[keras.callbacks.Callback] = (),
) -> RunMetrics | None:
    """Trains a recipe into a run directory; an interrupted run found there continues.

    Args:
        recipe: `Recipe`, a bundled name, or the path of a `.py` recipe or a `recipe.json`.
        baseline: bool. Train the same recipe without the method.
        smoke: bool. Shrink a bundled or `.py` recipe to seconds.
        changes: dict of values by field, such as {"schedule.epochs": 5}, see `Recipe.replace`.
        out: path of the run directory; None for `runs/<recipe>[_baseline]_seed<N>`. A finished run found
            there is left alone.
        data_dir: folder of the data; None for the recipe's.
        strategy: "auto", "none", "mirrored", "multi_worker" or "tpu".
        seed: int, or None for the recipe's.
        fresh: bool. Move a run found in `out` aside and begin again.
        callbacks: iterable of further Keras callbacks, read when training begins.
    Returns:
        `RunMetrics` of the best weights on the test split; None in a worker that is not the chief.
    Raises:
        InputError: if the recipe is not valid, or `out` contains something else.
        RunError: if training cannot go on.
    Example:
        >>> train("digits_resnet8_se", smoke=True, out="run").run.as_posix()
        'run'
    """
    resolved = resolve_recipe(recipe, smoke, changes, baseline, seed, data_dir)
    run = checked_path(out if out is not None else default_run_folder(resolved))
    cluster_of(strategy)  # It refuses a malformed TF_CONFIG.
    from dreal_tf.training import train as training
    from dreal_tf.training.evaluation import RunMetrics

    metrics = training.train(resolved, run, strategy, fresh, callbacks)
    return None if metrics is None else RunMetrics(metrics, run)


def evaluate(
    run: PathLike,
    *,
    data_dir: PathLike | None = None,
    metric: str | None = None,
    flip: bool = False,
    expansion: int = 0,
    rerank: bool = False,
) -> RunMetrics:
    """Measures a run's best weights on the test split.

    Args:
        run: path of a run directory.
        data_dir: folder of the data; None for the run's.
        metric, flip, expansion, rerank: for runs on identities only: "cosine" (the default) or
            "euclidean"; embed each image and its mirror image; number of first matches that join a
            query; re-rank by k-reciprocal neighbours.
    Returns:
        `RunMetrics`.
    Raises:
        InputError: if there is no run with weights, or an option does not fit its data.
    """
    finished_run(run)
    if metric is not None and metric not in RANKING_METRICS:
        raise unknown_name("metric", metric, RANKING_METRICS)
    if expansion < 0:
        raise InputError(
            f"`expansion` must be at least 0. Received: expansion={expansion}. Leave it out, or raise it."
        )
    options = {"metric": metric, "flip": flip, "expansion": expansion, "rerank": rerank}
    from dreal_tf.training import train as training
    from dreal_tf.training.evaluation import RunMetrics

    ranking = {name: value for name, value in options.items() if value}
    return RunMetrics(training.evaluate(run, data_dir, ranking), run)


def export(
    model: DREAL | keras.Model | PathLike,
    out: PathLike,
    *,
    format: str = "saved_model",
    precision: str = "float32",
    data: Splits | None = None,
    beside: keras.Model | None = None,
    data_dir: PathLike | None = None,
    tolerance: float | None = None,
) -> ExportResult:
    """Writes a network so that it runs without this package, and checks that it does.

    Args:
        model: path of a run directory, `DREAL`, or a functional `keras.Model` from images to logits.
        out: path of a folder that does not exist yet.
        format: "saved_model", "litert" or "onnx".
        precision: "float32", or for "litert" also "float16" or "int8".
        data: `dreal_tf.data.splits.Splits` that a model was trained on: the export then prepares images itself
            and is compared on the test split. A run brings its own.
        beside: `keras.Model` whose cost is measured too; for a run, its baseline is.
        data_dir: folder of a run's data; None for the run's.
        tolerance: the fraction of test images whose likeliest class may change, and of accuracy that may
            be lost; None for that of the precision, such as 0.001 for float32. The export fails only if
            the whole 95 % interval lies above it, and warns if the interval contains it.
    Returns:
        `ExportResult`.
    Raises:
        InputError: if there is no run with weights, `out` exists, a weight is not finite, or arguments
            contradict each other.
        RunError: if the export cannot run or its outputs differ; nothing is kept then.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> export(DREAL(network), "served", format="saved_model").variables
        49
    """
    if isinstance(model, (str, os.PathLike)):
        finished_run(model)
        if data is not None or beside is not None:
            raise InputError(
                "Expected a run alone, which has its own data and baseline. Received: "
                f"{str(model)!r} with `data` or `beside`. Leave them out, or give the model."
            )
    folder = check_new_folder(out, "to export to")
    from dreal_tf.deployment import export as exporting
    from dreal_tf.deployment.results import ExportResult

    figures = exporting.export(model, folder, format, precision, data, beside, data_dir, tolerance)
    return ExportResult(out=folder, **figures)


def predict(
    model: PathLike,
    images: Images,
    *,
    top: int = 1,
    data: PathLike | Recipe | None = None,
    data_dir: PathLike | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Predicts the classes of images in files.

    Args:
        model: path of a run directory, a `.keras` file or an export.
        images: path, or sequence of paths, of image files and folders.
        top: int >= 1. Classes to name for each image.
        data: recipe whose data a `.keras` file was trained on, if no file beside it says how to prepare
            images.
        data_dir: folder of that data, or of a run's; None for the recipe's.
        progress: callable that passes on an iterable of files while it shows progress.
    Returns:
        `Predictions`.
    Raises:
        InputError: if there is no network, a path does not exist, or no image can be read.
    """
    if not checked_path(model).exists():
        raise InputError(
            f"Expected a run, a .keras file or an export. Received: {str(model)!r}, which does not "
            "exist. Check the path."
        )
    check_at_least_one(top=top)
    recipe = _data_recipe(data, data_dir)
    from dreal_tf.deployment import prediction

    predictor = prediction.load_predictor(model, recipe, data_dir)
    return prediction.predict(predictor, images, top, progress or iter)


def index(
    model: PathLike,
    images: Images,
    *,
    out: PathLike,
    approximate: bool = False,
    data: PathLike | Recipe | None = None,
    data_dir: PathLike | None = None,
    progress: Progress | None = None,
) -> IndexResult:
    """Embeds images into an index, to be searched.

    Args:
        model: path of a run directory or a `.keras` file.
        images: path, or sequence of paths, of image files and folders.
        out: path of the index, a new folder.
        approximate: bool. Keep a graph for approximate search (faiss), for a million images and more.
        data, data_dir, progress: see `predict`.
    Returns:
        `IndexResult`.
    Raises:
        InputError: if there is no network, `out` exists, a path does not exist, or no image can be read.
    """
    recipe, folder = _data_recipe(data, data_dir), check_new_folder(out, "for the index")
    from dreal_tf.deployment.image_index import build_index

    return build_index(model, images, folder, approximate, recipe, data_dir, progress or iter)


def search(
    index: PathLike, images: Images, *, top: int = 10, progress: Progress | None = None
) -> SearchResult:
    """Finds the nearest images of an index to each query.

    Args:
        index: path of a folder that `index` wrote.
        images: queries: path, or sequence of paths, of image files and folders.
        top: int >= 1. Images for each query.
        progress: see `predict`.
    Returns:
        `SearchResult`.
    Raises:
        InputError: if there is no index, a path does not exist, or no query can be read.
    """
    check_at_least_one(top=top)
    from dreal_tf.deployment.image_index import ImageIndex

    return ImageIndex(index).search(images, top, progress or iter)


@overload
def prune(
    model: PathLike,
    data: None = ...,
    *,
    threshold: float | None = ...,
    keep: int | None = ...,
    images: int = ...,
    data_dir: PathLike | None = ...,
    epochs: int = ...,
    out: PathLike | None = ...,
    progress: Progress | None = ...,
    callbacks: Iterable[keras.callbacks.Callback] = ...,
) -> PruneResult: ...


@overload
def prune(
    model: DREAL | keras.Model,
    data: AuditData,
    *,
    threshold: float | None = ...,
    keep: int | None = ...,
    images: int = ...,
    data_dir: PathLike | None = ...,
    gates: str | Sequence[str] | None = ...,
    loss: Any = ...,
    progress: Progress | None = ...,
) -> PrunedNetwork: ...


def prune(
    model: DREAL | keras.Model | PathLike,
    data: AuditData | None = None,
    *,
    threshold: float | None = None,
    keep: int | None = None,
    images: int = 2000,
    data_dir: PathLike | None = None,
    epochs: int = 0,
    out: PathLike | None = None,
    gates: str | Sequence[str] | None = None,
    loss: Any = None,
    progress: Progress | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
) -> PruneResult | PrunedNetwork:
    """Removes the attention modules that earn nothing: from a run, into a new run, or from a copy of a network.

    A module goes unless replacing its action by its static action is known to cost more than the threshold:
    unless the 95 % interval of log p(A) - log p(Ā) lies above it. The same holds for everything that goes,
    together. A module is folded into the BatchNorm before it or removed, see
    `dreal_tf.deployment.removal.removal_plans`. A layer of several modules goes whole or stays.

    Modules of a run are evaluated on its validation images; the test split, on which accuracies are given,
    decides nothing. The new run is a run like any other; its recipe names the blocks without attention. An
    interrupted fine-tuning continues; the given run stays unchanged.

    Modules of a network are evaluated on `data`. The result has the smaller network as `network`, to compile,
    fine-tune and save; the given one stays unchanged.

    Args:
        model: path of a finished run, or a functional `keras.Model` or `DREAL`.
        data: for a network: the images and labels to evaluate on, see `dreal_tf.audit`. Images that it was
            not trained on, and that are not kept to test the smaller network.
        threshold: float. The value above which a module stays (nats); None for 0.
        keep: int, instead of `threshold`: how many modules stay, those of greatest value.
        images: int >= 2. Images to evaluate on, at most.
        data_dir: folder of the data; None for the recipe's.
        epochs: int, for a run. Epochs of fine-tuning, see `dreal_tf.deployment.prune.fine_tuning`; 0 for none.
        out: for a run: path of the new run, or None for `<run>_pruned` beside it.
        gates, loss: for a network, see `dreal_tf.audit`.
        progress: callable that passes on a sized iterable while it shows progress.
        callbacks: for a run: iterable of further Keras callbacks of fine-tuning, read when it begins.
    Returns:
        `PruneResult` of a run, `PrunedNetwork` of a network.
    Raises:
        InputError: if arguments contradict each other, the network has no attention, or `out` contains
            something else.
        RunError: if an epoch of fine-tuning cannot be carried out.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> prune(network, "digits_resnet8_se", keep=0, images=50).network.count_params()
        75482
    """
    if isinstance(model, (str, os.PathLike)):
        of_networks = {"data": data, "gates": gates, "loss": loss}
        if given := [name for name, value in of_networks.items() if value is not None]:
            raise InputError(
                "Expected a run alone, which has its own data, attention and loss. Received: "
                f"{str(model)!r} with {', '.join(given)}. Leave them out, or give a `keras.Model`."
            )
        from dreal_tf.deployment.pruning_request import check_request

        request = check_request(model, threshold, keep, epochs, images, out, data_dir)
        from dreal_tf.deployment import prune as pruning

        return pruning.prune(request, progress, callbacks)
    if epochs or out is not None:
        raise InputError(
            f"Expected `epochs` and `out` with a run alone. Received: epochs={epochs}, out={out!r} with a network. "
            "Leave them out; then fine-tune and save the `network` of the result."
        )
    from dreal_tf.analysis.inputs import check_images
    from dreal_tf.deployment.pruning_request import checked_rule

    rule = checked_rule(threshold, keep)
    check_images(images)
    from dreal_tf.deployment.prune_network import prune_network

    return prune_network(model, data, rule, images, data_dir, gates, loss, progress)


@overload
def audit(
    model: DREAL | keras.Model | PathLike,
    images: int = ...,
    data: AuditData | None = ...,
    data_dir: PathLike | None = ...,
    *,
    critic: None = ...,
    out: PathLike | None = ...,
    seed: int = ...,
    gates: str | Sequence[str] | None = ...,
    loss: Any = ...,
    progress: Progress | None = ...,
) -> Audit: ...


@overload
def audit(
    model: None = ...,
    images: int = ...,
    data: None = ...,
    data_dir: PathLike | None = ...,
    *,
    critic: PathLike,
    out: None = ...,
    seed: int = ...,
    progress: Progress | None = ...,
) -> CriticAudit: ...


def audit(
    model: DREAL | keras.Model | PathLike | None = None,
    images: int = 2000,
    data: AuditData | None = None,
    data_dir: PathLike | None = None,
    *,
    critic: PathLike | None = None,
    out: PathLike | None = None,
    seed: int = 0,
    gates: str | Sequence[str] | None = None,
    loss: Any = None,
    progress: Progress | None = None,
) -> Audit | CriticAudit:
    """Measures what each attention module of a network contributes, or how good a run's critic is.

    Args:
        model: path of a run directory or a `.keras` file, or a functional `keras.Model` or `DREAL`; see
            `dreal_tf.analysis.audit.audit`, which describes the measurement.
        images: int >= 2. Test images to measure on, at most.
        data: the data of a network that is no run: (images, labels), a batched `tf.data.Dataset` or a
            `keras.utils.PyDataset`, as the network takes them. Or a recipe, its name or path, or
            `dreal_tf.data.splits.Splits`, of which the test split is used. For a `.keras` file also the path
            of a folder with a folder of images for each class.
        data_dir: folder of the data; None for the recipe's.
        critic: path of a run whose critic is measured instead, see `dreal_tf.analysis.audit_critic`.
        out: path of a folder to write the table, the classes and the figure to; None writes nothing.
        seed: int, of the choice of images and of the bootstrap; a critic is measured by its run's seed.
        gates: names or patterns of attention in other people's layers. None: all that `dreal_tf.find_gates`
            finds, but only if the network has none of our layers.
        loss: name, function or `keras.losses.Loss`, for tasks other than one label for each image. None: the
            loss that the network was compiled with; if it was not compiled, cross-entropy over classes, for
            which it must end in logits or a softmax.
        progress: callable that passes on a sized iterable while it shows progress.
    Returns:
        `Audit`; with `critic`, `CriticAudit`.
    Raises:
        InputError: if there is no such network, it has no attention, or the data is not its own.
        RunError: if a log probability is not finite.
    """
    from dreal_tf.analysis.inputs import check_audit_folder, check_images, critic_run, source_of
    from dreal_tf.training.recipe import Recipe

    if (model is None) == (critic is None):
        received = "neither" if model is None else "both"
        raise InputError(f"Expected `model` or `critic`. Received: {received}. Give one of them.")
    check_images(images)
    if critic is not None:
        others = {"data": data, "out": out, "gates": gates, "loss": loss}
        if given := [name for name, value in others.items() if value is not None]:
            raise InputError(
                "Expected `critic` alone: a run, with its own data, which stays unchanged. Received: "
                f"{', '.join(given)} too. Leave them out."
            )
        run = critic_run(critic, images)
        from dreal_tf.analysis.audit_critic import audit_critic

        return audit_critic(run, images, data_dir, progress)
    source, names_data = model, data is None or isinstance(data, (str, os.PathLike, Recipe))
    if isinstance(model, (str, os.PathLike)) and names_data:
        source = source_of(model, data, data_dir)
    if out is not None:
        check_audit_folder(checked_path(out))
    from dreal_tf.analysis import audit as auditing

    measured = auditing.audit(source, images, data, data_dir, progress, seed, gates=gates, loss=loss)
    if out is not None:
        auditing.write_audit(measured, out)
    return measured


def report(
    run: PathLike,
    against: PathLike | None = None,
    *,
    out: PathLike | None = None,
    images: int = 2000,
    data_dir: PathLike | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Writes one HTML page with the figures of a run, and beside it every figure and table.

    Args:
        run: path of a finished run.
        against: path of its baseline, shown beside it; or None.
        out: path of the page; None for `report.html` in the run, or with `against`
            `report_against_<its folder>.html`.
        images: int. Test images to measure attention on, at most.
        data_dir: folder of the data; None for the run's.
        progress: callable (items, description, number of items or None) that passes on the items while
            it shows progress.
    Returns:
        Dict, as `dreal-tf report --json` prints it: `page` and `folder`, their paths, and more.
    Raises:
        InputError: if no report can be made of the run, or not beside the other; nothing is written.
    """
    from dreal_tf.analysis.inputs import report_inputs

    inputs = report_inputs(run, against, out, images)
    from dreal_tf.analysis.report.report import write_report

    return write_report(inputs, data_dir, progress)


def benchmark(
    recipe: PathLike | Recipe,
    *,
    smoke: bool = False,
    changes: Mapping[str, Any] | None = None,
    rounds: int = 15,
    data_dir: PathLike | None = None,
    strategy: str = "auto",
    memory: bool = True,
    processes: int = 1,
    say: Say | None = None,
) -> Benchmark:
    """Measures the cost of the method against the plain network: time, memory, and their parts.

    Args:
        recipe, smoke, changes: see `train`; the method must be enabled.
        rounds: int >= 1. Turns of every arm.
        data_dir: folder of the data; None for generated images.
        strategy: "auto", "none", "mirrored" or "tpu".
        memory: bool. Measure memory too, in separate processes.
        processes: int >= 1. Processes of every arm, whose median its memory is.
        say: callable that takes a line of progress.
    Returns:
        `Benchmark`.
    Raises:
        InputError: if the recipe is not valid or has no method.
    """
    check_at_least_one(rounds=rounds, processes=processes)
    resolved = resolve_recipe(recipe, smoke, changes)
    from dreal_tf.analysis import benchmark as measuring
    from dreal_tf.training.strategies import strategy_named

    with strategy_named(strategy).scope():
        return measuring.benchmark(resolved, rounds, data_dir, processes * memory, say)


def study(
    study: PathLike | Study,
    *,
    out: PathLike,
    smoke: bool = False,
    data_dir: PathLike | None = None,
    networks: PathLike | None = None,
    arms: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    rows: PathLike | None = None,
    say: Say | None = None,
) -> StudyResult:
    """Runs a study, arms by seeds; repeated, it continues from the rows in `out`.

    Args:
        study: `Study`, a bundled name, or the path of a `.py` study.
        out: path of the study's folder.
        smoke: bool. Shrink a bundled or `.py` study to seconds a run.
        data_dir: folder of the data; None for the recipe's.
        networks: path of a folder with trained networks `seed<N>` to reuse; None: they are trained.
        arms: sequence of str; None for all.
        seeds: sequence of int; None for the study's.
        rows: path of a `.csv` file with rows of the same study, made elsewhere.
        say: callable that takes a line of progress.
    Returns:
        `StudyResult`.
    Raises:
        InputError: if an arm is unknown, or folder, networks or data are not as expected.
        RunError: if a run failed; finished rows are kept.
    """
    from dreal_tf.experiments.study import Study, load_study

    loaded = study if isinstance(study, Study) else load_study(study, smoke)
    cluster_of("auto")  # Its workers would refuse a malformed TF_CONFIG one after another.
    from dreal_tf.experiments.run_study import run_study

    return run_study(loaded, out, arms, seeds, networks, data_dir, rows, say or _silent)


def tune(
    recipe: PathLike | Recipe,
    *,
    space: PathLike | Space,
    trials: int = 20,
    tuner: str = "bayesian",
    objective: str = "val_accuracy",
    patience: int | None = None,
    out: PathLike | None = None,
    smoke: bool = False,
    changes: Mapping[str, Any] | None = None,
    data_dir: PathLike | None = None,
    strategy: str = "auto",
    seed: int | None = None,
    say: Say | None = None,
) -> TuneResult | None:
    """Searches for a recipe's best settings; repeated, it continues the search in `out`.

    Args:
        recipe, smoke, changes, data_dir, seed: see `train`; `smoke` shrinks a named space too.
        space: `Space`, "attention", "method" or "optimizer", or the path of a `.py` space.
        trials: int >= 1, besides the runs without the method.
        tuner: "random", "bayesian" or "hyperband".
        objective: str, the logged validation quantity to optimise.
        patience: int >= 1. Epochs without a better value after which a trial ends; None: never.
        out: path of the folder; None for `searches/<recipe>_<space>_<tuner>_seed<N>`.
        strategy: "auto", "none", "mirrored" or "tpu", for each trial.
        say: callable that takes a line of progress.
    Returns:
        `TuneResult`; None in a worker of a search that several share.
    Raises:
        InputError: if an option is not valid, or `out` contains something else.
        RunError: if a run failed; finished ones are kept.
    """
    from dreal_tf.experiments.directory import SearchDirectory
    from dreal_tf.experiments.search import Search, Space, default_search_folder, load_space

    resolved = resolve_recipe(recipe, smoke, changes, seed=seed, data_dir=data_dir)
    loaded = space if isinstance(space, Space) else load_space(space, smoke)
    search = Search(resolved, loaded, tuner, objective, patience, strategy)
    out = out or default_search_folder(resolved, space, tuner)
    search.check()
    SearchDirectory(out).check(search.settings())
    from dreal_tf.experiments import run_search

    return run_search.tune(search, out, trials, say or _silent)


def _silent(line: str) -> None:
    """Takes a line of progress and shows it nowhere."""


def _data_recipe(data: PathLike | Recipe | None, data_dir: PathLike | None) -> Recipe | None:
    return None if data is None else resolve_recipe(data, data_dir=data_dir)
