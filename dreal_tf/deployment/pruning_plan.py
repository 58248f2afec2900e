"""The plan of a pruning: the attention modules that earn nothing, and the network without them."""

import functools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.analysis.audit import measure_differences, values_of
from dreal_tf.analysis.audited_network import over_classes
from dreal_tf.deployment.pruning_rule import chosen_actors, interval_text, jointly_removable
from dreal_tf.deployment.removal import FOLDED, KEPT, removal_plans, without_actors
from dreal_tf.errors import InputError
from dreal_tf.method.rewards import calibrated_modules
from dreal_tf.networks.backbones import actors_of, plain_network


def label_scores(network, batches, task=None):
    """How well a network predicts the labels of some images.

    Args:
        network: functional `keras.Model`, with auxiliary outputs or without.
        batches: iterable of (images, labels).
        task: `dreal_tf.analysis.audited_network.Task`; None: exclusive classes, from logits.
    Returns:
        Float64 array (n,): log p of the label (nats), or minus the loss of another task; and bool array (n,):
        whether it was predicted, None without exclusive classes.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> log_p, correct = label_scores(network, [(np.random.rand(4, 8, 8, 1), np.arange(4))])
        >>> bool((log_p < 0).all()), correct.dtype
        (True, dtype('bool'))
    """
    task = over_classes() if task is None else task
    run = tf.function(plain_network(network), reduce_retracing=True)
    scores, correct = [], []
    for images, labels in batches:
        outputs, labels = run(tf.cast(images, tf.float32), training=False), tf.cast(labels, tf.float32)
        scores.append(task.score(labels, outputs))
        if task.correct is not None:
            correct.append(task.correct(labels, outputs))
    return np.concatenate(scores).astype(np.float64), np.concatenate(correct) if correct else None


class PruningPlan(NamedTuple):
    """The modules to remove from a network, and the network without them.

    Attributes:
        blocks: tuple of str, the blocks that lose their attention, in depth order.
        modules: dict by module, in depth order, of dicts: `done` ("folded", "removed", "kept"),
            `reason`, and `value`, `low` and `high`: the cost of its static action (nats).
        images: int, images that they were evaluated on.
        network: functional `keras.Model` without these actors; None if none is removed.
        cost: dict, see `dreal_tf.analysis.audit.values_of`: the cost of that network on those images; None
            if none is removed.
    """

    blocks: tuple
    modules: dict
    images: int
    network: keras.Model | None = None
    cost: dict | None = None


def plan_pruning(network, measured_on, rule, seed=0, progress=None):
    """Evaluates every module of a network, and builds the network without those that earn nothing.

    A module's value is the cost of its static action. An actor that cannot be replaced by its static
    action itself is removed only if its actual replacement passes the same rule. The total cost of all
    removals must pass it too: until it does, the remaining actor of greatest value stays.

    Args:
        network: functional `keras.Model` with auxiliary outputs.
        measured_on: `dreal_tf.analysis.audited_network.Audited` of it: the images that decide what is
            removed, and those over which static actions are means.
        rule: `dreal_tf.deployment.pruning_rule.Rule`.
        seed: int, of the bootstrap.
        progress: callable that passes on a sized iterable while it shows progress, or None.
    Returns:
        `PruningPlan`.
    Raises:
        InputError: if the network has no attention, or fewer modules than are to stay.
    """
    actors = {actor.name: actor.modules() for actor in actors_of(network)}
    _check_count(rule, sum(map(len, actors.values())))
    batches, task = measured_on.batches, measured_on.task
    specs, static = calibrated_modules(measured_on.network, measured_on.calibration)
    groups = [(spec.module,) for spec in specs]
    with_own = measure_differences(
        measured_on.network, batches, static, groups, task, progress, baselines=("static",)
    )
    score, correct = with_own.score, with_own.correct
    of_groups = values_of(
        with_own.differences["static"], correct, with_own.correct_without["static"], seed
    )
    values = {module: value for (module,), value in zip(groups, of_groups, strict=True)}
    plans = removal_plans(network, static)

    def without(names):
        return without_actors(network, {name: plans[name] for name in names})

    @functools.cache  # The last one asked for by the rule is the plan's.
    def measured_cost(names):
        score_without, correct_without = label_scores(without(names), batches, task)
        if correct is not None:
            correct_without = correct_without[:, None]
        return values_of((score - score_without)[:, None], correct, correct_without, seed)[0]

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
    return PruningPlan(blocks, modules, len(score), *smaller)


def _check_count(rule, modules):
    """Refuses an impossible number to keep before anything is measured."""
    if not modules:
        raise InputError(
            "Expected a network with attention. Received: one without, or all of it was pruned. There "
            "is nothing to prune; give another network."
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
    return f"earns nothing, but {replacement} in its stead costs {interval_text(cost)} {rule.unit}"


def _decision(value, plan, reason_to_stay):
    done, reason = (KEPT, reason_to_stay) if reason_to_stay else (plan.done, plan.reason)
    return {"done": done, "reason": reason} | {part: value[part] for part in ("value", "low", "high")}
