"""Prunes a run: finds the attention modules that earn nothing, writes a run without them, and fine-tunes it."""

import math
import os

import numpy as np
import tensorflow as tf

from dreal_tf.analysis.audit import accuracy_difference
from dreal_tf.analysis.audited_network import audited
from dreal_tf.analysis.inputs import unvaried
from dreal_tf.deployment.export import run_exports, write
from dreal_tf.deployment.pruning_plan import label_scores, plan_pruning
from dreal_tf.deployment.results import PruneResult
from dreal_tf.deployment.served import Served
from dreal_tf.networks.backbones import Trajectory, plain_network
from dreal_tf.networks.flops import multiply_adds
from dreal_tf.storage import locked, replacing, reporting_disk_errors, scratch, write_json, write_whole
from dreal_tf.training.builder import build_network, reference_action_of
from dreal_tf.training.evaluation import evaluate_splits
from dreal_tf.training.recipe import whole_path
from dreal_tf.training.train import keep_network, train
from dreal_tf.training.trained_run import best_network, run_data

COSINE_FRACTION = 0.01  # Fine-tuning after a cosine decay, which ends at 0, begins at this of its peak.
ROUNDS = 300  # Timed calls with one image each, the networks in turn.
TIMED_IMAGES = 16  # Random ones: their content takes no time.
SCORES = ("accuracy", "cross_entropy")  # The loss also has regularisers, which fall with the weights.
START = "start.keras"  # In a fine-tuned run: the weights that it begins with.


def prune(request, progress=None, callbacks=()):
    """Carries out a pruning; an interrupted fine-tuning continues.

    Args:
        request: `dreal_tf.deployment.pruning_request.PruningRequest`.
        progress: callable that passes on a sized iterable while it shows progress, or None.
        callbacks: iterable of further Keras callbacks, of fine-tuning.
    Returns:
        `dreal_tf.deployment.results.PruneResult`; the new run's `metrics.json` holds it under `pruning`.
    Raises:
        InputError: if more modules are to stay than there are.
        RunError: if an epoch of fine-tuning cannot be carried out.
    """
    out = request.out
    with reporting_disk_errors(out.path.parent):
        with locked(out.path):
            request.check_out()  # Another command may just have ended.
            note = request.read_note() if request.epochs and out.started else None
            if note is None:
                note = _plan_and_write(request, progress)
        result = note["result"]
        if result["out"] is not None:
            if request.epochs:  # It takes the lock by itself.
                recipe = out.read_recipe().reading(request.recipe.data.folder)
                train(recipe, out.path, callbacks=callbacks)
            with locked(out.path):
                metrics = out.read_metrics()
                result["after"] |= {name: metrics[name] for name in SCORES if name in metrics}
                result["difference"] = _difference(request)
                metrics["pruning"] = result
                out.finish(metrics)
                request.note.unlink(missing_ok=True)
    return PruneResult(**result)


def _difference(request):
    """The accuracy of the new run less that of the old, on the same test images."""
    data = run_data(request.run, unvaried(request.recipe))
    runs = request.out, request.run
    networks = [best_network(run, run.read_recipe(), data) for run in runs]
    correct = [label_scores(network, data.test)[1] for network in networks]
    return accuracy_difference(*correct, request.recipe.run.seed)


def _plan_and_write(request, progress):
    """Plans the pruning and, if it removes anything, writes the new run up to its fine-tuning."""
    recipe = request.recipe
    data = run_data(request.run, unvaried(recipe))
    network = best_network(request.run, recipe, data)
    seed = recipe.run.seed
    measured_on = audited(network, request.images, validation_as_test(data), seed=seed)
    plan = plan_pruning(network, measured_on, request.rule, seed, progress)
    metrics = request.run.read_metrics()
    result = request.options | {
        "out": str(request.out.path) if plan.blocks else None,
        "images": plan.images,
        "modules": plan.modules,
        "cost": plan.cost,
        "before": {name: metrics[name] for name in SCORES if name in metrics},
        "after": {},
        "difference": None,
    }
    note = {"options": request.options, "result": result}
    if not plan.blocks:
        return note
    pruned = pruned_recipe(recipe, plan)
    exact = [
        _built(its_recipe.replace({"run.precision": "float32"}), weights, data)
        for its_recipe, weights in ((recipe, network), (pruned, plan.network))
    ]
    out = request.out
    with scratch(out.path) as folder:
        costs = network_costs(exact, data.preprocessing, folder)
    for part, of_part in zip(("before", "after"), costs, strict=True):
        result[part] |= of_part
    os.makedirs(os.path.realpath(out.path), exist_ok=True)
    write_json(request.note, note)  # First: it tells whose folder this is.
    if request.run.recorded_splits:
        # The new run must not be tested on images that the old one was trained on.
        write_whole(out.splits, request.run.splits.read_bytes())
    smaller = _built(pruned, plan.network, data)
    if request.epochs:
        start = out.path / START
        with replacing(start) as new:
            plain_network(smaller).save(new)
        # Last: fine-tuning begins once it is there.
        write_whole(out.recipe, fine_tuning(pruned, request.epochs, start).to_json())
    else:
        _write_run(request, pruned, smaller, data, metrics)
    return note


