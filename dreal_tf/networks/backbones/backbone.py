"""What every network has in common: logits, and the steps of its actors as auxiliary outputs."""

import keras

from dreal_tf.errors import InputError
from dreal_tf.layers import AttentionActor
from dreal_tf.modules import stage_name


class Wiring:
    """Collects the steps of actors while a functional network is wired.

    Args:
        attention: `AttentionActor` used as a pattern: each place gets a new layer with its
            arguments. None wires a network without attention.
        stages: collection of str, the stages that get attention, such as {"conv4"}; None for all.
        pruned: collection of str, places that go without all the same, such as {"conv4_3"}.
    Example:
        >>> images = keras.Input((8, 8, 16))
        >>> wiring = Wiring(SqueezeExcite(4))
        >>> refined = wiring.attend(images, place="conv2_1")
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
        self.of_images = {}  # Further outputs, one row an image.

    def belongs(self, place):
        """Whether `place` gets an actor."""
        if self.attention is None or place in self.pruned:
            return False
        return self.stages is None or stage_name(place) in self.stages

    def attend(self, state, place, **arguments):
        """The state refined by a new actor at `place`, or as it came where none belongs.

        Args:
            state: symbolic float tensor (batch, height, width, channels).
            place: str, the block, such as "conv4_3". The layer is called `<place>_<kind>`.
            **arguments: what this actor is made with in place of the pattern's own.
        """
        if not self.belongs(place):
            return state
        own = {"name": f"{place}_{self.attention.attention}"}
        config = self.attention.get_config() | own | arguments
        actor = type(self.attention).from_config(config)
        refined, steps = actor(state, return_steps=True)
        for module, step in zip(actor.modules(), steps, strict=True):
            self.states[module], self.actions[module] = step
        return refined

    def network(self, images, logits, name=None):
        """The functional network: a dict of `logits`, and `states` and `actions` by module; of one with
        a neck also of `feature` and `embedding`."""
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
    """An actor in a second network, where it gives its steps.

    Keras takes a layer to give wherever it stands as many tensors as where it was called first.

    Args:
        actor: `AttentionActor`; its weights are its own still.
    Call arguments:
        those of the actor.
    Returns:
        The refined map, and the tuple of the actor's `Step`s.
    """

    def __init__(self, actor):
        super().__init__(name=actor.name)
        self.actor = actor
        self.built = True

    def call(self, state, training=None, **arguments):
        return self.actor(state, training=training, return_steps=True, **arguments)


def actor_of(operation):
    """The actor that an operation of a network is, or stands for; None of any other.

    Args:
        operation: `keras.Operation`.
    """
    if isinstance(operation, Attended):
        return operation.actor
    return operation if isinstance(operation, AttentionActor) else None


def embedding_network(network, unit=True):
    """The network from images to their embeddings: what its logits are computed from.

    Args:
        network: functional `keras.Model` of this package, plain or with auxiliary outputs.
        unit: bool. Whether embeddings are brought to unit length, so that the nearest by Euclidean
            distance are those of the greatest cosine.
    Returns:
        Functional `keras.Model` with an output (batch, dimensions), sharing the layers of `network`.
    Raises:
        InputError: if it has no layer called "logits".
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, neck=True)
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
    """The network from images to logits alone, sharing the layers of `network`.

    Args:
        network: functional `keras.Model` whose output is a dict that holds `logits`. One that was
            made of a plain network has it as its attribute `plain`.
    Returns:
        Functional `keras.Model`.
    """
    if (plain := getattr(network, "plain", None)) is not None:
        return plain
    return keras.Model(network.input, network.output["logits"], name=network.name)
