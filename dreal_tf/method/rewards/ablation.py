"""Ablation of any modules of a network in all images of a pass, and their static actions."""

from collections import Counter

import keras
import numpy as np
import tensorflow as tf

from dreal_tf.keras_internals import layers_inside, mask_of, nodes_of
from dreal_tf.layers import intervene
from dreal_tf.layers.attention_actor import AttentionActor
from dreal_tf.method.finite import propagate_nonfinite
from dreal_tf.method.rewards.counterfactual_pass import CounterfactualPass
from dreal_tf.method.rows import expand_dims_like
from dreal_tf.modules import assign_stages
from dreal_tf.networks.backbones import actor_of

IMAGES_A_PASS = 32
OWN, MEAN, STATIC = range(3)  # The action that a module applies.
# The reference actions of an audit; "static" is a mean over calibration images, not over a batch.
ABLATIONS = {"mean": MEAN, "static": STATIC}


class Ablation:
    """An intervention (see `dreal_tf.layers.intervene`) that ablates in each row the modules that a tensor names.

    Unlike `CounterfactualActions` it can ablate several modules together, and finds actors in nested
    networks.

    Args:
        applied: int32 tensor (rows, modules): for each module `OWN`, its own action; `MEAN`, the mean over
            the axes along which it selects; or `STATIC`, its mean over calibration images. A pass may begin
            with the first rows alone, and others join.
        static: dict of the static actions by module name, in the same order, see `static_actions`.
    Attributes:
        unchanged: bool tensor (rows,), after the pass: whether every action equalled its replacement.
    Example:
        >>> actor, state = SqueezeExcite(2, name="gate"), np.random.rand(2, 4, 4, 8)
        >>> static = {"gate/se": np.full((1, 1, 8), 0.25, "float32")}
        >>> with intervene(Ablation(tf.constant([[STATIC], [OWN]]), static)):
        ...     _, action = actor(state, return_action=True)
        >>> float(tf.reduce_max(action[0]))
        0.25
    """

    def __init__(self, applied, static):
        self.applied = applied
        self.static = static
        self.unchanged = tf.fill(tf.shape(applied)[:1], True)
        self._names = ModuleNames()
        self._positions = {module: position for position, module in enumerate(static)}

    def __call__(self, actor, index, state, action):
        module, shape = self._names(actor, index), tf.shape(action)
        applied = self.applied[: shape[0], self._positions[module]]  # (rows so far,)

        def own():
            return action, tf.fill(shape[:1], True)

        def replaced():
            mean = actor.reference_action(action, "mean", index)
            static = tf.cast(self.static[module], action.dtype)[None]  # (1, ...)
            codes = expand_dims_like(applied, action)
            replacement = tf.where(codes == STATIC, static, tf.where(codes == MEAN, mean, action))
            axes = list(range(1, action.shape.rank))
            return replacement, tf.reduce_all(action == replacement, axis=axes)

        action, same = tf.cond(tf.reduce_any(applied != OWN), replaced, own)
        self.unchanged &= tf.pad(same, [[0, tf.size(self.unchanged) - shape[0]]], constant_values=True)
        return action


class AblationPass:
    """A network as it is, and again from its ablated modules on; all before them is computed once.

    Args:
        network: functional `keras.Model` from images to one output.
        static: dict of the static actions of all its modules, see `static_actions`.
        shared: bool. False: all rows begin with the images.
    Attributes:
        joins: dict of int by module: a row is what it is without ablation up to the step of that number,
            at which its first ablated module lies.
    Example:
        >>> network = plain_network(residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4)))
        >>> images = np.random.rand(4, 8, 8, 1).astype("float32")
        >>> ablation_pass = AblationPass(network, static_actions(network, images))
        >>> ablation_pass.joins
        {'conv2_1/se': 0, 'conv3_1/se': 1, 'conv4_1/se': 2}
        >>> outputs, cached = ablation_pass.factual(images)
        >>> applied = np.int32([[OWN, OWN, MEAN], [OWN, OWN, OWN]])
        >>> without, unchanged = ablation_pass(images, cached, [3, 3], [0, 0, 0, 2], applied)
        >>> unchanged.numpy().tolist(), bool(np.allclose(without[1], outputs[3], atol=1e-5))
        ([False, True], True)
    """

    def __init__(self, network, static, shared=True):
        self.network, self.static = network, static
        graph = keras.Model(network.input, {"logits": network.output})
        runs = [(node.operation, _modules_run(node.operation)) for node in nodes_of(graph)]
        runs = [(actor_of(operation) or operation, count) for operation, count in runs if count]
        steps = {operation: step for step, operation in enumerate(dict(runs))}
        numbers = [steps[operation] for operation, count in runs for _ in range(count)]
        self._shared = CounterfactualPass(graph, list(steps))
        cached = self._shared.factual.output["cached_activations"]
        # A layer may run its actors more than once, or a tensor may be no batch, or carry a mask.
        shared &= len(numbers) == len(static) and all(map(_can_be_cached, cached))
        if not shared:
            self._shared, numbers, cached = None, [0] * len(static), []
        self.joins = dict(zip(static, numbers, strict=True))
        self.cached_specs = [tf.TensorSpec((None, *t.shape[1:]), t.dtype) for t in cached]

    @property
    def steps(self):
        """Int: the number of steps at which rows can join."""
        return max(self.joins.values()) + 1

    def factual(self, images):
        """The outputs without ablation, and the list of the tensors that rows are taken from."""
        if self._shared is None:
            return propagate_nonfinite(self.network(images, training=False), images), []
        outputs = self._shared.factual(images, training=False)
        return propagate_nonfinite(outputs["logits"], images), outputs["cached_activations"]

    def __call__(self, images, cached, rows, row_splits, applied):
        """The outputs of all rows.

        Args:
            images: float tensor (batch, height, width, channels).
            cached: list of tensors (batch, ...), from `factual`.
            rows: int32 tensor (rows,). Position of each row's image in these.
            row_splits: int32 tensor (steps + 1,): the first row that joins at each step, and their number.
            applied: int32 tensor (rows, modules), see `Ablation`.
        Returns:
            Tensor (rows, ...) of outputs, and bool tensor (rows,): whether all actions stayed what they are.
        """
        # A first row without ablation goes all the way: fused convolutions fail on no rows.
        rows, applied = tf.pad(rows, [[1, 0]]), tf.pad(applied, [[1, 0], [0, 0]])
        row_splits = tf.concat([[0], tf.convert_to_tensor(row_splits)[1:] + 1], axis=0)
        ablation, of_rows = Ablation(applied, self.static), tf.gather(images, rows)
        with intervene(ablation):
            if self._shared is None:
                outputs = self.network(of_rows, training=False)
            else:
                outputs = self._shared(cached, rows, tf.unstack(row_splits))
        return propagate_nonfinite(outputs, of_rows)[1:], ablation.unchanged[1:]


