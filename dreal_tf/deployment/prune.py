"""Drops the attention modules of a run that earn nothing, and trains the rest on."""

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
from dreal_tf.deployment.pruning_request import check_request
from dreal_tf.deployment.served import Served
from dreal_tf.deployment.verification import answers_of
from dreal_tf.networks.backbones import Trajectory, plain_network
from dreal_tf.networks.flops import multiply_adds
from dreal_tf.recipe import whole_path
from dreal_tf.training.builder import build_network, load_weights
from dreal_tf.training.evaluation import evaluate_splits
from dreal_tf.training.run_directory import full_disk_said, write_whole
from dreal_tf.training.train import keep_network, train
from dreal_tf.training.trained_run import finished_run, run_data

# Cosine decay ends at a rate of 0: fine-tuning begins at this share of its peak.
COSINE_SHARE = 0.01


def pruned_recipe(recipe, plan):
    """The recipe of the network that is left.

    Args:
        recipe: `dreal_tf.Recipe`.
        plan: `dreal_tf.pruning.plan.Plan`.
    Returns:
        `dreal_tf.Recipe`: trained, it gives the smaller network from scratch. Without the method where
        none is left of the modules that it taught.
    Example:
        >>> from dreal_tf import Recipe
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> plan = Plan(("conv3_1",), {}, images=100, network=network)
        >>> pruned_recipe(Recipe(), plan).attention.pruned
        ('conv3_1',)
    """
    pruned = {"attention.pruned": (*(recipe.attention.pruned or ()), *plan.places)}
    left = Trajectory(plan.network, recipe.dreal.stages).modules
    taught = {"dreal.enabled": recipe.dreal.enabled and bool(left)}
    return recipe.replace(pruned | taught | {"run.start": None})


