"""Prunes a Keras network: a copy of it without the attention modules that earn nothing."""

import math

from dreal_tf.analysis.audit import accuracy_difference
from dreal_tf.analysis.audited_network import audited, with_actors
from dreal_tf.deployment.pruning_plan import label_scores, plan_pruning
from dreal_tf.deployment.results import PrunedNetwork
from dreal_tf.networks.attaching import with_auxiliary_outputs
from dreal_tf.networks.backbones import plain_network
from dreal_tf.networks.flops import multiply_adds


def prune_network(
    network, data, rule, images=2000, data_dir=None, gates=None, loss=None, progress=None
):
    """Measures the modules of a network, and builds a copy without those that earn nothing.

    Args:
        network, data, images, data_dir, gates, loss: see `dreal_tf.analysis.audit.audit`.
        rule: `dreal_tf.deployment.pruning_rule.Rule`.
        progress: callable that passes on a sized iterable while it shows progress, or None.
    Returns:
        `PrunedNetwork`.
    Raises:
        InputError: if there is no such network, it has no attention, or the data is not its own.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> from dreal_tf.deployment.pruning_rule import Rule
        >>> pruned = prune_network(network, "digits_resnet8_se", Rule(keep=1), images=50)
        >>> [module["done"] for module in pruned.modules.values()].count("folded")
        2
    """
    if loss is None and getattr(network, "compiled", False):
        loss = network.loss
    attached = with_auxiliary_outputs(with_actors(network, gates))
    measured_on = audited(attached, images, data, data_dir, loss=loss)
    rule = rule._replace(unit="nats" if measured_on.task.unit == "nats" else "of the loss")
    plan = plan_pruning(attached, measured_on, rule, progress=progress)
    networks = [attached] if plan.network is None else [attached, plan.network]
    figures, correct = [], []
    for each in networks:
        score, is_correct = label_scores(each, measured_on.batches, measured_on.task)
        figures.append({"loss": -float(score.mean())} | _size(plain_network(each), measured_on))
        if is_correct is not None:
            correct.append(is_correct)
            figures[-1]["accuracy"] = float(is_correct.mean())
    return PrunedNetwork(
        network=plain_network(networks[-1]),
        threshold=rule.threshold,
        keep=rule.keep,
        images=plan.images,
        modules=plan.modules,
        cost=plan.cost,
        before=figures[0],
        after=figures[-1],
        difference=accuracy_difference(*reversed(correct)) if len(correct) == 2 else None,
    )


def _size(network, measured_on):
    return {
        "parameters": sum(math.prod(variable.shape) for variable in network.trainable_variables),
        "multiply_adds": multiply_adds(network, measured_on.calibration.shape[1:]),
    }
