"""The arguments of `DREAL` and the loss that it is compiled with, checked."""

from dataclasses import dataclass, fields

import keras

from dreal_tf.errors import InputError, unknown_name
from dreal_tf.keras_internals import node_of
from dreal_tf.method.critics import CRITICS, Critic
from dreal_tf.method.rewards import ESTIMATORS, REFERENCE_ACTIONS

UPDATES = ("simultaneous", "alternating")
ACTOR_WEIGHT_MODES = ("relative", "absolute")


@dataclass(frozen=True)
class Settings:
    """The arguments of `DREAL` that are numbers and names; see there.

    Raises:
        InputError: a ValueError, if one is unknown or out of range.
    Example:
        >>> Settings(actor_weight=0.3).estimator
        'sampled'
    """

    actor_weight: float = 0.5
    actor_weight_mode: str = "relative"
    actor_warmup: int = 0
    estimator: str = "sampled"
    reward_fraction: float = 0.25
    validation_fraction: float = 0.25
    instrument_fraction: float = 1 / 16
    reference_action: str = "mean"
    penalty: float = 1.0
    update: str = "simultaneous"
    trust: bool = True
    stages: tuple | None = None
    seed: int = 0

    def __post_init__(self):
        known = {"estimator": ESTIMATORS, "reference_action": REFERENCE_ACTIONS, "update": UPDATES}
        known |= {"actor_weight_mode": ACTOR_WEIGHT_MODES}
        for name, names in known.items():
            if name == "reference_action" and callable(self.reference_action):
                continue
            if getattr(self, name) not in names:
                raise unknown_name(name.replace("_", " "), getattr(self, name), names)
        if not 0 < self.reward_fraction <= 1:
            raise InputError(
                "`reward_fraction` must be above 0 and at most 1. Received: reward_fraction="
                f"{self.reward_fraction}. Give the fraction of a batch to measure, such as 0.5."
            )
        for name in ("validation_fraction", "instrument_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"`{name}` must be from 0 to 1. Received: {name}={getattr(self, name)}. Give a "
                    "fraction of a validation batch, such as 0.0625."
                )
        for name in ("actor_weight", "actor_warmup", "penalty"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"`{name}` must be at least 0. Received: {name}={getattr(self, name)}. Raise it."
                )

    def to_dict(self):
        """Dict of the settings by name, as JSON can hold them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"stages": None if self.stages is None else list(self.stages)}


def check_critic(critic, trajectory, settings):
    """Refuses a critic that `DREAL` cannot train on a network.

    Args:
        critic: the critic given to `DREAL`: a name or a `Critic`.
        trajectory: `dreal_tf.networks.backbones.Trajectory` of all modules of the network.
        settings: `Settings`.
    Raises:
        InputError: a ValueError, saying what was expected, what came and what to do.
    """
    if isinstance(critic, str) and critic not in CRITICS:
        raise unknown_name("critic", critic, CRITICS)
    if not isinstance(critic, str | Critic):
        raise InputError(
            f"Expected a critic's name, a `Critic` or None. Received: {critic!r}. Pass one of "
            f"{', '.join(CRITICS)}, or an instance of your subclass of `Critic`."
        )
    if not trajectory.modules:
        raise InputError(
            "Expected a network with attention for a critic to judge. Received: a network without "
            "attention actors. Give it attention, or train it with critic=None."
        )
    if settings.validation_fraction == 0:
        raise InputError(
            "`validation_fraction` must be above 0 with a critic. Received: validation_fraction=0. "
            "Give the fraction of a validation batch to measure, such as 0.25."
        )


def check_classes(network):
    """Refuses a network for critics whose output is not one row of classes.

    Args:
        network: functional `keras.Model` with auxiliary outputs.
    Raises:
        InputError: if it gives no row (batch, classes).
    """
    shape = network.output["logits"].shape
    if len(shape) != 2:
        raise InputError(
            f"Expected a network with one output (batch, classes). Received: {network.name!r} with an output "
            f"of shape {tuple(shape)}. Train it without critics (critic=None); `dreal_tf.audit` takes it."
        )


def check_modules(trajectory, settings):
    """Refuses settings that do not fit the modules of a network.

    Args:
        trajectory: `dreal_tf.networks.backbones.Trajectory` of all modules of the network.
        settings: `Settings`.
    Raises:
        InputError: a ValueError, saying so.
    """
    stages = settings.stages
    for stage in stages or ():
        if stage not in trajectory.stages:
            raise unknown_name("stage that has attention", stage, trajectory.stages)
    if stages is not None and not stages:
        raise InputError(
            f"`stages` must name at least one of {', '.join(sorted(trajectory.stages))}. Received: "
            "none. Name some, or give None for all, or train with critic=None."
        )
    if settings.reference_action != "identity":
        return
    for actor in trajectory.actors:
        for index, module in enumerate(actor.modules()):
            if not actor.has_identity(index):
                raise InputError(
                    "Expected actors that can pass their state through, for the reference action "
                    f"'identity'. Received: {module!r}, which mixes positions. Use 'mean'."
                )


_CLASSIFICATION = (
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
)


def outputs_are_logits(loss, network):
    """Whether a network ends in logits, read from the loss it is compiled with.

    Args:
        loss: what `compile` was given: a name, function or `keras.losses.Loss`, or a list or dict of
            one.
        network: functional `keras.Model` with one output (batch, classes).
    Returns:
        bool: the loss's `from_logits`.
    Raises:
        ValueError: if the loss is not a categorical cross entropy, or contradicts the network's
            last activation.
    Example:
        >>> network = plain_network(residual_network((8, 8, 1), 10, depth=8))
        >>> outputs_are_logits(keras.losses.SparseCategoricalCrossentropy(from_logits=True), network)
        True
    """
    if not is_over_classes(loss):
        names = ", ".join(kind.__name__ for kind in _CLASSIFICATION)
        raise InputError(
            "Expected a loss over classes that exclude each other, since the reward needs the "
            f"probability of one true class: {names}. Received: {loss!r}. Sigmoid, multi-label "
            "and regression heads are not supported; train them without critics (critic=None)."
        )
    loss, softmax = _loss_object(loss), ends_in_softmax(network)
    if loss.from_logits and softmax:
        raise InputError(
            "Expected logits, since the loss has from_logits=True. Received: a network that ends "
            "in a softmax. Set from_logits=False, or leave the softmax out of the network."
        )
    if not loss.from_logits and not softmax:
        raise InputError(
            "Expected probabilities, since the loss has from_logits=False. Received: a network "
            f"whose last layer, {node_of(network.outputs[0]).operation.name!r}, is not a "
            f"softmax. Compile with {type(loss).__name__}(from_logits=True), or end the network in "
            "a softmax."
        )
    return bool(loss.from_logits)


def is_optimizer(given):
    """Whether an argument of `compile` is an optimizer or the name of one.

    Example:
        >>> is_optimizer("adam"), is_optimizer("mse")
        (True, False)
    """
    if not isinstance(given, str):
        return isinstance(given, keras.optimizers.Optimizer)
    try:
        return bool(keras.optimizers.get(given))
    except ValueError:
        return False


def is_over_classes(loss):
    """Whether a loss is over classes that exclude each other.

    Args:
        loss: a name, function or `keras.losses.Loss`.
    Example:
        >>> is_over_classes("sparse_categorical_crossentropy"), is_over_classes("mse")
        (True, False)
    """
    return isinstance(_loss_object(loss), _CLASSIFICATION)


def _loss_object(loss):
    losses = keras.tree.flatten(loss)
    function = keras.losses.get(losses[0]) if len(losses) == 1 else None
    for kind in _CLASSIFICATION:  # A bare name or function means the class with its defaults.
        if function is kind().fn:
            return kind()
    return function


def ends_in_softmax(network):
    """Whether the last operation of a network that changes values is a softmax.

    Example:
        >>> ends_in_softmax(plain_network(residual_network((8, 8, 1), 10, depth=8)))
        False
    """
    tensor = network.outputs[0]
    while True:
        node = node_of(tensor)
        operation = node.operation
        if isinstance(operation, keras.Model):
            return ends_in_softmax(operation)
        activation = getattr(operation, "activation", None)
        if activation is keras.activations.softmax or type(operation).__name__ == "Softmax":
            return True
        linear = isinstance(operation, keras.layers.Activation) and (
            activation is keras.activations.linear
        )
        if not linear and type(operation).__name__ not in ("Identity", "Reshape", "Flatten", "Cast"):
            return False
        tensor = node.input_tensors[0]
