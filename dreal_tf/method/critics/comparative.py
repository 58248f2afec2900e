"""The critic that compares actions, so that its gradient is a direction worth climbing. [ours]"""

import keras
import tensorflow as tf

from dreal_tf.method.critics.critic import Critic, Verdict
from dreal_tf.method.critics.direction import direction_head, pooled, pooled_shape, sharing
from dreal_tf.method.critics.measured import differences_of_rows, measured_reward_loss
from dreal_tf.method.critics.meta_critic import MetaCritic
from dreal_tf.method.critics.pairwise_axes import flat_rows
from dreal_tf.method.critics.side_by_side import alike, laid, measured_rows, taken
from dreal_tf.method.critics.summary import summarize, summary_width
from dreal_tf.method.losses import comparison_loss
from dreal_tf.modules import SELECTIVE_AXES, Step

EXPLORATION = ("baseline", "noise", "noise", "noise")
# Added to the length of the error that differences are compared relative to, so that answers as
# good as certain do not count without end.
LEAST_ERROR = 0.02


@keras.saving.register_keras_serializable("dreal_tf")
class ComparativeCritic(Critic):
    """Q = V + <h, A - Ā>: a value, and an advantage that is linear in the action.

    The direction h is regressed on differences: <h, A - A'> + c on log p(A) - log p(A') for noisy
    alternatives A', where c takes up what any change costs on average, all relative to the length
    of the error. The value V takes up what is left of the reward. All read the states, in depth
    order, and what the answer got wrong; h is bilinear in the two, as the true gradient is, and
    vanishes with the error. The action of a step enters its own direction as a fixed feature only.
    The blocks of a stage share what makes their directions, told apart by the memory of what came
    before.

    Args:
        units: int >= 1. Width of encoders, memory and error embedding. Defaults to 64.
        grid: int >= 1. Side of the grid to which spatial and pairwise actions are averaged (cells).
        exploration: sequence of str, the alternatives, see `dreal_tf.method.rewards.Alternatives`. What it
            names twice is measured twice as often. The baseline teaches the value alone.
        noise: float > 0. Standard deviation of the alternative "noise" (logits).
    Example:
        >>> critic = ComparativeCritic(units=8)
        >>> spec = StepSpec("conv2_1/se", "conv2", "channel", (4, 4, 6), (1, 1, 6))
        >>> critic.build([spec], classes=10)
        >>> step = Step(np.ones((2, 4, 4, 6), "float32"), np.ones((2, 1, 1, 6), "float32"))
        >>> verdict = critic([step], Hindsight(labels=np.int32([3, 7]), errors=np.eye(10)[[3, 7]]))
        >>> tuple(verdict.critiques.shape), tuple(verdict.directions[0].shape)
        ((2, 1), (2, 1, 1, 6))
    Source: ours; see `docs/critics.md` for what led to it.
    """

    def __init__(self, units=64, grid=4, exploration=EXPLORATION, noise=0.5, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.units = units
        self.grid = grid
        self.exploration = tuple(exploration)
        self.noise = noise

    def build(self, step_specs, classes):
        self.specs = tuple(step_specs)
        self.embedding = keras.layers.Dense(self.units, use_bias=False, dtype="float32", name="errors")
        self.embedding.build((None, classes))
        self.walk = MetaCritic(self.units, self.grid, reads_actions=False, name="meta_critic")
        self.walk.build(self.specs)
        self.known = keras.layers.Dense(self.units, "relu", dtype="float32", name="known")
        self.known.build((None, None, 2 * self.units))
        self.value = keras.layers.Dense(1, dtype="float32", name="value")
        self.value.build((None, None, self.units))
        self.cost = keras.layers.Dense(1, dtype="float32", name="cost")
        self.cost.build((None, None, self.units))
        groups = {}
        for position, spec in enumerate(self.specs):
            groups.setdefault(sharing(spec), []).append(position)
        self.groups = list(groups.values())  # Positions of the steps that share a gate and a head.
        self.gates, self.heads = [], []
        for number, (first, *_) in enumerate(self.groups):
            width = self.units + summary_width(self.specs[first], self.grid)
            gate = keras.layers.Dense(self.units, dtype="float32", name=f"gate_{number}")
            gate.build((None, width))
            head = direction_head(self.specs[first], self.units, name=f"direction_{number}")
            head.build((None, self.units))
            self.gates.append(gate)
            self.heads.append(head)

    def call(self, steps, hindsight):
        steps = [
            Step(pooled(spec, state), action)
            for spec, (state, action) in zip(self.specs, steps, strict=True)
        ]
        wrong = self.embedding(tf.cast(hindsight.errors, tf.float32))  # (batch, units)
        walked = self.walk(steps)  # (batch, steps, units)
        features, memories = [], tf.unstack(walked, axis=1)
        directions, advantages = [None] * len(steps), [None] * len(steps)
        for positions, head, gate in self._together(steps):
            spec, count = self.specs[positions[0]], len(positions)
            state = laid([steps[position].state for position in positions])
            action = laid([steps[position].action for position in positions])
            # What the actor itself is a function of: with it among the features of a least-squares
            # critic, the policy gradient is unbiased (compatible features, Sutton et al. 2000).
            summary = summarize(spec, state, tf.stop_gradient(action), self.grid)
            memory = laid([memories[position] for position in positions])
            seen = gate(tf.concat([memory, summary], axis=1))
            known, own = tf.tile(wrong, [count, 1]) * (1.0 + seen), head.own(state)
            direction = head.advise(head.sought(known), own, tf.stop_gradient(action))
            gained = advantage(spec.kind, action, direction, spec.axes)
            features.append((known, own))
            for place, *of_step in zip(
                positions, taken(direction, count), taken(gained, count), strict=True
            ):
                directions[place], advantages[place] = of_step
        # What the value is fitted to has nothing to do with directions, and must not bend them.
        repeated = tf.repeat(wrong[:, None, :], len(self.specs), axis=1)
        known = self.known(tf.stop_gradient(tf.concat([walked, repeated], axis=2)))
        value, cost = (tf.squeeze(head(known), axis=2) for head in (self.value, self.cost))
        size = tf.norm(tf.cast(hindsight.errors, tf.float32), axis=1)  # (batch,)
        critiques = value + tf.stack(advantages, axis=1)
        return Verdict(critiques, directions, cost * size[:, None], size + LEAST_ERROR, features)

    def _together(self, steps):
        """Which steps are reckoned side by side: list of (positions, head, gate)."""
        group_of = {p: number for number, group in enumerate(self.groups) for p in group}
        # In a network of one's own the maps of a stage may differ in size.
        shapes = [pooled_shape(spec, s.state) for spec, s in zip(self.specs, steps, strict=True)]
        keys = [(group_of[position], shape) for position, shape in enumerate(shapes)]
        together = alike([step.action for step in steps], keys)
        groups = [group_of[positions[0]] for positions in together]
        return [(p, self.heads[g], self.gates[g]) for p, g in zip(together, groups, strict=True)]

    def loss(self, verdict, steps, measurement):
        predicted = self._predicted(verdict, steps, measurement)
        pairs = tf.stack([measurement.images, measurement.steps], axis=1)
        predicted += tf.gather_nd(verdict.costs, pairs)
        explored = measurement.counted * (1.0 - measurement.ablated)
        # Differences are as large as the error is: weighted least squares, or the few images that
        # are far from certain are all that the critic learns from.
        scales = tf.gather(verdict.scales, measurement.images)
        compared = comparison_loss(predicted / scales, measurement.difference / scales, explored)
        return compared + measured_reward_loss(verdict.critiques, measurement)

    def _predicted(self, verdict, steps, measurement):
        """`predicted_differences`, the directions made again where something was measured.

        The critic's gradient then goes through these few rows of each step, and not through the
        directions of the whole batch.
        """
        parts, batch = [], keras.ops.shape(verdict.critiques)[0]
        for (positions, head, _), (known, own) in zip(
            self._together(steps), verdict.features, strict=True
        ):
            entries, here, rows = measured_rows(positions, batch, measurement)
            action = tf.stop_gradient(laid([steps[position].action for position in positions]))
            known, own, action = (tf.gather(whole, rows) for whole in (known, own, action))
            direction = head.advise(head.sought(known), own, action)
            parts.append((positions, entries, here, direction, action))
        return differences_of_rows(parts, measurement)

    def get_config(self):
        return super().get_config() | {
            "units": self.units,
            "grid": self.grid,
            "exploration": list(self.exploration),
            "noise": self.noise,
        }


def advantage(kind, action, direction, axes=()):
    """First-order advantage of an action over the same action without selectivity.

    The comparison and the direction are held fixed, so the gradient with respect to the action is
    the direction itself, and what is regressed on the sum moves the value alone.

    Args:
        kind: str, one of `ACTION_KINDS`.
        action: float tensor (batch, ...).
        direction: float32 tensor of the same shape.
        axes: tuple of str, what the axes of a pairwise action stand for, see `StepSpec`: some have
            keys to which a query cannot attend, and which are no part of the mean.
    Returns:
        Float32 tensor (batch,), in nats.
    Example:
        >>> action = np.float32([0.25, 0.75]).reshape(1, 1, 1, 2)
        >>> advantage("channel", action, np.float32([0, 2]).reshape(1, 1, 1, 2)).numpy().tolist()
        [0.5]
    """
    action = tf.cast(action, tf.float32)
    if kind == "pairwise":
        flat = flat_rows(action, axes)
    else:
        flat = tf.reduce_mean(action, axis=SELECTIVE_AXES[kind], keepdims=True)
    products = tf.stop_gradient(direction) * (action - tf.stop_gradient(flat))
    return tf.reduce_sum(products, axis=list(range(1, products.shape.rank)))
