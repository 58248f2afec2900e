"""The files of a pruned run."""

import json
import shutil

import numpy as np
import tensorflow as tf

from dreal_tf.builder import build_network
from dreal_tf.evaluation import evaluate_splits
from dreal_tf.networks.backbones import plain_network
from dreal_tf.pruning.figures import figures_of
from dreal_tf.pruning.pruned_recipe import fine_tuning
from dreal_tf.run_directory import write_whole
from dreal_tf.training import keep_network

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