def _write_run(request, recipe, network, data, old_metrics):
    """The files of a run whose weights the old run's training made: so are its history and times."""
    out = request.out
    keep_network(out, plain_network(network), data.preprocessing)
    devices = [device.name for device in tf.config.list_logical_devices()]
    out.write_environment(recipe.run.seed, devices)
    if request.run.history.is_file():
        write_whole(out.history, request.run.history.read_bytes())
    write_whole(out.recipe, recipe.to_json())
    metrics = evaluate_splits(network, data, reference_action_of(recipe), recipe.dreal.penalty)
    metrics |= {
        "best_epoch": old_metrics["best_epoch"],
        "validation_accuracy": float(label_scores(network, validation_as_test(data).test)[1].mean()),
        "training_seconds": old_metrics["training_seconds"],
    }
    out.finish(metrics)


def _built(recipe, source, data):
    """A network of a recipe with the weights of another of its form."""
    network = build_network(recipe, data.image_shape, len(data.class_names))
    # In order: Keras numbers layers without names of their own anew.
    plain_network(network).set_weights(plain_network(source).get_weights())
    return network


def pruned_recipe(recipe, plan):
    """The recipe of the pruned network.

    Args:
        recipe: `dreal_tf.Recipe`.
        plan: `dreal_tf.deployment.pruning_plan.PruningPlan`.
    Returns:
        `dreal_tf.Recipe` that trains the smaller network from scratch; without the method if none of
        the modules that it trained is left.
    Example:
        >>> from dreal_tf import Recipe
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> plan = PruningPlan(("conv3_1",), {}, images=100, network=network)
        >>> pruned_recipe(Recipe(), plan).attention.pruned
        ('conv3_1',)
    """
    trained = Trajectory(plan.network, recipe.dreal.stages).modules
    return recipe.replace(
        {
            "attention.pruned": (*(recipe.attention.pruned or ()), *plan.blocks),
            "dreal.enabled": recipe.dreal.enabled and bool(trained),
            "run.start": None,
        }
    )


def fine_tuning(recipe, epochs, start):
    """The recipe of a few more epochs.

    The rate begins at the last rate of the run: optim.learning_rate · schedule.factor^milestones of
    "steps", optim.learning_rate of "constant"; after "cosine", which ends at 0, a hundredth of
    optim.learning_rate. It falls to 0 by cosine, without warm-up. Everything else is the run's, the
    method included, with a new critic; it starts in the last epoch at the latest.

    Args:
        recipe: `dreal_tf.Recipe`.
        epochs: int >= 1.
        start: path of the `.keras` file with the initial weights.
    Returns:
        `dreal_tf.Recipe`.
    Example:
        >>> from dreal_tf.training.recipe import Optim, Recipe, Schedule
        >>> recipe = Recipe(optim=Optim(learning_rate=0.1), schedule=Schedule(decay="steps", factor=0.1))
        >>> round(fine_tuning(recipe, 2, "start.keras").optim.learning_rate, 6)
        0.001
    """
    schedule, rate = recipe.schedule, recipe.optim.learning_rate
    if schedule.decay == "steps":
        rate *= schedule.factor ** len(schedule.milestones)
    elif schedule.decay == "cosine":
        rate *= COSINE_FRACTION
    return recipe.replace(
        {
            "run.start": whole_path(start),
            "optim.learning_rate": rate,
            "schedule.epochs": epochs,
            "schedule.decay": "cosine",
            "schedule.warmup_epochs": 0.0,
            "dreal.start_epoch": min(recipe.dreal.start_epoch, epochs),
        }
    )


def network_costs(networks, preprocessing, folder, rounds=ROUNDS):
    """The cost of one image for each of several networks.

    SavedModels are timed in a process without this package, in turn, so that other work on the machine
    slows all of them alike.

    Args:
        networks: sequence of functional `keras.Model`s with auxiliary outputs, in float32.
        preprocessing: `dreal_tf.data.preprocessing.Preprocessing` of their images, included in the time.
        folder: path of a temporary folder for the SavedModels.
        rounds: int. Calls of each.
    Returns:
        List of dicts: `parameters` (trainable ones), `multiply_adds`, `milliseconds` (the median).
    """
    plain = [plain_network(network) for network in networks]
    shape = preprocessing.image_shape
    images = np.random.default_rng(0).integers(0, 256, (TIMED_IMAGES, *shape), np.uint8)
    paths = [folder / str(number) for number in range(len(plain))]
    for path, network in zip(paths, plain, strict=True):
        write(Served(network, preprocessing), path, "saved_model")
    _, milliseconds = run_exports(paths, images, folder, rounds)
    return [
        {
            "parameters": sum(math.prod(v.shape) for v in network.trainable_variables),
            "multiply_adds": multiply_adds(network, shape),
            "milliseconds": round(median, 3),
        }
        for network, median in zip(plain, milliseconds, strict=True)
    ]


def validation_as_test(data):
    """Data with its validation split as the test split, so that the choice never sees the real one.

    Args:
        data: `dreal_tf.data.splits.Splits`.
    Returns:
        `dreal_tf.data.splits.Splits`; labels of the test split are ints.
    Example:
        >>> data = validation_as_test(build_data(load_recipe("digits_resnet8_se")))
        >>> data.sizes["test"] == data.sizes["validation"]
        True
    """
    validation = data.validation
    if data.soft_labels:
        validation = validation.map(lambda images, rows: (images, tf.argmax(rows, axis=1)))
    sizes, sources = ({**parts, "test": parts["validation"]} for parts in (data.sizes, data.sources))
    return data._replace(test=validation, sizes=sizes, sources=sources)
