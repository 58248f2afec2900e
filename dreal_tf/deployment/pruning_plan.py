"""The plan of a pruning: which attention modules are dropped, and the evidence for it."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dreal_tf.analysis.audit import IMAGES_AT_A_TIME, audit, calibration_images, values_of
from dreal_tf.data import drawn_batches
from dreal_tf.deployment.pruning_request import agreed_actors, chosen_actors, shown
from dreal_tf.deployment.removal import FOLDED, KEPT, ways_out, without_actors
from dreal_tf.errors import InputError
from dreal_tf.method.formulas import per_example_score
from dreal_tf.method.rewards import static_actions
from dreal_tf.networks.backbones import actors_of, plain_network


def judged_on_validation(data):
    """Data whose test split is the validation split: what is chosen has not seen the real one.

    Args:
        data: `dreal_tf.data.Splits`.
    Returns:
        `dreal_tf.data.Splits`; labels of the test split are ints.
    Example:
        >>> data = judged_on_validation(build_data(load_recipe("digits_resnet8_se")))
        >>> data.sizes["test"] == data.sizes["validation"]
        True
    """
    validation = data.validation
    if data.soft_labels:
        validation = validation.map(lambda images, rows: (images, tf.argmax(rows, axis=1)))
    return data._replace(test=validation, sizes=data.sizes | {"test": data.sizes["validation"]})


class Judge:
    """What a network loses where a smaller one takes its place, on the same images.

    Args:
        network: functional `keras.Model` with auxiliary outputs, ending in logits.
        batches: iterable of (images, int labels), at least two images in all.
        seed: int, of the bootstrap.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> judge = Judge(network, [(np.random.rand(4, 8, 8, 1), np.arange(4))])
        >>> judge.cost(network)["value"]
        0.0
    """

    def __init__(self, network, batches, seed=0):
        self.batches = batches
        self.seed = seed
        self.log_p, self.right = self._answers(network)

    def cost(self, smaller):
        """What `smaller` costs.

        Returns:
            Dict, see `dreal_tf.auditing.values.values_of`: `value`, the mean fall of log p of the
            label (nats), its interval, `accuracy_drop`, and so on.
        """
        log_p, right = self._answers(smaller)
        return values_of((self.log_p - log_p)[:, None], self.right, right[:, None], self.seed)[0]

    def _answers(self, network):
        run = tf.function(plain_network(network), reduce_retracing=True)
        log_p, right = [], []
        for images, labels in self.batches:
            labels = tf.cast(labels, tf.int32)
            logits = run(tf.cast(images, tf.float32), training=False)
            log_p.append(per_example_score(labels, logits, from_logits=True))
            right.append(tf.argmax(logits, axis=1, output_type=tf.int32) == labels)
        return np.concatenate(log_p).astype(np.float64), np.concatenate(right)


class Plan(NamedTuple):
    """What is to be taken out of a network.

    Attributes:
        places: tuple of str, the blocks that go without attention then, in depth order.
        modules: dict by module, in depth order, of dicts: `done` ("folded", "removed", "kept"),
            `reason`, and `value`, `low` and `high`: what its static action costs (nats).
        images: int, validation images that they were judged on.
        network: functional `keras.Model` without these actors; None where there are none.
        cost: dict, see `dreal_tf.pruning.evidence.Judge`: what that network costs on those images;
            None where there is none.
    """

    places: tuple
    modules: dict
    images: int
    network: object = None
    cost: dict | None = None


def plan_pruning(network, data, rule, images=2000, seed=0, track=None):
    """Judges every module of a network and works out the network without those that are to go.

    What a module is worth is what its static action costs. Where an actor cannot be taken out by its
    static action itself, what takes its place is judged by the same rule. So is what all that is to
    go costs together: while that is above the threshold, the actor worth most of them stays.

    Args:
        network: functional `keras.Model` with auxiliary outputs, ending in logits.
        data: `dreal_tf.data.Splits` it was trained on, training images not varied. Static actions are
            means over training images; validation images judge.
        rule: `Rule`.
        images: int >= 2. Validation images, at most.
        seed: int. Which images are drawn, and of the bootstrap.
        track: callable that passes on the items of a sized iterable while it shows progress, or None.
    Returns:
        `Plan`.
    Raises:
        InputError: if the network has no attention, or more modules are to stay than there are.
    """
    actors = {actor.name: actor.modules() for actor in actors_of(network)}
    _check_count(rule, sum(map(len, actors.values())))
    judged = judged_on_validation(data)
    found = audit(network, images, judged, track=track, seed=seed)
    values = {module: value["static"] for module, value in found["modules"].items()}
    ways = ways_out(network, static_actions(network, calibration_images(data)))
    going, kept = chosen_actors(actors, values, rule)
    batches = drawn_batches(judged.test, judged.sizes["test"], images, IMAGES_AT_A_TIME, seed)
    judge = Judge(network, batches, seed)
    objections = {n: _objection(network, n, ways[n], judge, rule) for n in going}
    going = [name for name in going if objections[name] is None]
    worth = {name: max(values[module]["value"] for module in actors[name]) for name in going}

    def without(names):
        return without_actors(network, {name: ways[name] for name in names})

    going, others = agreed_actors(going, worth, lambda names: judge.cost(without(names)), rule)
    for name, reason in (objections | others).items():
        kept |= dict.fromkeys(actors[name], reason) if reason else {}
    modules = {m: _noted(values[m], ways[n], kept.get(m)) for n, steps in actors.items() for m in steps}
    places = tuple(actors[name][0].split("/")[0] for name in actors if name in going)
    plan = Plan(places, modules, found["images"])
    if not going:
        return plan
    smaller = without(going)
    return plan._replace(network=smaller, cost=judge.cost(smaller))


def _check_count(rule, modules):
    """Refuses, before anything is measured, a number that cannot be kept."""
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


def _noted(value, way, reason_to_stay):
    done = (KEPT, reason_to_stay) if reason_to_stay else (way.done, way.reason)
    return {
        "done": done[0],
        "reason": done[1],
        **{part: value[part] for part in ("value", "low", "high")},
    }


def _objection(network, name, way, judge, rule):
    """Why an actor that earns nothing stays all the same, or None."""
    if way.done == KEPT:
        return way.reason
    if way.exact or rule.keep is not None:
        return None
    cost = judge.cost(without_actors(network, {name: way}))
    if not rule.objection(cost):
        return None
    place = "a gate alike at all places" if way.done == FOLDED else "its state unchanged"
    return f"earns nothing, but {place} in its stead costs {shown(cost)} nats"
