"""The critic that compares actions, and two controls: a perfect critic and an ignorant one. [ours]"""

import keras
import tensorflow as tf
from keras import ops

from dreal_tf.method.critics.action_gradients import (
    action_gradient_head,
    pooled,
    pooled_shape,
    sharing_key,
)
from dreal_tf.method.critics.critic import Critic
from dreal_tf.method.critics.meta_critic import MetaCritic, summarize, summary_width
from dreal_tf.method.critics.pairwise import flat_rows
from dreal_tf.method.formulas import ablation_loss, comparison_loss
from dreal_tf.method.rows import (
    concat_rows,
    group_by_shape,
    sampled_rows,
    split_rows,
    sum_of_products,
)
from dreal_tf.method.types import CriticOutput
from dreal_tf.modules import SELECTIVE_AXES, ModuleOutput

EXPLORATION = ("reference", "noise", "noise", "noise")
# Added to the length of the error that differences are scaled by, so that predictions that are
# nearly certain do not get unbounded weight.
SMALLEST_ERROR = 0.02


@keras.saving.register_keras_serializable("dreal_tf")
class ComparativeCritic(Critic):
    """Q = V + <h, A - Ā>: a value, and an advantage that is linear in the action.

    The action gradient h is regressed on differences: <h, A - A'> + c on log p(A) - log p(A') for
    noisy counterfactuals A', where c is the average cost of any change, all relative to the length
    of the error. The value V fits the rest of the reward. All read the states, in depth order, and
    the error of the prediction; h is bilinear in the two, as the true gradient is, and vanishes with
    the error. A module's action enters its own h as a fixed feature only. The blocks of a stage share
    the weights of h; the memory of the blocks before tells them apart.

    Args:
        units: int >= 1. Width of encoders, memory and error embedding. Defaults to 64.
        grid: int >= 1. Side of the grid to which spatial and pairwise actions are averaged (cells).
        exploration: sequence of str, the kinds of counterfactual, see
            `dreal_tf.method.rewards.ActionReplacer`. A kind that is named twice is sampled twice as
            often. "reference" trains the value alone.
        noise: float > 0. Standard deviation of the kind "noise" (logits).
    Example:
        >>> critic = ComparativeCritic(units=8)
        >>> spec = ModuleSpec("conv2_1/se", "conv2", "channel", (4, 4, 6), (1, 1, 6))
        >>> critic.build([spec], classes=10)
        >>> ones = np.ones((2, 4, 4, 6), "float32")
        >>> privileged = PrivilegedInputs(labels=np.int32([3, 7]), errors=np.eye(10)[[3, 7]])
        >>> output = critic([ModuleOutput(ones, ones[:, :1, :1])], privileged)
        >>> tuple(output.critiques.shape), tuple(output.dq_da[0].shape)
        ((2, 1), (2, 1, 1, 6))
    Source: ours; `docs/critics.md` describes the experiments that led to it.
    """

    def __init__(self, units=64, grid=4, exploration=EXPLORATION, noise=0.5, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.units = units
        self.grid = grid
        self.exploration = tuple(exploration)
        self.noise = noise

    def build(self, module_specs, classes):
        self.specs = tuple(module_specs)
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
            groups.setdefault(sharing_key(spec), []).append(position)
        self.groups = list(groups.values())  # Positions of the modules that share a gate and a head.
        self.gates, self.heads = [], []
        for number, (first, *_) in enumerate(self.groups):
            width = self.units + summary_width(self.specs[first], self.grid)
            gate = keras.layers.Dense(self.units, dtype="float32", name=f"gate_{number}")
            gate.build((None, width))
            head = action_gradient_head(self.specs[first], self.units, name=f"direction_{number}")
            head.build((None, self.units))
            self.gates.append(gate)
            self.heads.append(head)

    def call(self, modules, privileged, samples=None):
        modules = [
            ModuleOutput(pooled(spec, state), action)
            for spec, (state, action) in zip(self.specs, modules, strict=True)
        ]
        errors = tf.cast(privileged.errors, tf.float32)  # (batch, classes)
        error = self.embedding(errors)  # (batch, units)
        memories = self.walk(modules)  # (batch, modules, units)
        memory_of = tf.unstack(memories, axis=1)  # (batch, units) each
        dq_da, advantages, sampled = [None] * len(modules), [None] * len(modules), []
        for positions, head, gate in self._together(modules):
            spec, count = self.specs[positions[0]], len(positions)
            state = concat_rows([modules[p].state for p in positions])  # (count · batch, H, W, C)
            action = concat_rows([modules[p].action for p in positions])  # (count · batch, ...)
            fixed = tf.stop_gradient(action)
            # The actor's own inputs: with them among the features of a least-squares critic the
            # policy gradient is unbiased (compatible features, Sutton et al. 2000).
            summary = summarize(spec, state, fixed, self.grid)
            memory = concat_rows([memory_of[p] for p in positions])
            gated = 1.0 + gate(tf.concat([memory, summary], axis=1))  # (count · batch, units)
            features, of_state = tf.tile(error, [count, 1]) * gated, head.features(state)
            gradient = head.gradient(head.query(features), of_state, fixed)  # As the action.
            gained = advantage(spec.kind, action, gradient, spec.axes)  # (count · batch,)
            for position, *of_module in zip(
                positions, split_rows(gradient, count), split_rows(gained, count), strict=True
            ):
                dq_da[position], advantages[position] = of_module
            if samples is not None:
                # The gradient of the sampled rows alone is computed again: the critic's own gradient
                # then goes through these few rows and not through those of the whole batch.
                batch = ops.shape(error)[0]
                entries, of_rows, rows = sampled_rows(positions, batch, samples)
                features, of_state, fixed = (
                    tf.gather(whole, rows) for whole in (features, of_state, fixed)
                )
                gradient = head.gradient(head.query(features), of_state, fixed)  # (m, ...)
                sampled.append((positions, entries, of_rows, gradient, fixed))
        # The value must not bend the features of h.
        repeated = tf.repeat(error[:, None, :], len(self.specs), axis=1)
        known = self.known(tf.stop_gradient(tf.concat([memories, repeated], axis=2)))
        value, cost = (tf.squeeze(head(known), axis=2) for head in (self.value, self.cost))
        size = tf.norm(errors, axis=1)  # (batch,)
        return CriticOutput(
            critiques=value + tf.stack(advantages, axis=1),
            dq_da=dq_da,
            predicted_differences=None if samples is None else sum_of_products(sampled, samples),
            costs=cost * size[:, None],
            scales=size + SMALLEST_ERROR,
        )

    def _together(self, modules):
        """The modules that share an operation: list of (positions, head, gate)."""
        group_of = {p: number for number, group in enumerate(self.groups) for p in group}
        # In a user's own network the maps of a stage may differ in size.
        shapes = [pooled_shape(spec, m.state) for spec, m in zip(self.specs, modules, strict=True)]
        keys = [(group_of[position], shape) for position, shape in enumerate(shapes)]
        together = group_by_shape([module.action for module in modules], keys)
        groups = [group_of[positions[0]] for positions in together]
        return [(p, self.heads[g], self.gates[g]) for p, g in zip(together, groups, strict=True)]

    def loss(self, output, samples):
        pairs = tf.stack([samples.images, samples.modules], axis=1)  # (n, 2)
        predicted = output.predicted_differences + tf.gather_nd(output.costs, pairs)  # (n,)
        explored = samples.mask * (1.0 - samples.ablated)
        # Differences are as large as the error is: unscaled, the few images with large errors would
        # dominate.
        scales = tf.gather(output.scales, samples.images)  # (n,)
        compared = comparison_loss(predicted / scales, samples.difference / scales, explored)
        return compared + ablation_loss(output.critiques, samples)

    def get_config(self):
        return super().get_config() | {
            "units": self.units,
            "grid": self.grid,
            "exploration": list(self.exploration),
            "noise": self.noise,
        }


def advantage(kind, action, gradient, axes=()):
    """First-order advantage of an action over the same action without selectivity.

    The gradient and the mean are held fixed, so the derivative with respect to the action is the
    gradient itself, and a regression on the sum moves the value alone.

    Args:
        kind: str, one of `ACTION_KINDS`.
        action: float tensor (batch, ...).
        gradient: float32 tensor of the same shape.
        axes: tuple of str, the meaning of each axis of a pairwise action, see `ModuleSpec`: some
            have keys to which a query cannot attend, and which are no part of the mean.
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
    products = tf.stop_gradient(gradient) * (action - tf.stop_gradient(flat))
    return tf.reduce_sum(products, axis=list(range(1, products.shape.rank)))


@keras.saving.register_keras_serializable("dreal_tf")
class DirectCritic(Critic):
    """No critic at all: the gradient of the score, taken through the network.

    Its critique is the first-order estimate of log p(A) - log p(Ā), the reward on its log scale.

    Args:
        units, grid: ignored; every critic takes them.
    Source: ours.
    """

    needs_true_action_gradients = True

    def __init__(self, units=None, grid=None, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))

    def build(self, module_specs, classes):
        self.specs = tuple(module_specs)

    def call(self, modules, privileged, samples=None):
        dq_da = privileged.true_action_gradients
        critiques = [
            advantage(spec.kind, module.action, gradient, spec.axes)
            for spec, module, gradient in zip(self.specs, modules, dq_da, strict=True)
        ]
        return CriticOutput(tf.stack(critiques, axis=1), dq_da)

    def loss(self, output, samples):
        return tf.constant(0.0)  # It has no weights.


@keras.saving.register_keras_serializable("dreal_tf")
class ShuffledCritic(ComparativeCritic):
    """The comparative critic, trained on the rewards of other images: it must not help.

    Args:
        units, grid, exploration, noise: see `ComparativeCritic`.
    Source: ours.
    """

    def loss(self, output, samples):
        # Images are sampled in random order, so the next one is any other.
        shuffled = ("difference", "reward", "correct", "ablated", "mask")
        others = {name: tf.roll(getattr(samples, name), 1, axis=0) for name in shuffled}
        # Relative to the error, as the other image's difference was, or its size would tell whose it is.
        scales = tf.gather(output.scales, samples.images)
        others["difference"] *= scales / tf.roll(scales, 1, axis=0)
        others["mask"] *= samples.mask
        return super().loss(output, samples._replace(**others))
