"""Optimizers whose learning rate differs from part to part of a network."""

import keras

from dreal_tf.keras_internals import variable_key
from dreal_tf.networks.backbones import actors_of


class _LRMultipliers:
    """Gives each variable a multiple of the learning rate.

    Args:
        lr_multipliers: dict of float by the beginning of a variable's path; the longest that fits
            counts, and 1 if none does. Decoupled weight decay follows the plain rate.
    """

    def __init__(self, *args, lr_multipliers=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.lr_multipliers = dict(lr_multipliers or {})
        self._multiplier_of = {}

    def build(self, variables):
        super().build(variables)
        for variable in variables:
            fitting = [begin for begin in self.lr_multipliers if variable.path.startswith(begin)]
            multiplier = self.lr_multipliers[max(fitting, key=len)] if fitting else 1.0
            self._multiplier_of[variable_key(self, variable)] = multiplier

    def update_step(self, gradient, variable, learning_rate):
        multiplier = self._multiplier_of[variable_key(self, variable)]
        super().update_step(gradient, variable, learning_rate * multiplier)

    def get_config(self):
        return super().get_config() | {"lr_multipliers": dict(self.lr_multipliers)}


@keras.saving.register_keras_serializable("dreal_tf")
class LRMultiplierSGD(_LRMultipliers, keras.optimizers.SGD):
    """Keras's SGD, with a multiple of the learning rate for each variable.

    Args:
        lr_multipliers: dict of float by the beginning of a variable's path; "" is that of all others.
        arguments: those of `keras.optimizers.SGD`.
    Example:
        >>> slow, fast = (keras.Variable([1.0], name=name) for name in ("slow", "fast"))
        >>> LRMultiplierSGD(1.0, lr_multipliers={"slow": 0.25}).apply([[1.0], [1.0]], [slow, fast])
        >>> float(slow[0]), float(fast[0])
        (0.75, 0.0)
    """


@keras.saving.register_keras_serializable("dreal_tf")
class LRMultiplierAdam(_LRMultipliers, keras.optimizers.Adam):
    """Keras's Adam, with a multiple of the learning rate for each variable; see `LRMultiplierSGD`."""


@keras.saving.register_keras_serializable("dreal_tf")
class LRMultiplierAdamW(_LRMultipliers, keras.optimizers.AdamW):
    """Keras's AdamW, with a multiple of the learning rate for each variable; see `LRMultiplierSGD`."""


OPTIMIZERS = {"sgd": LRMultiplierSGD, "adam": LRMultiplierAdam, "adamw": LRMultiplierAdamW}


def lr_multipliers(network, backbone=1.0, attention=1.0, head=1.0):
    """The multipliers of the three parts of one of our networks.

    Args:
        network: functional `keras.Model` whose last layer is called "logits".
        backbone, attention, head: float > 0. Their multipliers.
    Returns:
        Dict, for the optimizers here; empty where all are 1.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> lr_multipliers(network, backbone=0.1)["conv2_1_se/"]
        1.0
    """
    if backbone == attention == head == 1:
        return {}
    actors = {f"{actor.name}/": attention for actor in actors_of(network)}
    return {"": backbone, "logits/": head} | actors