def fine_tuning(recipe, epochs, start):
    """The recipe of a few more epochs.

    The rate begins where the run's ended, that is at optim.learning_rate · schedule.factor^milestones of
    "steps" and at optim.learning_rate of "constant"; after "cosine", which ends at 0, at a hundredth of
    optim.learning_rate. It falls to 0 by cosine, without warm-up. All else is the run's, the method included,
    whose critic is a new one.

    Args:
        recipe: `dreal_tf.Recipe`.
        epochs: int >= 1.
        start: path of the `.keras` file with the weights to begin with.
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
        rate *= COSINE_SHARE
    return recipe.replace(
        {
            "run.start": whole_path(start),
            "optim.learning_rate": rate,
            "schedule.epochs": epochs,
            "schedule.decay": "cosine",
            "schedule.warmup_epochs": 0.0,
        }
    )


ROUNDS = 300  # Calls with one image each whose time is taken, the networks in turn.
DRAWN = 16  # Made-up images; what they show takes no time.


def figures_of(networks, preprocessing, rounds=ROUNDS):
    """What each network costs for one image.

    Time is taken of SavedModels, in a process without this package, the networks in turn, so that
    what else the machine does falls on all of them.

    Args:
        networks: sequence of functional `keras.Model`s with auxiliary outputs, in float32.
        preprocessing: `dreal_tf.data.Preprocessing` of their images, which the time includes.
        rounds: int. Calls of each.
    Returns:
        List of dicts: `parameters` (trainable ones), `multiply_adds`, `milliseconds` (the median).
    """
    plain = [plain_network(network) for network in networks]
    shape = preprocessing.image_shape
    pixels = np.random.default_rng(0).integers(0, 256, (DRAWN, *shape), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(number)) for number in range(len(plain))]
        for path, network in zip(paths, plain, strict=True):
            write(Served(network, preprocessing), path, "saved_model")
        _, milliseconds = answers_of(paths, pixels, rounds)
    return [
        {
            "parameters": sum(math.prod(v.shape) for v in network.trainable_variables),
            "multiply_adds": multiply_adds(network, shape),
            "milliseconds": round(taken, 3),
        }
        for network, taken in zip(plain, milliseconds, strict=True)
    ]


START = "start.keras"  # In a run that is fine-tuned: what it begins with.


def write_without_tuning(request, recipe, networks, data, note):
    """Writes a run whose network is the folded one, to its metrics.

    Its history and the time of its training are those of the run that it comes from: nothing else
    made its weights.

    Args:
        request: `dreal_tf.pruning.request.Request`.
        recipe: `dreal_tf.Recipe` of the new run.
        networks: pair of functional `keras.Model`s with auxiliary outputs: before and after.
        data: `dreal_tf.data.Splits`.
        note: dict, what is known of the pruning; what both networks cost is added to it.
    """
    run, old = request.out, request.run
    network = _noted(request, recipe, networks, data, note)
    keep_network(run, plain_network(network), data.preprocessing)
    devices = [device.name for device in tf.config.list_logical_devices()]
    run.write_environment(recipe.run.seed, devices)
    if old.history.is_file():
        shutil.copy(old.history, run.history)
    write_whole(run.recipe, recipe.to_json())
    before, judgement = old.read_metrics(), (recipe.dreal.reference_action, recipe.dreal.penalty)
    metrics = evaluate_splits(network, data, *judgement) | {
        "best_epoch": before["best_epoch"],
        "validation_accuracy": _accuracy(network, data.validation),
        "training_seconds": before["training_seconds"],
    }
    write_whole(run.metrics, json.dumps(metrics, indent=2) + "\n")


def write_start(request, recipe, networks, data, note):
    """Writes what fine-tuning begins with; the recipe, last, says that all of it is there.

    Args:
        request, recipe, networks, data, note: as of `write_without_tuning`.
    """
    run = request.out
    network = _noted(request, recipe, networks, data, note)
    start, partial = run.path / START, run.path / f"partial.{START}"
    plain_network(network).save(partial)
    partial.replace(start)
    write_whole(run.recipe, fine_tuning(recipe, request.epochs, start).to_json())


def _noted(request, recipe, networks, data, note):
    """The network that the recipe builds, with its weights; the note is written."""
    before, folded = networks
    after = _built(recipe, folded, data)
    old = request.run.read_recipe()
    exact = [
        _built(r.replace({"run.precision": "float32"}), network, data)
        for r, network in ((old, before), (recipe, folded))
    ]
    costs = figures_of(exact, data.preprocessing)
    for part, figures in zip(("before", "after"), costs, strict=True):
        note[part] |= figures
    request.out.path.mkdir(parents=True, exist_ok=True)
    if (
        request.run.recorded_splits
    ):  # The new run must not be tested on images of the old one's training.
        shutil.copy(request.run.splits, request.out.splits)
    write_whole(request.note, json.dumps(note, indent=2) + "\n")
    return after


def _built(recipe, source, data):
    """A network of a recipe with the weights of another that has layers of the same names."""
    network = build_network(recipe, data.image_shape, len(data.class_names))
    for layer in plain_network(network).layers:
        if layer.weights:
            layer.set_weights(source.get_layer(layer.name).get_weights())
    return network


def _accuracy(network, batches):
    right = []
    for images, labels in batches:
        labels = tf.argmax(labels, axis=1) if labels.shape.rank == 2 else tf.cast(labels, tf.int64)
        logits = network(images, training=False)["logits"]
        right.append(tf.argmax(logits, axis=1) == labels)
    return float(np.mean(np.concatenate(right)))


def prune(
    run_path,
    threshold=None,
    keep=None,
    epochs=0,
    images=2000,
    out=None,
    data_dir=None,
    track=None,
    callbacks=(),
):
    """Makes a new run of a finished one, without the attention modules that earn nothing.

    Modules are judged on validation images: the test split, on which accuracies are given, has no
    say in what goes. A module goes unless its static action, in place of its own, is known to cost
    more than the threshold: unless the 95 % interval of log p(A) - log p(Ā) lies above it; nor may
    all that goes be known to cost more together. It is folded into the BatchNorm before it or taken
    out, see `dreal_tf.pruning.ways_out`. A layer of several modules goes whole or stays.

    The new run is a run like any other; its recipe names the blocks that go without attention. An
    interrupted fine-tuning goes on where it was; the run given stays as it is.

    Args:
        run_path: str or path of a finished run.
        threshold: float. What a module must be known to be worth more than to stay (nats). None
            stands for 0.
        keep: int, in place of `threshold`: how many modules stay, those worth most.
        epochs: int. Of fine-tuning, see `dreal_tf.pruning.pruned_recipe.fine_tuning`; 0 for none.
        images: int >= 2. Validation images to judge on, at most.
        out: str or path of the new run, or None for `<run>_pruned` beside it.
        data_dir: str, path or None. Where the data lies now; None for where the run found it.
        track: callable that passes on the items of a sized iterable while it shows progress, or None.
        callbacks: sequence of further Keras callbacks, of fine-tuning.
    Returns:
        Dict, as `pruning` in the new run's `metrics.json`: `run` and `out` (paths; `out` None where
        nothing goes: nothing is written then), `threshold`, `keep`, `epochs`, `images`; `modules` (by
        name: `done`, "folded", "removed" or "kept"; `reason`; `value`, `low`, `high` in nats); `cost`,
        what all that went costs together, before any fine-tuning, on the validation images; `before`
        and `after`: `accuracy` and `loss` on the test split, `parameters`, `multiply_adds`,
        `milliseconds` for an image.
    Raises:
        InputError: if something is asked for that does not go together, or `out` holds something.
        RunError: if an epoch of fine-tuning cannot be carried out.
    """
    request = check_request(run_path, threshold, keep, epochs, images, out)
    with full_disk_said(request.out.path):
        note = request.kept_note() if epochs and request.out.started else None
        if note is None:
            note = _judged(request, data_dir, track)
        if note["out"] is None:
            return _said(note)
        if epochs:
            recipe = request.out.read_recipe().reading(data_dir)
            train(recipe, request.out.path, callbacks=callbacks)
        metrics = request.out.read_metrics()
        note["after"] |= {name: metrics[name] for name in ("accuracy", "loss")}
        metrics["pruning"] = _said(note)
        write_whole(request.out.metrics, json.dumps(metrics, indent=2) + "\n")
        request.note.unlink()
    return _said(note)


def _said(note):
    return {name: value for name, value in note.items() if name != "asked"}


def _judged(request, data_dir, track):
    """Judges the modules and, if some go, writes the run without them, but for fine-tuning."""
    run = finished_run(request.run.path)
    recipe = run.read_recipe().reading(data_dir)
    data = run_data(run, unvaried(recipe))
    network = build_network(recipe, data.image_shape, len(data.class_names))
    load_weights(network, run.network)
    plan = plan_pruning(network, data, request.rule, request.images, recipe.run.seed, track)
    old = run.read_metrics()
    note = {
        "asked": request.asked,
        **request.asked,
        "out": str(request.out.path) if plan.places else None,
        "images": plan.images,
        "modules": plan.modules,
        "cost": plan.cost,
        "before": {name: old[name] for name in ("accuracy", "loss")},
        "after": {},
    }
    if plan.places:
        write = write_start if request.epochs else write_without_tuning
        write(request, pruned_recipe(recipe, plan), (network, plan.network), data, note)
    return note
