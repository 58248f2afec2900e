"""Alternative actions: the action of one step replaced, image by image."""

import tensorflow as tf

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.layers.anchored_mean import anchored_mean

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
        only: int, the position of the one step that is ever assigned, or None: the others' actions
            are then not asked for.
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
        only=None,
    ):
        if baseline not in BASELINES:
            raise unknown_name("baseline action", baseline, BASELINES)
        check_exploration(exploration)
        self.position = {m: p for p, m in enumerate(modules) if only in (None, p)}
        self.assigned = tf.convert_to_tensor(assigned)
        self.baseline = baseline
        self.actions = actions
        self.exploration = tuple(exploration)
        self.forms = forms
        self.partners = partners
        self.noise = noise
        self.seed = seed
        self.unchanged = tf.zeros_like(self.assigned, dtype=bool)
        self.applied = {}

    def __call__(self, actor, index, state, action):
        module = actor.modules()[index]
        if module not in self.position:
            return action
        chosen = self.assigned == self.position[module]  # (n,)
        replacement = self._replacement(actor, index, module, action)
        same = tf.reduce_all(action == replacement, axis=list(range(1, action.shape.rank)))
        self.unchanged |= chosen & same
        self.applied[module] = tf.where(_along(chosen, action), replacement, action)
        return self.applied[module]

    def _replacement(self, actor, index, module, action):
        makers = {"baseline": self._baseline, "permuted": self._permuted, "noise": self._noisy}
        # What the exploration names twice is made once.
        first, *others = dict.fromkeys(self.exploration)
        replacement = makers[first](actor, index, module, action)
        for other in others:
            named = [form == other for form in self.exploration]
            made = makers[other](actor, index, module, action)
            replacement = tf.where(_along(tf.gather(named, self.forms), action), made, replacement)
        return replacement

    def _baseline(self, actor, index, module, action):
        if self.baseline != "static":
            return actor.baseline_action(action, self.baseline, index)
        mean = anchored_mean(self.actions[module], axes=(0,))[:1]
        return tf.broadcast_to(tf.cast(mean, action.dtype), tf.shape(action))

    def _permuted(self, actor, index, module, action):
        return tf.cast(tf.gather(self.actions[module], self.partners), action.dtype)

    def _noisy(self, actor, index, module, action):
        seed = tf.random.experimental.stateless_fold_in(self.seed, self.position[module])
        change = self.noise * tf.random.stateless_normal(tf.shape(action), seed)
        return actor.moved_action(action, change, index)


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


def _along(chosen, action):
    """(n,) as (n, 1, ...), to choose between actions."""
    return tf.reshape(chosen, [-1] + [1] * (action.shape.rank - 1))
