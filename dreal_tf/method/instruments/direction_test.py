"""Whether it helps to move an action as a critic advises: pushes, arms, and the intervention."""

import tensorflow as tf

from dreal_tf.method.critics.pairwise_axes import flat_rows

ARMS = 4  # Along the advice and against it; along random signs and against them.


def advised_change(kind, direction, size=0.5, axes=()):
    """A step of one size in every entry of an action, along a critic's direction.

    Args:
        kind: str, one of `dreal_tf.modules.ACTION_KINDS`.
        direction: float tensor (batch, ...), shaped like the action.
        size: float > 0. Length of the step in each entry (logits).
        axes: tuple of str, what the axes of a pairwise action stand for, see `StepSpec`: some have
            keys to which a query cannot attend, and which are no part of the mean.
    Returns:
        Float32 tensor of that shape: -size, 0 or size. What is said alike of all keys of a row does
        not move a softmax, so a pairwise direction counts from its mean over keys.
    Example:
        >>> advised_change("pairwise", np.float32([[[1.0, 3.0]]])).numpy().tolist()
        [[[-0.5, 0.5]]]
        >>> cross = np.float32([[0, 2, 3], [2, 0, 3]]).reshape(1, 2, 1, 3)
        >>> advised_change("pairwise", cross, axes=("rows", "columns", "cross"))[0, 0, 0].numpy().tolist()
        [0.0, -0.5, 0.5]
    """
    direction = tf.cast(direction, tf.float32)
    if kind == "pairwise":
        direction -= flat_rows(direction, axes)
    return size * tf.sign(tf.where(tf.math.is_finite(direction), direction, 0.0))


def random_change(change, seed):
    """The same step with random signs.

    Args:
        change: float tensor, from `advised_change`.
        seed: int tensor (2,).
    Returns:
        Float tensor: as far in every entry, and nowhere where that one does not move.
    Example:
        >>> tf.abs(random_change(tf.constant([[0.5, 0.0, -0.5]]), seed=(0, 1))).numpy().tolist()
        [[0.5, 0.0, 0.5]]
    """
    coins = tf.random.stateless_uniform(tf.shape(change), seed) < 0.5
    return tf.where(coins, change, -change)


def arms_of(change, seed):
    """The four changes that are tried, one after another along the first axis.

    Args:
        change: float tensor (n, ...), from `advised_change`.
        seed: int tensor (2,), of the random signs.
    Returns:
        Float tensor (4 n, ...).
    """
    random = random_change(change, seed)
    return tf.concat([change, -change, random, -random], axis=0)


def gains_of_arms(log_p):
    """What a step along the advice, and one along random signs, was worth.

    Args:
        log_p: float tensor (4 n,). Log probability of the label in each arm, as `arms_of` has them.
    Returns:
        Two float tensors (n,), in nats: half of what the step gains over the step back.
    Example:
        >>> advised, random = gains_of_arms(np.float32([-1, -3, -2, -2.5]))
        >>> float(advised[0]), float(random[0])
        (1.0, 0.25)
    """
    forth, back, random_forth, random_back = tf.split(log_p, ARMS)
    return (forth - back) / 2.0, (random_forth - random_back) / 2.0


class Moved:
    """An intervention (see `dreal_tf.layers.intervene`) that moves one step's action in each image.

    Args:
        modules: sequence of str, the module names of the steps.
        assigned: int32 tensor (n,). For each image of the pass the position in `modules` of the
            step to move.
        changes: list of float tensors, one per step: by how much (logits), for every image.
    Example:
        >>> actor, state = SqueezeExcite(2, name="gate"), np.random.rand(2, 4, 4, 8)
        >>> _, own = actor(state, return_action=True)
        >>> with intervene(Moved(["gate/se"], np.int32([0, -1]), [np.ones((2, 1, 1, 8))])):
        ...     _, moved = actor(state, return_action=True)
        >>> (moved.numpy() > own.numpy()).all(axis=3).ravel().tolist()
        [True, False]
    """

    def __init__(self, modules, assigned, changes):
        self.position = {module: position for position, module in enumerate(modules)}
        self.assigned = tf.convert_to_tensor(assigned)
        self.changes = changes

    def __call__(self, actor, index, state, action):
        position = self.position.get(actor.modules()[index])
        if position is None:
            return action
        moved = actor.moved_action(action, self.changes[position], index)
        chosen = tf.reshape(self.assigned == position, [-1] + [1] * (action.shape.rank - 1))
        return tf.where(chosen, moved, action)