def _can_be_cached(tensor):
    return bool(tensor.shape) and tensor.shape[0] is None and mask_of(tensor) is None


def _modules_run(operation):
    """The number of modules that an operation runs, if it runs each of its actors once."""
    actor = actor_of(operation)
    if actor is not None:
        return len(actor.modules())
    inside = layers_inside(operation) if isinstance(operation, keras.layers.Layer) else []
    return sum(len(layer.modules()) for layer in inside if isinstance(layer, AttentionActor))


class ModuleNames:
    """Names the modules of one pass as they run.

    A name occurs a second time where a layer is used twice, or where two nested networks have layers
    of one name: it is then followed by "@2", and so on.

    Example:
        >>> names, actor = ModuleNames(), SqueezeExcite(2, name="gate")
        >>> names(actor, 0), names(actor, 0)
        ('gate/se', 'gate/se@2')
    """

    def __init__(self):
        self._uses = Counter()

    def __call__(self, actor, index):
        module = actor.modules()[index]
        self._uses[module] += 1
        count = self._uses[module]
        return module if count == 1 else f"{module}@{count}"


def static_actions(network, images):
    """The mean action over images of every module: the reference action "static".

    The network runs at inference. Its actors are found as they run, so they may lie in nested
    networks.

    Args:
        network: `keras.Model` with attention actors, from images to anything.
        images: float array (n, height, width, channels), prepared as the network takes them.
    Returns:
        Dict by module name, in depth order, of float32 arrays: the action's shape without the batch
        axis. Empty if the network has no attention.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> actions = static_actions(network, np.random.rand(20, 8, 8, 1))
        >>> {module: action.shape for module, action in actions.items()}
        {'conv2_1/se': (1, 1, 16), 'conv3_1/se': (1, 1, 32), 'conv4_1/se': (1, 1, 64)}
    """
    return calibrated_modules(network, images)[1]


def calibrated_modules(network, images):
    """The modules of a network, and the static action of each.

    Args:
        network, images: see `static_actions`.
    Returns:
        List of `ModuleSpec`, in depth order, and the dict of `static_actions`.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> specs, _ = calibrated_modules(network, np.random.rand(20, 8, 8, 1))
        >>> [spec.stage for spec in specs]
        ['conv2', 'conv3', 'conv4']
    """
    images, specs = np.asarray(images, "float32"), []

    @tf.function(input_signature=[tf.TensorSpec((None, *images.shape[1:]))], autograph=False)
    def summed(batch):
        names, sums = ModuleNames(), []
        specs.clear()

        def add(actor, index, state, action):
            spec = actor.module_spec(index, state, action)
            specs.append(spec._replace(module=names(actor, index)))
            # float64, so that the mean of a constant action is that constant to the last bit.
            sums.append(tf.reduce_sum(tf.cast(action, tf.float64), axis=0))
            return action

        with intervene(add):
            network(batch, training=False)
        return sums

    starts = range(0, len(images), IMAGES_A_PASS)
    parts = [summed(images[start : start + IMAGES_A_PASS]) for start in starts]
    totals = [sum(part.numpy() for part in of_module) for of_module in zip(*parts, strict=True)]
    actions = [np.asarray(total / len(images), np.float32) for total in totals]
    return assign_stages(specs), {spec.module: a for spec, a in zip(specs, actions, strict=True)}
