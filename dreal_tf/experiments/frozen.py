"""Experiments on a trained network that stays frozen: all of it, or all but its attention."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.data.splits import sample_examples
from dreal_tf.layers import intervene
from dreal_tf.method.formulas import per_example_score, targets_of
from dreal_tf.model import DREAL, FactualPass
from dreal_tf.networks.backbones import actors_of
from dreal_tf.training.builder import build_network

AT_A_TIME = 500  # Images per pass of the network.
INSTRUMENTED = 250  # Images per pass of the instruments: the direction test makes four passes of each.
# Quantities of the instruments that a row keeps, a column for each module; see `dreal_tf.method.instruments`.
INSTRUMENTS = ("alignment", "alignment_positive", "r2", "r2_right", "r2_held", "direction")


@keras.saving.register_keras_serializable("dreal_tf")
class FrozenDREAL(DREAL):
    """Trains the critic on L_r, and the actors on the critic alone: L_r and L_q without L_c.

    The network runs in inference mode, so that its moving averages stay as well. All layers but the
    actors are marked as not trainable.

    Args:
        network: see `DREAL`; its weights are those of a trained network.
        critic: see `DREAL`; not None.
        wait: int >= 0. Steps in which the critic learns alone, before the actors follow it.
        settings: of `DREAL`. At `actor_weight=0` the actors do not move.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> model = FrozenDREAL(network, "paper", actor_weight=1.0)
        >>> sorted({variable.path.split("/")[0] for variable in network.trainable_variables})
        ['conv2_1_se', 'conv3_1_se', 'conv4_1_se']
    """

    def __init__(self, network, critic="paper", wait=0, **settings):
        super().__init__(network, critic, **settings)
        self.wait = wait
        actors = {actor.name for actor in self.trajectory.actors}
        for layer in network.layers:
            if layer.name not in actors:
                layer.trainable = False

    @classmethod
    def of(cls, model, wait=0, **changes):
        """The same network and critic, frozen.

        Args:
            model: `DREAL`, such as `build` gives.
            wait: int >= 0.
            changes: settings of `DREAL` to change.
        Returns:
            `FrozenDREAL`, to be compiled.
        """
        settings = model.settings.to_dict() | changes
        return cls(model.trajectory_network, model.critic, wait, **settings)

    def factual_pass(self, data):
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            outputs = self.reward_estimator.factual(images)
            targets = targets_of(labels, outputs["logits"].shape[-1], sample_weight)
            scores = self._scores(outputs["logits"], targets)
        loss = self.task_loss(images, labels, outputs, sample_weight, training=False)
        privileged = self._privileged_inputs(tape, scores, outputs, targets)
        return FactualPass(images, labels, sample_weight, outputs, targets, loss, privileged=privileged)

    def update_network(self, factual, actor_gradients=None, weight=None, available=()):
        theta = self.trajectory.variables
        gradients = [tf.zeros_like(variable) for variable in theta]
        for position, gradient in enumerate(actor_gradients):
            if gradient is not None:
                gradients[position] = weight * gradient
        # At weight 0 as well: it counts the steps, on which the sampling plans depend.
        self.optimizer.apply(gradients, theta)

    def actor_weight(self):
        critic_alone = self.optimizer.iterations < self.wait
        return tf.where(critic_alone, 0.0, super().actor_weight())

    def get_config(self):
        return super().get_config() | {"wait": self.wait}


def reinitialise(model, recipe, seed):
    """Re-initialises the weights that make the actions, as the actors' layers first did.

    Weights that only use an action, such as the values that attention mixes, stay as they were trained:
    the actor loss could never bring them back.

    Args:
        model: `DREAL` on a network of the recipe.
        recipe: `dreal_tf.Recipe`.
        seed: int.
    """
    network = model.trajectory_network
    keras.utils.set_random_seed(seed)
    shape, classes = network.input_shape[1:], model.network.output_shape[-1]
    fresh = {actor.name: actor for actor in actors_of(build_network(recipe, shape, classes))}
    paths = action_variables(network, model.trajectory)
    for actor in {id(actor): actor for actor in model.trajectory.actors}.values():
        for variable, new in zip(actor.variables, fresh[actor.name].variables, strict=True):
            if variable.path in paths:
                variable.assign(new)


def action_variables(network, trajectory):
    """The variables that the actions are functions of, given the states.

    Args:
        network: functional `keras.Model` with auxiliary outputs, of a known image size.
        trajectory: `dreal_tf.networks.backbones.Trajectory`, whose actors are trainable.
    Returns:
        Set of str, the paths of variables; with the scale of a BatchNorm also its moving averages.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=NonLocal())
        >>> paths = action_variables(network, Trajectory(network, stages=["conv3"]))
        >>> sorted(path for path in paths if path.endswith("kernel"))
        ['conv3_1_non_local/phi/kernel', 'conv3_1_non_local/theta/kernel']
    """
    images = tf.random.stateless_normal((2, *network.input_shape[1:]), seed=(0, 0))
    with tf.GradientTape() as tape:
        actions = trajectory.propose_again(network(images, training=False), training=False)
        total = tf.add_n([tf.reduce_sum(tf.cast(action, tf.float32)) for action in actions])
    gradients = tape.gradient(total, trajectory.variables)
    paths = {
        variable.path
        for variable, gradient in zip(trajectory.variables, gradients, strict=True)
        if gradient is not None
    }
    norms = {path.removesuffix("gamma") for path in paths if path.endswith("/gamma")}
    return paths | {f"{norm}moving_{name}" for norm in norms for name in ("mean", "variance")}


class HeldOut(NamedTuple):
    """Images with their labels.

    Attributes:
        images: float array (n, height, width, channels).
        labels: int32 array (n,).
    """

    images: object
    labels: object

    def batches(self):
        """Pairs of images and labels, a few hundred at a time."""
        for start in range(0, len(self.labels), AT_A_TIME):
            part = slice(start, start + AT_A_TIME)
            yield self.images[part], self.labels[part]


def draw_held_out(data, count, seed):
    """A random sample of the test images, in random order, so that classes are mixed.

    Args:
        data: `dreal_tf.data.splits.Splits`.
        count: int. Size of the sample, at most.
        seed: int.
    Returns:
        `HeldOut`.
    Example:
        >>> data = build_data(load_recipe("digits_resnet8_se"))
        >>> len(draw_held_out(data, 40, seed=0).labels)
        40
    """
    return HeldOut(*sample_examples(data.test, data.sizes["test"], count, seed))


class Quality(NamedTuple):
    """How well a network classifies images.

    Attributes:
        accuracy: float in [0, 1].
        log_p: float. Mean log probability of the true label (nats).
        log_p_ablated: float. The same with every action replaced by its own mean at once.
    """

    accuracy: float
    log_p: float
    log_p_ablated: float


class NetworkEvaluator:
    """Measures the quality of a network on the same images at any time during its training.

    Args:
        network: functional `keras.Model` with auxiliary outputs, ending in logits.
        held_out: `HeldOut`.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> held_out = HeldOut(np.random.rand(6, 8, 8, 1), np.arange(6, dtype="int32"))
        >>> NetworkEvaluator(network, held_out)().log_p < 0
        True
    """

    def __init__(self, network, held_out):
        self.network = network
        self.held_out = held_out
        self._plain = tf.function(self._pass)
        self._ablated = tf.function(self._ablated_pass)

    def __call__(self):
        """`Quality` of the network as it is now."""
        plain = [self._plain(*batch) for batch in self.held_out.batches()]
        ablated = [self._ablated(*batch) for batch in self.held_out.batches()]
        log_p, correct = (np.concatenate(part).astype(float) for part in zip(*plain, strict=True))
        log_p_ablated = np.concatenate([part[0] for part in ablated]).astype(float)
        return Quality(float(correct.mean()), float(log_p.mean()), float(log_p_ablated.mean()))

    def _pass(self, images, labels):
        logits = self.network(images, training=False)["logits"]
        log_p = per_example_score(labels, logits, from_logits=True)
        return log_p, tf.argmax(logits, axis=1, output_type=tf.int32) == labels

    def _ablated_pass(self, images, labels):
        def mean_action(actor, index, state, action):
            return actor.reference_action(action, "mean", index)

        with intervene(mean_action):
            return self._pass(images, labels)


def critic_quality(model, held_out):
    """How well a critic predicts rewards and directions, by the instruments, on all held-out images.

    Args:
        model: compiled `DREAL` that evaluates and instruments every image
            (`validation_fraction=1.0, instrument_fraction=1.0`).
        held_out: `HeldOut`.
    Returns:
        Dict of float, by columns such as `alignment/conv2_1/se`.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> whole = {"validation_fraction": 1.0, "instrument_fraction": 1.0}
        >>> model = FrozenDREAL(network, "direct", **whole)
        >>> model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> held_out = HeldOut(np.random.rand(6, 8, 8, 1), np.arange(6, dtype="int32"))
        >>> round(critic_quality(model, held_out)["alignment/conv2_1/se"], 3)
        1.0
    """
    logs = model.evaluate(
        held_out.images, held_out.labels, batch_size=INSTRUMENTED, verbose=0, return_dict=True
    )
    return {
        name: float(logs[name])
        for quantity in INSTRUMENTS
        for name in logs
        if name.partition("/")[0] == quantity
    }
