"""Prunes a run: writes a run without the attention modules that earn nothing, and fine-tunes it."""

import json
import math
import shutil
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from dreal_tf.analysis.inputs import unvaried
from dreal_tf.deployment.formats import write
from dreal_tf.deployment.pruning_plan import plan_pruning
from dreal_tf.deployment.results import PruneResult
from dreal_tf.deployment.served import Served
from dreal_tf.deployment.verification import run_exports
from dreal_tf.networks.backbones import Trajectory, plain_network
from dreal_tf.networks.flops import multiply_adds
from dreal_tf.recipe import whole_path
from dreal_tf.training.builder import build_network
from dreal_tf.training.evaluation import evaluate_splits
from dreal_tf.training.run_directory import reporting_full_disk, write_whole
from dreal_tf.training.train import keep_network, train
from dreal_tf.training.trained_run import best_network, run_data

COSINE_FRACTION = 0.01  # Fine-tuning after a cosine decay, which ends at 0, begins at this of its peak.
ROUNDS = 300  # Timed calls with one image each, the networks in turn.
TIMED_IMAGES = 16  # Random ones: their content takes no time.
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
    with reporting_full_disk(request.out.path):
        note = request.read_note() if request.epochs and request.out.started else None
        if note is None:
            note = _plan_and_write(request, progress)
        result = note["result"]
        if result["out"] is not None:
            if request.epochs:
                recipe = request.out.read_recipe().reading(request.recipe.data.folder)
                train(recipe, request.out.path, callbacks=callbacks)
            metrics = request.out.read_metrics()
            result["after"] |= {name: metrics[name] for name in ("accuracy", "loss")}
            metrics["pruning"] = result
            write_whole(request.out.metrics, json.dumps(metrics, indent=2) + "\n")
            request.note.unlink()
    return PruneResult(**result)


def _plan_and_write(request, progress):
    """Plans the pruning and, if it removes anything, writes the new run up to its fine-tuning."""
    recipe = request.recipe
    data = run_data(request.run, unvaried(recipe))
    network = best_network(request.run, recipe, data)
    plan = plan_pruning(network, data, request.rule, request.images, recipe.run.seed, progress)
    metrics = request.run.read_metrics()
    result = request.options | {
        "out": str(request.out.path) if plan.blocks else None,
        "images": plan.images,
        "modules": plan.modules,
        "cost": plan.cost,
        "before": {name: metrics[name] for name in ("accuracy", "loss")},
        "after": {},
    }
    note = {"options": request.options, "result": result}
    if not plan.blocks:
        return note
    pruned = pruned_recipe(recipe, plan)
    exact = [
        _built(its_recipe.replace({"run.precision": "float32"}), weights, data)
        for its_recipe, weights in ((recipe, network), (pruned, plan.network))
    ]
    for part, costs in zip(("before", "after"), network_costs(exact, data.preprocessing), strict=True):
        result[part] |= costs
    out = request.out
    out.path.mkdir(parents=True, exist_ok=True)
    if request.run.recorded_splits:
        # The new run must not be tested on images that the old one was trained on.
        shutil.copy(request.run.splits, out.splits)
    write_whole(request.note, json.dumps(note, indent=2) + "\n")
    smaller = _built(pruned, plan.network, data)
    if request.epochs:
        start, partial = out.path / START, out.path / f"partial.{START}"
        plain_network(smaller).save(partial)
        partial.replace(start)
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
        shutil.copy(request.run.history, out.history)
    write_whole(out.recipe, recipe.to_json())
    metrics = evaluate_splits(network, data, recipe.dreal.reference_action, recipe.dreal.penalty)
    metrics |= {
        "best_epoch": old_metrics["best_epoch"],
        "validation_accuracy": _accuracy(network, data.validation),
        "training_seconds": old_metrics["training_seconds"],
    }
    write_whole(out.metrics, json.dumps(metrics, indent=2) + "\n")


def _built(recipe, source, data):
    """A network of a recipe with the weights of another of its form."""
    network = build_network(recipe, data.image_shape, len(data.class_names))
    # In order: Keras numbers layers without names of their own anew.
    plain_network(network).set_weights(plain_network(source).get_weights())
    return network


def _accuracy(network, batches):
    correct = []
    for images, labels in batches:
        labels = tf.argmax(labels, axis=1) if labels.shape.rank == 2 else tf.cast(labels, tf.int64)
        logits = network(images, training=False)["logits"]
        correct.append(tf.argmax(logits, axis=1) == labels)
    return float(np.mean(np.concatenate(correct)))


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
    method included, with a new critic.

    Args:
        recipe: `dreal_tf.Recipe`.
        epochs: int >= 1.
        start: path of the `.keras` file with the initial weights.
    Returns:
        `dreal_tf.Recipe`.
    Example:
        >>> from dreal_tf.recipe import Optim, Recipe, Schedule
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
        }
    )


def network_costs(networks, preprocessing, rounds=ROUNDS):
    """The cost of one image for each of several networks.

    SavedModels are timed in a process without this package, in turn, so that other work on the machine
    slows all of them alike.

    Args:
        networks: sequence of functional `keras.Model`s with auxiliary outputs, in float32.
        preprocessing: `dreal_tf.data.preprocessing.Preprocessing` of their images, included in the time.
        rounds: int. Calls of each.
    Returns:
        List of dicts: `parameters` (trainable ones), `multiply_adds`, `milliseconds` (the median).
    """
    plain = [plain_network(network) for network in networks]
    shape = preprocessing.image_shape
    images = np.random.default_rng(0).integers(0, 256, (TIMED_IMAGES, *shape), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(number)) for number in range(len(plain))]
        for path, network in zip(paths, plain, strict=True):
            write(Served(network, preprocessing), path, "saved_model")
        _, milliseconds = run_exports(paths, images, rounds)
    return [
        {
            "parameters": sum(math.prod(v.shape) for v in network.trainable_variables),
            "multiply_adds": multiply_adds(network, shape),
            "milliseconds": round(median, 3),
        }
        for network, median in zip(plain, milliseconds, strict=True)
    ]
