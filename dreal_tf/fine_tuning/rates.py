"""Optimizers whose rate differs from part to part of a network."""

import keras

from dreal_tf.keras_internals import variable_key
from dreal_tf.networks.backbones import actors_of


class _Shares:
    """What the optimizers here add: each variable moves at its share of the learning rate.

    Args:
        shares: dict of float by the beginning of a variable's path; the longest that fits counts,
            and 1 where none does. Weight decay that is decoupled goes by the whole rate.
    """

    def __init__(self, *args, shares=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.shares = dict(shares or {})
        self._share_of = {}

    def build(self, variables):
        super().build(variables)
        for variable in variables:
            fitting = [begin for begin in self.shares if variable.path.startswith(begin)]
            share = self.shares[max(fitting, key=len)] if fitting else 1.0
            self._share_of[variable_key(self, variable)] = share

    def update_step(self, gradient, variable, learning_rate):
        share = self._share_of[variable_key(self, variable)]
        super().update_step(gradient, variable, learning_rate * share)

    def get_config(self):
        return super().get_config() | {"shares": dict(self.shares)}


@keras.saving.register_keras_serializable("dreal_tf")
class SharedSGD(_Shares, keras.optimizers.SGD):
    """Keras's SGD, each variable at its share of the rate.

    Args:
        shares: dict of float by the beginning of a variable's path; "" is that of all others.
        arguments: those of `keras.optimizers.SGD`.
    Example:
        >>> slow, fast = (keras.Variable([1.0], name=name) for name in ("slow", "fast"))
        >>> SharedSGD(1.0, shares={"slow": 0.25}).apply([[1.0], [1.0]], [slow, fast])
        >>> float(slow[0]), float(fast[0])
        (0.75, 0.0)
    """


@keras.saving.register_keras_serializable("dreal_tf")
class SharedAdam(_Shares, keras.optimizers.Adam):
    """Keras's Adam, each variable at its share of the rate; see `SharedSGD`."""


@keras.saving.register_keras_serializable("dreal_tf")
class SharedAdamW(_Shares, keras.optimizers.AdamW):
    """Keras's AdamW, each variable at its share of the rate; see `SharedSGD`."""


OPTIMIZERS = {"sgd": SharedSGD, "adam": SharedAdam, "adamw": SharedAdamW}


def shares_of(network, backbone=1.0, attention=1.0, head=1.0):
    """The shares of the three parts of a network of ours.

    Args:
        network: functional `keras.Model` whose last layer is called "logits".
        backbone, attention, head: float > 0. Their shares of the rate.
    Returns:
        Dict, for the optimizers here; empty where all are 1.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> shares_of(network, backbone=0.1)["conv2_1_se/"]
        1.0
    """
    if backbone == attention == head == 1:
        return {}
    actors = {f"{actor.name}/": attention for actor in actors_of(network)}
    return {"": backbone, "logits/": head} | actors
