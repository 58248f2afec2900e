"""Plans a pruning: which attention modules are removed, and the evidence for it."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.analysis.audit import IMAGES_AT_A_TIME, audit, calibration_images, values_of
from dreal_tf.data.splits import sample_batches
from dreal_tf.deployment.removal import FOLDED, KEPT, removal_plans, without_actors
from dreal_tf.errors import InputError
from dreal_tf.method.formulas import per_example_score
from dreal_tf.method.rewards import static_actions
from dreal_tf.networks.backbones import actors_of, plain_network


class CostEvaluator:
    """Measures the cost of replacing a network by a smaller one, on the same images.

    Args:
        network: functional `keras.Model` with auxiliary outputs, ending in logits.
        batches: iterable of (images, int labels), at least two images in all.
        seed: int, of the bootstrap.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> evaluator = CostEvaluator(network, [(np.random.rand(4, 8, 8, 1), np.arange(4))])
        >>> evaluator.cost(network)["value"]
        0.0
    """

    def __init__(self, network, batches, seed=0):
        self.batches = batches
        self.seed = seed
        self.log_p, self.correct = self._evaluate(network)

    def cost(self, smaller):
        """The cost of `smaller`.

        Returns:
            Dict, see `dreal_tf.analysis.audit.values_of`: `value`, the mean fall of log p of the label
            (nats), its interval, `accuracy_drop`, and so on.
        """
        log_p, correct = self._evaluate(smaller)
        return values_of((self.log_p - log_p)[:, None], self.correct, correct[:, None], self.seed)[0]

    def _evaluate(self, network):
        """log p of the labels, float64 (n,), and whether they were predicted, bool (n,)."""
        run = tf.function(plain_network(network), reduce_retracing=True)
        log_p, correct = [], []
        for images, labels in self.batches:
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
        cost: dict, see `CostEvaluator`: the cost of that network on those images; None if none is
            removed.
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
        rule: `dreal_tf.deployment.pruning_request.Rule`.
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
    batches = sample_batches(validation.test, validation.sizes["test"], images, IMAGES_AT_A_TIME, seed)
    evaluator = CostEvaluator(network, batches, seed)

    def without(names):
        return without_actors(network, {name: plans[name] for name in names})

    def cost_of(names):
        return evaluator.cost(without(names))

    removed, kept = chosen_actors(actors, values, rule)
    for name in list(removed):
        if objection := _objection(name, plans[name], cost_of, rule):
            removed.remove(name)
            kept |= dict.fromkeys(actors[name], objection)
    best = {name: max(values[module]["value"] for module in actors[name]) for name in removed}
    removed, objections = jointly_removable(removed, best, cost_of, rule)
    for name, objection in objections.items():
        kept |= dict.fromkeys(actors[name], objection)
    modules = {
        module: _decision(values[module], plans[name], kept.get(module))
        for name, members in actors.items()
        for module in members
    }
    blocks = tuple(actors[name][0].split("/")[0] for name in actors if name in removed)
    plan = PruningPlan(blocks, modules, audited["images"])
    if not removed:
        return plan
    smaller = without(removed)
    return plan._replace(network=smaller, cost=evaluator.cost(smaller))


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
    return data._replace(test=validation, sizes=data.sizes | {"test": data.sizes["validation"]})


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


def chosen_actors(actors, values, rule):
    """The actors whose modules earn nothing by themselves; an actor of several modules is not split.

    Args:
        actors: dict of tuples of str: the modules of each actor, by its name.
        values: dict by module of dicts of `value`, `low` and `high` (nats).
        rule: `dreal_tf.deployment.pruning_request.Rule`.
    Returns:
        List of str, the actors to remove; and a dict by module of the reasons why the others stay.
    Example:
        >>> actors = {"b_cbam": ("b/cbam_channel", "b/cbam_spatial")}
        >>> values = {"b/cbam_channel": {"value": 0.0, "low": 0.0, "high": 0.0},
        ...           "b/cbam_spatial": {"value": 0.5, "low": 0.4, "high": 0.6}}
        >>> chosen_actors(actors, values, Rule())[1]["b/cbam_channel"]
        'earns nothing, but its layer goes whole or not at all, and b/cbam_spatial stays'
    """
    if rule.keep is None:
        kept = {module: rule.objection(value) for module, value in values.items()}
        kept = {module: reason for module, reason in kept.items() if reason}
    else:
        ranked = sorted(values, key=lambda module: values[module]["value"], reverse=True)
        kept = dict.fromkeys(ranked[: rule.keep], f"of the {rule.keep} of greatest value")
    removed = []
    for actor, modules in actors.items():
        staying = [module for module in modules if module in kept]
        if not staying:
            removed.append(actor)
            continue
        for module in modules:
            reason = f"earns nothing, but its layer goes whole or not at all, and {staying[0]} stays"
            kept.setdefault(module, reason)
    return removed, kept


def jointly_removable(names, values, cost_of, rule):
    """The actors that may be removed together: until their cost passes, that of greatest value stays.

    Args:
        names: sequence of str, names of actors.
        values: dict of float by name (nats).
        cost_of: callable from a list of names to the cost of removing them together, a dict of `value`,
            `low` and `high` (nats).
        rule: `dreal_tf.deployment.pruning_request.Rule`.
    Returns:
        List of str, the actors to remove; and a dict by name of the reasons why the others stay.
    Example:
        >>> def cost_of(names):
        ...     return {"value": len(names) - 1.0, "low": len(names) - 1.5, "high": len(names) - 0.5}
        >>> jointly_removable(["a", "b"], {"a": 0.2, "b": 0.1}, cost_of, Rule())
        (['b'], {'a': 'earns nothing alone; with others that go it costs 1.0000 [0.5000, 1.5000] nats'})
    """
    removed, kept = list(names), {}
    while removed and rule.objection(cost := cost_of(removed)):
        best = max(removed, key=values.get)
        removed.remove(best)
        kept[best] = f"earns nothing alone; with others that go it costs {_interval(cost)} nats"
    return removed, kept


def _interval(value):
    return f"{value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"


def _objection(name, plan, cost_of, rule):
    """The reason why an actor that earns nothing stays all the same, or None."""
    if plan.done == KEPT:
        return plan.reason
    if plan.exact or rule.keep is not None or not rule.objection(cost := cost_of([name])):
        return None
    replacement = "a gate alike at all places" if plan.done == FOLDED else "its state unchanged"
    return f"earns nothing, but {replacement} in its stead costs {_interval(cost)} nats"


def _decision(value, plan, reason_to_stay):
    done, reason = (KEPT, reason_to_stay) if reason_to_stay else (plan.done, plan.reason)
    return {"done": done, "reason": reason} | {part: value[part] for part in ("value", "low", "high")}
