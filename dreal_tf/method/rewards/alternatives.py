"""Alternative actions: the action of one step replaced, image by image."""

from typing import NamedTuple

import tensorflow as tf
from keras import ops

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.layers.attention_actor import anchored_mean
from dreal_tf.method.critics.side_by_side import laid

BASELINES = ("mean", "static", "identity")
ALTERNATIVES = ("baseline", "permuted", "noise")


class Alternatives:
    """An intervention (see `dreal_tf.layers.intervene`) that replaces one step's action in each image.

    The first alternative, the baseline, ablates the step; the others explore what else it could
    have done [ours]: "permuted", the action that the step chose for another image; "noise", its own
    action with normal noise on its logits.

    Args:
        modules: sequence of str, the module names of the steps whose actions can be replaced.
        assigned: int32 tensor (n,). For each image of the pass the position in `modules` of the
            step to change; -1 for none.
        baseline: str, one of `BASELINES`: the action that takes the place of an ablated one.
        actions: dict of the actions of an unchanged pass by module name, of any number of images;
            read by the baseline "static", which is their mean over images, and by "permuted".
        exploration: sequence of str of `ALTERNATIVES`.
        forms: int32 tensor (n,). For each image the position in `exploration` of its alternative;
            None for the first everywhere.
        partners: int32 tensor (n,). For each image the position in `actions` of the image whose
            action "permuted" takes.
        noise: float > 0. Standard deviation of "noise" (logits).
        seed: int tensor (2,), of "noise".
    Attributes:
        unchanged: bool tensor (n,), after the pass: whether the action equalled its alternative.
        applied: dict of the applied actions by module name, after the pass.
    Example:
        >>> actor, state = SqueezeExcite(2, name="gate"), np.random.rand(2, 4, 4, 8)
        >>> with intervene(Alternatives(["gate/se"], np.int32([-1, 0]))):
        ...     _, action = actor(state, return_action=True)
        >>> np.ptp(action.numpy(), axis=3).ravel() > 0  # The second is flat.
        array([ True, False])
    """

    def __init__(
        self,
        modules,
        assigned,
        baseline="mean",
        actions=None,
        exploration=("baseline",),
        forms=None,
        partners=None,
        noise=1.0,
        seed=(0, 0),
    ):
        self.replacements = Replacements(baseline, actions, exploration, noise, seed)
        self.position = {module: position for position, module in enumerate(modules)}
        self.assigned = tf.convert_to_tensor(assigned)
        self.forms = forms
        self.partners = partners
        self.unchanged = tf.zeros_like(self.assigned, dtype=bool)
        self.applied = {}

    def __call__(self, actor, index, state, action):
        module = actor.modules()[index]
        if module not in self.position:
            return action
        chosen = self.assigned == self.position[module]  # (n,)
        rows = tf.shape(self.assigned)[0]
        step = Replaced(actor, index, [module], [self.position[module]], [self.partners], [rows])
        named = [along(mask, action) for mask in self.replacements.named(self.forms)]
        replacement = self.replacements(step, action, named)
        same = tf.reduce_all(action == replacement, axis=list(range(1, action.shape.rank)))
        self.unchanged |= chosen & same
        self.applied[module] = tf.where(along(chosen, action), replacement, action)
        return self.applied[module]


class Replaced(NamedTuple):
    """Steps whose actions are replaced, the rows of one after those of another.

    Attributes:
        actor: `AttentionActor` that replaces actions as all of theirs do.
        index: int. Position of a step in it.
        modules: list of str.
        positions: list of int, among all steps.
        partners: list of int32 tensors, the images that lend their actions; or None.
        rows: list of int, or of int32 scalars: rows of each step.
    """

    actor: object
    index: int
    modules: object
    positions: object
    partners: object
    rows: object


class Replacements:
    """Makes the actions that take the place of others.

    Args:
        baseline, actions, exploration, noise, seed: as of `Alternatives`.
    """

    def __init__(self, baseline, actions, exploration, noise, seed):
        if baseline not in BASELINES:
            raise unknown_name("baseline action", baseline, BASELINES)
        check_exploration(exploration)
        self.baseline = baseline
        self.actions = actions
        self.exploration = tuple(exploration)
        self.noise = noise
        self.seed = seed
        self._folded = None

    def named(self, forms):
        """Where forms name the second kind of alternative, the third and so on: list of bool (n,)."""
        kinds = dict.fromkeys(self.exploration)  # What is named twice is made once.
        places = [[form == kind for form in self.exploration] for kind in kinds]
        return [tf.gather(place, forms) for place in places[1:]]

    def __call__(self, steps, action, named):
        """The replacements of actions.

        Args:
            steps: `Replaced`.
            action: float tensor (n, ...).
            named: list of bool tensors, what `named` gave, in a shape that broadcasts to the action.
        Returns:
            Tensor of the shape and dtype of `action`.
        """
        makers = {"baseline": self._baseline, "permuted": self._permuted, "noise": self._noisy}
        first, *others = dict.fromkeys(self.exploration)
        replacement = makers[first](steps, action)
        for other, here in zip(others, named, strict=True):
            replacement = tf.where(here, makers[other](steps, action), replacement)
        return replacement

    def _baseline(self, steps, action):
        if self.baseline != "static":
            return steps.actor.baseline_action(action, self.baseline, steps.index)
        means = []
        for module, rows in zip(steps.modules, steps.rows, strict=True):
            mean = tf.cast(anchored_mean(self.actions[module], axes=(0,))[:1], action.dtype)
            means.append(tf.repeat(mean, rows, axis=0))
        return laid(means)

    def _permuted(self, steps, action):
        lent = [
            tf.gather(self.actions[module], partners)
            for module, partners in zip(steps.modules, steps.partners, strict=True)
        ]
        return tf.cast(laid(lent), action.dtype)

    def _noisy(self, steps, action):
        if self._folded is None:  # The same whatever is folded in.
            self._folded = tf.random.experimental.stateless_fold_in(self.seed, 0)[0]
        changes = []
        for position, rows in zip(steps.positions, steps.rows, strict=True):
            shape = [rows, *(ops.shape(action)[axis] for axis in range(1, action.shape.rank))]
            seed = tf.stack([self._folded, position])
            changes.append(tf.random.stateless_normal(shape, seed, stddev=self.noise))
        return steps.actor.moved_action(action, laid(changes), steps.index)


def check_exploration(exploration):
    """Refuses what is no sequence of alternatives.

    Raises:
        ValueError: naming the alternatives that there are.
    """
    if isinstance(exploration, str) or not exploration:
        raise InputError(
            f"Expected alternatives to compare actions with, of {', '.join(ALTERNATIVES)}. "
            f"Received: exploration={exploration!r}. Give a list such as ['baseline', 'noise']."
        )
    for form in exploration:
        if form not in ALTERNATIVES:
            raise unknown_name("alternative action", form, ALTERNATIVES)


def along(chosen, action):
    """(n,) as (n, 1, ...), to choose between actions."""
    return tf.reshape(chosen, [-1] + [1] * (action.shape.rank - 1))
