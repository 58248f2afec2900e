"""Attention drawn anew in a trained network."""

import keras
import tensorflow as tf

from dreal_tf.networks.backbones import actors_of
from dreal_tf.training.builder import build_network


def reinitialise(model, recipe, seed):
    """Draws anew what makes the actions of the judged actors, as their layers first did.

    What only uses an action, such as the values that attention mixes, stays as it was trained: the
    actor loss could never bring it back.

    Args:
        model: `DREAL` on a network of the recipe.
        recipe: `dreal_tf.Recipe`.
        seed: int.
    """
    network = model.trajectory_network
    keras.utils.set_random_seed(seed)
    shape, classes = network.input_shape[1:], model.network.output_shape[-1]
    fresh = {actor.name: actor for actor in actors_of(build_network(recipe, shape, classes))}
    made_of = makers_of_actions(network, model.trajectory)
    for actor in {id(actor): actor for actor in model.trajectory.actors}.values():
        for variable, new in zip(actor.variables, fresh[actor.name].variables, strict=True):
            if variable.path in made_of:
                variable.assign(new)


def makers_of_actions(network, trajectory):
    """The variables which the actions are functions of, given the states.

    Args:
        network: functional `keras.Model` with auxiliary outputs, of a known image size.
        trajectory: `dreal_tf.networks.backbones.Trajectory`, whose actors are trainable.
    Returns:
        Set of str, the paths of variables; BatchNorm's averages are among them where its scale is.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=NonLocal())
        >>> found = makers_of_actions(network, Trajectory(network, stages=["conv3"]))
        >>> sorted(path for path in found if path.endswith("kernel"))
        ['conv3_1_non_local/phi/kernel', 'conv3_1_non_local/theta/kernel']
    """
    images = tf.random.stateless_normal((2, *network.input_shape[1:]), seed=(0, 0))
    with tf.GradientTape() as tape:
        actions = trajectory.propose_again(network(images, training=False), training=False)
        total = tf.add_n([tf.reduce_sum(tf.cast(action, tf.float32)) for action in actions])
    gradients = tape.gradient(total, trajectory.variables)
    made_of = {
        variable.path
        for variable, gradient in zip(trajectory.variables, gradients, strict=True)
        if gradient is not None
    }
    norms = {path.removesuffix("gamma") for path in made_of if path.endswith("/gamma")}
    return made_of | {f"{norm}moving_{name}" for norm in norms for name in ("mean", "variance")}
