"""Prunes a run: finds the attention modules that earn nothing, writes a run without them, and fine-tunes it."""

import functools
import math
import os
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.analysis.audit import accuracy_difference, audit, values_of
from dreal_tf.analysis.audited_network import IMAGES_AT_A_TIME, calibration_images
from dreal_tf.analysis.inputs import unvaried
from dreal_tf.data.splits import sample_batches
from dreal_tf.deployment.export import run_exports, write
from dreal_tf.deployment.pruning_rule import chosen_actors, interval_text, jointly_removable
from dreal_tf.deployment.removal import FOLDED, KEPT, removal_plans, without_actors
from dreal_tf.deployment.results import PruneResult
from dreal_tf.deployment.served import Served
from dreal_tf.errors import InputError
from dreal_tf.method.formulas import per_example_score
from dreal_tf.method.rewards import static_actions
from dreal_tf.networks.backbones import Trajectory, actors_of, plain_network
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
                result["after"] |= {name: metrics[name] for name in ("accuracy", "loss")}
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
    plan = plan_pruning(network, data, request.rule, request.images, recipe.run.seed, progress)
    metrics = request.run.read_metrics()
    result = request.options | {
        "out": str(request.out.path) if plan.blocks else None,
        "images": plan.images,
        "modules": plan.modules,
        "cost": plan.cost,
        "before": {name: metrics[name] for name in ("accuracy", "loss")},
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
        plan: `dreal_tf.deployment.prune.PruningPlan`.
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


def label_scores(network, batches):
    """How well a network predicts the labels of some images.

    Args:
        network: functional `keras.Model` with auxiliary outputs, ending in logits.
        batches: iterable of (images, int labels).
    Returns:
        Float64 array (n,): log p of the label (nats); and bool array (n,): whether it was predicted.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> log_p, correct = label_scores(network, [(np.random.rand(4, 8, 8, 1), np.arange(4))])
        >>> bool((log_p < 0).all()), correct.dtype
        (True, dtype('bool'))
    """
    run = tf.function(plain_network(network), reduce_retracing=True)
    log_p, correct = [], []
    for images, labels in batches:
        labels = tf.cast(labels, tf.int32)
        logits = run(tf.cast(images, tf.float32), training=False)
        log_p.append(per_example_score(labels, logits, from_logits=True))
        correct.append(tf.argmax(logits, axis=1, output_type=tf.int32) == labels)
    return np.concatenate(log_p).astype(np.float64), np.concatenate(correct)


class PruningPlan(NamedTuple):
    """The modules to remove from a network, and the network without them.

    Attributes:
        blocks: tuple of str, the blocks that lose their attention, in depth order.
        modules: dict by module, in depth order, of dicts: `done` ("folded", "removed", "kept"),
            `reason`, and `value`, `low` and `high`: the cost of its static action (nats).
        images: int, validation images that they were evaluated on.
        network: functional `keras.Model` without these actors; None if none is removed.
        cost: dict, see `dreal_tf.analysis.audit.values_of`: the cost of that network on those images; None
            if none is removed.
    """

    blocks: tuple
    modules: dict
    images: int
    network: keras.Model | None = None
    cost: dict | None = None


def plan_pruning(network, data, rule, images=2000, seed=0, progress=None):
    """Evaluates every module of a network, and builds the network without those that earn nothing.

    A module's value is the cost of its static action. An actor that cannot be replaced by its static
    action itself is removed only if its actual replacement passes the same rule. The total cost of all
    removals must pass it too: until it does, the remaining actor of greatest value stays.

    Args:
        network: functional `keras.Model` with auxiliary outputs, ending in logits.
        data: `dreal_tf.data.splits.Splits` that it was trained on, training images unaugmented. Static actions
            are means over training images; validation images decide what is removed.
        rule: `dreal_tf.deployment.pruning_rule.Rule`.
        images: int >= 2. Validation images, at most.
        seed: int, of the choice of images and of the bootstrap.
        progress: callable that passes on a sized iterable while it shows progress, or None.
    Returns:
        `PruningPlan`.
    Raises:
        InputError: if the network has no attention, or fewer modules than are to stay.
    """
    actors = {actor.name: actor.modules() for actor in actors_of(network)}
    _check_count(rule, sum(map(len, actors.values())))
    validation = validation_as_test(data)
    audited = audit(network, images, validation, track=progress, seed=seed)
    values = {module: value["static"] for module, value in audited["modules"].items()}
    plans = removal_plans(network, static_actions(network, calibration_images(data)))
    batches = sample_batches(validation, images, IMAGES_AT_A_TIME, seed)
    log_p, correct = label_scores(network, batches)

    def without(names):
        return without_actors(network, {name: plans[name] for name in names})

    @functools.cache  # The last one asked for by the rule is the plan's.
    def measured_cost(names):
        of_smaller, correct_of_smaller = label_scores(without(names), batches)
        return values_of((log_p - of_smaller)[:, None], correct, correct_of_smaller[:, None], seed)[0]

    def cost_of(names):
        return measured_cost(tuple(names))

    removed, kept = chosen_actors(actors, values, rule)
    objections = {name: _objection(name, plans[name], cost_of, rule) for name in removed}
    removed = [name for name in removed if not objections[name]]
    best = {name: max(values[module]["value"] for module in actors[name]) for name in removed}
    removed, of_all = jointly_removable(removed, best, cost_of, rule)
    for name, objection in (objections | of_all).items():
        if objection:
            kept |= dict.fromkeys(actors[name], objection)
    modules = {
        module: _decision(values[module], plans[name], kept.get(module))
        for name, members in actors.items()
        for module in members
    }
    blocks = tuple(actors[name][0].split("/")[0] for name in actors if name in removed)
    smaller = (without(removed), cost_of(removed)) if removed else ()
    return PruningPlan(blocks, modules, audited["images"], *smaller)


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


def _check_count(rule, modules):
    """Refuses an impossible number to keep before anything is measured."""
    if not modules:
        raise InputError(
            "Expected a network with attention. Received: one without, or all of it was pruned. There "
            "is nothing to prune; name another run."
        )
    if rule.keep is not None and rule.keep > modules:
        raise InputError(
            f"Expected at most {modules} modules to keep, as many as there are. Received: "
            f"keep={rule.keep}. Lower it."
        )


def _objection(name, plan, cost_of, rule):
    """The reason why an actor that earns nothing stays all the same, or None."""
    if plan.done == KEPT:
        return plan.reason
    if plan.exact or rule.keep is not None or not rule.objection(cost := cost_of([name])):
        return None
    replacement = "a gate alike at all places" if plan.done == FOLDED else "its state unchanged"
    return f"earns nothing, but {replacement} in its stead costs {interval_text(cost)} nats"


def _decision(value, plan, reason_to_stay):
    done, reason = (KEPT, reason_to_stay) if reason_to_stay else (plan.done, plan.reason)
    return {"done": done, "reason": reason} | {part: value[part] for part in ("value", "low", "high")}
