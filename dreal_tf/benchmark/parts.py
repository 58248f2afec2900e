"""The parts of a training step, from steps that end early; and what measuring one by one would cost."""

import functools

import numpy as np
import tensorflow as tf
from keras import ops

from dreal_tf.benchmark.turns import interleaved, timed
from dreal_tf.method.rewards import count_of_fraction

PARTS = ("factual_pass", "counterfactual_pass", "critic", "update")


def part_seconds(model, batch, rounds):
    """Seconds of the parts of a training step, and of one separate pass, turn by turn.

    A part is what a step that ends after it takes longer than one that ends before. The separate
    pass is what the naive way runs once for each step of the network: all of it again, at inference,
    for the images that are measured.

    Args:
        model: compiled `DREAL` with a critic, of one replica.
        batch: pair of tensors: images and labels.
        rounds: int >= 1. Turns.
    Returns:
        Dict of float arrays (rounds,): `factual_pass` (with its gradient), `counterfactual_pass`, `critic`
        (its own step and the gradient for the actors), `update` (of the network, and metrics), and
        `separate_pass`.
    """
    ends = {
        "factual_pass": _factual,
        "counterfactual_pass": _measured,
        "critic": _learnt,
        "update": _whole,
    }
    turns = {part: _turn_to(end, model, batch) for part, end in ends.items()}
    turns["separate_pass"] = _turn_to(_separate, model, batch)
    seconds = interleaved(turns, rounds)
    lengths = [np.zeros(rounds), *(seconds[part] for part in PARTS)]
    parts = {part: lengths[n + 1] - lengths[n] for n, part in enumerate(PARTS)}
    return parts | {"separate_pass": seconds["separate_pass"]}


def _turn_to(end, model, batch):
    # No lambda: TensorFlow tells functions apart by their code, and would warn of one traced often.
    step = tf.function(functools.partial(end, model), jit_compile=model.jit_compile)
    return timed(lambda: step(batch), wait=lambda result: float(tf.reduce_sum(result[0])))


def _factual(model, data):
    return _kept(model.factual_pass(data))


def _measured(model, data):
    factual = model.factual_pass(data)
    return [model.estimate_rewards(factual).difference, *_kept(factual)]


def _learnt(model, data):
    factual = model.factual_pass(data)
    result = model.update_critic(factual, model.estimate_rewards(factual))
    gradients = model.actor_gradients(factual, result)
    return [result.actor_loss, *_present(gradients), *_kept(factual)]


def _whole(model, data):
    return [model.train_step(data)["loss"]]


def _separate(model, data):
    images = tf.nest.flatten(data[0])[0]
    count = count_of_fraction(ops.shape(images)[0], model.settings.reward_fraction)
    return [model.network(images[:count], training=False)]


def _kept(factual):
    """What must be computed although nothing uses it here."""
    return [factual.loss, factual.outputs["logits"], *_present(factual.gradients)]


def _present(tensors):
    return [tensor for tensor in tensors if tensor is not None]
