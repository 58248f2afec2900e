"""The parts that all networks share: logits, modules as auxiliary outputs, and the trajectory."""

import keras
import tensorflow as tf

from dreal_tf.errors import InputError
from dreal_tf.layers import AttentionActor
from dreal_tf.modules import ModuleOutput, assign_stages, stage_name


class Wiring:
    """Collects the states and actions of modules while a functional network is wired.

    Args:
        attention: `AttentionActor` used as a pattern: each block gets a new layer with its
            arguments. None wires a network without attention.
        stages: collection of str, the stages that get attention, such as {"conv4"}; None for all.
        pruned: collection of str, blocks of these stages that get none, such as {"conv4_3"}.
    Example:
        >>> images = keras.Input((8, 8, 16))
        >>> wiring = Wiring(SqueezeExcite(4))
        >>> refined = wiring.attend(images, block="conv2_1")
        >>> logits = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(refined))
        >>> sorted(wiring.network(images, logits).output["actions"])
        ['conv2_1/se']
    """

    def __init__(self, attention=None, stages=None, pruned=()):
        self.attention = attention
        self.stages = stages
        self.pruned = pruned
        self.states = {}
        self.actions = {}
        self.of_images = {}  # Further outputs, one row per image.

    def belongs(self, block):
        """Whether `block` gets an actor."""
        if self.attention is None or block in self.pruned:
            return False
        return self.stages is None or stage_name(block) in self.stages

    def attend(self, state, block, **arguments):
        """Refines the state with a new actor; returns it unchanged if `block` gets none.

        Args:
            state: symbolic float tensor (batch, height, width, channels).
            block: str, the block's name, such as "conv4_3". The layer is called `<block>_<kind>`.
            **arguments: arguments of this actor that replace those of the pattern.
        """
        if not self.belongs(block):
            return state
        name = f"{block}_{self.attention.attention}"
        config = self.attention.get_config() | {"name": name} | arguments
        actor = type(self.attention).from_config(config)
        refined, outputs = actor(state, return_modules=True)
        for module, output in zip(actor.modules(), outputs, strict=True):
            self.states[module], self.actions[module] = output
        return refined

    def network(self, images, logits, name=None):
        """The functional network, whose output is a dict.

        The dict holds `logits`, and `states` and `actions` by module; with a bnneck also `feature`
        and `embedding`.
        """
        outputs = {"logits": logits, "states": self.states, "actions": self.actions}
        return keras.Model(images, outputs | self.of_images, name=name)


def actors_of(network):
    """The actors of a functional network in depth order.

    Args:
        network: functional `keras.Model`.
    Returns:
        List of `AttentionActor`.
    Example:
        >>> [actor.name for actor in actors_of(residual_network((8, 8, 1), 10, depth=8,
        ...                                                     attention=SqueezeExcite(4)))]
        ['conv2_1_se', 'conv3_1_se', 'conv4_1_se']
    """
    actors = map(actor_of, network.operations)
    return [actor for actor in actors if actor is not None]


class Attended(keras.layers.Layer):
    """Wraps an actor in a second network, where it also returns its module outputs.

    The wrapper is needed because Keras expects a layer to return as many tensors in every call as in
    its first.

    Args:
        actor: `AttentionActor`, which keeps its weights.
    Call arguments:
        those of the actor.
    Returns:
        The refined map, and the tuple of the actor's `ModuleOutput`s.
    """

    def __init__(self, actor):
        super().__init__(name=actor.name)
        self.actor = actor
        self.built = True

    def call(self, state, training=None, **arguments):
        return self.actor(state, training=training, return_modules=True, **arguments)


def actor_of(operation):
    """The actor that an operation of a network is or wraps; None for any other operation.

    Args:
        operation: `keras.Operation`.
    """
    if isinstance(operation, Attended):
        return operation.actor
    return operation if isinstance(operation, AttentionActor) else None


