"""The direction test: whether perturbing an action along dQ/dA raises the score more than by chance."""

import tensorflow as tf

from dreal_tf.method.critics.pairwise_axes import flat_rows
from dreal_tf.method.rows import expand_dims_like

ARMS = 4  # Along dQ/dA and against it; along random signs and against them.


def perturbation_along(kind, dq_da, size=0.5, axes=()):
    """A perturbation of one size in every entry of an action, along the sign of dQ/dA.

    Args:
        kind: str, one of `dreal_tf.modules.ACTION_KINDS`.
        dq_da: float tensor (batch, ...), shaped like the action.
        size: float > 0. Size in each entry (logits).
        axes: tuple of str, the meaning of each axis of a pairwise action, see `ModuleSpec`: some
            have keys to which a query cannot attend, and which are no part of the mean.
    Returns:
        Float32 tensor of that shape: -size, 0 or size. A gradient that is equal for all keys of a
        row does not move a softmax, so the mean over keys is subtracted from a pairwise gradient.
    Example:
        >>> perturbation_along("pairwise", np.float32([[[1.0, 3.0]]])).numpy().tolist()
        [[[-0.5, 0.5]]]
        >>> cross = np.float32([[0, 2, 3], [2, 0, 3]]).reshape(1, 2, 1, 3)
        >>> axes = ("rows", "columns", "cross")
        >>> perturbation_along("pairwise", cross, axes=axes)[0, 0, 0].numpy().tolist()
        [0.0, -0.5, 0.5]
    """
    dq_da = tf.cast(dq_da, tf.float32)
    if kind == "pairwise":
        dq_da -= flat_rows(dq_da, axes)
    return size * tf.sign(tf.where(tf.math.is_finite(dq_da), dq_da, 0.0))


def random_perturbation(perturbation, seed):
    """The same perturbation with random signs.

    Args:
        perturbation: float tensor, from `perturbation_along`.
        seed: int tensor (2,).
    Returns:
        Float tensor: as large in every entry, and 0 where that one is 0.
    Example:
        >>> along = tf.constant([[0.5, 0.0, -0.5]])
        >>> tf.abs(random_perturbation(along, seed=(0, 1))).numpy().tolist()
        [[0.5, 0.0, 0.5]]
    """
    coins = tf.random.stateless_uniform(tf.shape(perturbation), seed) < 0.5
    return tf.where(coins, perturbation, -perturbation)


def perturbations_of_arms(along, seed):
    """The perturbations of the four arms, one arm after another along the first axis.

    Args:
        along: float tensor (n, ...), from `perturbation_along`.
        seed: int tensor (2,), of the random signs.
    Returns:
        Float tensor (4 n, ...).
    """
    random = random_perturbation(along, seed)
    return tf.concat([along, -along, random, -random], axis=0)


def gains_of_arms(scores):
    """The gain of a perturbation along dQ/dA, and of one along random signs.

    Args:
        scores: float tensor (4 n,). Score in each arm, as `perturbations_of_arms` orders them.
    Returns:
        Two float tensors (n,), in nats: half the difference between the arm and the opposite arm.
    Example:
        >>> along, random = gains_of_arms(np.float32([-1, -3, -2, -2.5]))
        >>> float(along[0]), float(random[0])
        (1.0, 0.25)
    """
    forth, back, random_forth, random_back = tf.split(scores, ARMS)
    return (forth - back) / 2.0, (random_forth - random_back) / 2.0


class PerturbedActions:
    """An intervention (see `dreal_tf.layers.intervene`) that perturbs one module's action in each image.

    Args:
        modules: sequence of str, the module names.
        positions: int32 tensor (n,). For each image of the pass the position in `modules` of the
            module to perturb; -1 for none.
        perturbations: list of float tensors (n, ...), one per module (logits).
    Example:
        >>> actor, state = SqueezeExcite(2, name="gate"), np.random.rand(2, 4, 4, 8)
        >>> _, own = actor(state, return_action=True)
        >>> ones = [np.ones((2, 1, 1, 8))]
        >>> with intervene(PerturbedActions(["gate/se"], np.int32([0, -1]), ones)):
        ...     _, perturbed = actor(state, return_action=True)
        >>> (perturbed.numpy() > own.numpy()).all(axis=3).ravel().tolist()
        [True, False]
    """

    def __init__(self, modules, positions, perturbations):
        self.position_of = {module: position for position, module in enumerate(modules)}
        self.positions = tf.convert_to_tensor(positions)
        self.perturbations = perturbations

    def __call__(self, actor, index, state, action):
        position = self.position_of.get(actor.modules()[index])
        if position is None:
            return action
        perturbed = actor.perturb_action(action, self.perturbations[position], index)
        chosen = expand_dims_like(self.positions == position, action)
        return tf.where(chosen, perturbed, action)