def embedding_network(network: keras.Model, unit: bool = True) -> keras.Model:
    """The network from images to their embeddings, the input of its logits layer.

    Args:
        network: functional `keras.Model` of this package, plain or with auxiliary outputs.
        unit: bool. Whether embeddings are scaled to unit length. Their order by Euclidean distance is
            then their order by cosine.
    Returns:
        Functional `keras.Model` with an output (batch, dimensions), sharing the layers of `network`.
    Raises:
        InputError: if the network has no layer called "logits".
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, bnneck=True)
        >>> embed = embedding_network(network)
        >>> embed.output_shape, [layer.name for layer in embed.layers[-2:]]
        ((None, 64), ['neck', 'unit_length'])
    """
    layers = {layer.name: layer for layer in network.layers}
    if "logits" not in layers:
        raise InputError(
            "Expected a network whose layer 'logits' reads its embedding. Received: "
            f"{network.name!r}, which ends in {network.layers[-1].name!r}. Give a network of this "
            "package, such as a run's model.keras."
        )
    embedding = layers["logits"].input
    if unit:
        embedding = keras.layers.UnitNormalization(name="unit_length", dtype="float32")(embedding)
    return keras.Model(network.input, embedding, name=network.name)


def plain_network(network):
    """The network from images to logits only, which shares the layers of `network`.

    Args:
        network: functional `keras.Model` whose output is a dict that holds `logits`. If it has an
            attribute `plain`, the plain network that it was made from, this is returned.
    Returns:
        Functional `keras.Model`.
    """
    if (plain := getattr(network, "plain", None)) is not None:
        return plain
    return keras.Model(network.input, network.output["logits"], name=network.name)


class Trajectory:
    """The modules of a network, in depth order.

    Args:
        network: functional `keras.Model` with auxiliary outputs, see `DREAL`.
        stages: collection of str, the stages whose modules are kept; None for all.
    Attributes:
        specs: list of `ModuleSpec`.
        actors: list of `AttentionActor`, the actor of each module.
        stages: tuple of str, all stages of the network that have attention.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> Trajectory(network, stages={"conv3", "conv4"}).modules
        ['conv3_1/se', 'conv4_1/se']
    """

    def __init__(self, network, stages=None):
        states, actions = network.output["states"], network.output["actions"]
        candidates = []
        for actor in actors_of(network):
            outputs = [ModuleOutput(states[module], actions[module]) for module in actor.modules()]
            candidates += [(spec, actor, n) for n, spec in enumerate(actor.module_specs(outputs))]
        specs = assign_stages([spec for spec, _, _ in candidates])
        self.stages = tuple(dict.fromkeys(spec.stage for spec in specs))
        self.specs, self.actors, self._indices = [], [], []
        for spec, (_, actor, index) in zip(specs, candidates, strict=True):
            if stages is None or spec.stage in stages:
                self.specs.append(spec)
                self.actors.append(actor)
                self._indices.append(index)

    @property
    def variables(self):
        """Theta: the actors' variables that are currently trainable, each once."""
        variables = [v for actor in self.actors for v in actor.trainable_variables]
        return list({id(v): v for v in variables}.values())

    @property
    def modules(self):
        """The module names."""
        return [spec.module for spec in self.specs]

    def emitted(self, outputs):
        """The states and actions of a forward pass, without gradient.

        Args:
            outputs: dict of `logits`, `states` and `actions`, from the network.
        Returns:
            List of `ModuleOutput`.
        """
        return [
            ModuleOutput(
                tf.stop_gradient(outputs["states"][module]),
                tf.stop_gradient(outputs["actions"][module]),
            )
            for module in self.modules
        ]

    def propose_again(self, outputs, training=True):
        """The actions of a forward pass, differentiable by their own actors' variables only.

        Each actor reads its state again without gradient. It runs in the mode of the forward pass,
        with the same batch statistics and random state, and its updates are discarded.

        Args:
            outputs: dict of `logits`, `states` and `actions`, from the network.
            training: bool. The mode of the forward pass.
        Returns:
            List of tensors, one per module, equal to the actions of the pass.
        """
        modules = zip(self.modules, self.actors, self._indices, strict=True)
        with keras.StatelessScope():
            return [
                actor(
                    tf.stop_gradient(outputs["states"][module]),
                    propose_only=index,
                    training=training,
                )
                for module, actor, index in modules
            ]
