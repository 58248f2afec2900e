"""The optimizer of a recipe: learning rates over training and by part of the network."""

import keras
from keras import ops

from dreal_tf.keras_internals import variable_key
from dreal_tf.networks.backbones import actors_of

Schedule = keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable("dreal_tf")
class WarmUp(Schedule):
    """A rate that rises linearly from 0 to a peak; then another schedule begins.

    At step t, counted from 0: peak · t / steps before `steps`, then schedule(t - steps). Keras has a
    warm-up for its cosine decay only.

    Args:
        schedule: `keras.optimizers.schedules.LearningRateSchedule` that follows.
        steps: int >= 1. Steps of the rise.
        peak: float > 0. Rate at its end; the schedule may start below it.
    Example:
        >>> rate = WarmUp(keras.optimizers.schedules.CosineDecay(0.1, 6), steps=4, peak=0.1)
        >>> [round(float(rate(step)), 3) for step in (0, 1, 2, 4, 7)]
        [0.0, 0.025, 0.05, 0.1, 0.05]
    Source: Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv 1706.02677, section 2.2.
    """

    def __init__(self, schedule, steps, peak):
        self.schedule = schedule
        self.steps = steps
        self.peak = peak

    def __call__(self, step):
        step = ops.cast(step, "float32")
        after = self.schedule(ops.maximum(step - self.steps, 0.0))
        return ops.where(step < self.steps, step / self.steps * self.peak, after)

    def get_config(self):
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "steps": self.steps, "peak": self.peak}

    @classmethod
    def from_config(cls, config):
        return cls(**config | {"schedule": keras.saving.deserialize_keras_object(config["schedule"])})


class _LRMultipliers:
    """Gives each variable a multiple of the learning rate.

    Args:
        lr_multipliers: dict of float by the beginning of a variable's path; the longest that matches
            applies, and 1 if none does. Decoupled weight decay follows the plain rate.
    """

    def __init__(self, *args, lr_multipliers=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.lr_multipliers = dict(lr_multipliers or {})
        self._multiplier_of = {}

    def build(self, variables):
        super().build(variables)
        for variable in variables:
            prefixes = [prefix for prefix in self.lr_multipliers if variable.path.startswith(prefix)]
            multiplier = self.lr_multipliers[max(prefixes, key=len)] if prefixes else 1.0
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
        lr_multipliers: dict of float by the beginning of a variable's path; "" applies to all others.
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


PLAIN = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}
OPTIMIZERS = {"sgd": LRMultiplierSGD, "adam": LRMultiplierAdam, "adamw": LRMultiplierAdamW}


def lr_multipliers(network, backbone=1.0, attention=1.0, head=1.0):
    """The multipliers of the three parts of a network.

    Args:
        network: functional `keras.Model` whose last layer is called "logits".
        backbone, attention, head: float > 0. Their multipliers.
    Returns:
        Dict, for the optimizers here; empty if all are 1.
    Example:
        >>> network = residual_network((8, 8, 1), 10, depth=8, attention=SqueezeExcite(4))
        >>> lr_multipliers(network, backbone=0.1)["conv2_1_se/"]
        1.0
    """
    if backbone == attention == head == 1:
        return {}
    actors = {f"{actor.name}/": attention for actor in actors_of(network)}
    return {"": backbone, "logits/": head} | actors


def recipe_optimizer(recipe, steps_per_epoch, network):
    """The optimizer of a recipe's network.

    Args:
        recipe: `dreal_tf.Recipe`.
        steps_per_epoch: int.
        network: functional `keras.Model`, see `lr_multipliers`.
    Returns:
        `keras.optimizers.Optimizer`.
    """
    optim, arguments = recipe.optim, {"learning_rate": _rate(recipe, steps_per_epoch)}
    multipliers = lr_multipliers(
        network, optim.backbone_lr_multiplier, optim.attention_lr_multiplier, optim.head_lr_multiplier
    )
    if multipliers:
        arguments["lr_multipliers"] = multipliers
    if optim.name == "sgd":
        arguments |= {"momentum": optim.momentum, "nesterov": optim.nesterov}
    elif optim.name == "adamw":
        arguments["weight_decay"] = optim.weight_decay
    if optim.ema is not None:
        arguments |= {"use_ema": True, "ema_momentum": optim.ema}
    makers = OPTIMIZERS if multipliers else PLAIN
    optimizer = makers[optim.name](global_clipnorm=optim.clip_norm, **arguments)
    if optim.name == "adamw":
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def _rate(recipe, steps_per_epoch):
    rate, schedule = recipe.optim.learning_rate, recipe.schedule
    total = schedule.epochs * steps_per_epoch
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if schedule.decay == "cosine":
        decay = keras.optimizers.schedules.CosineDecay(rate, total - warmup)
    else:
        milestones = getattr(schedule, "milestones", ())
        # Keras applies a rate up to and including its boundary; here the boundary starts the next rate.
        boundaries = [round(fraction * total) - warmup - 1 for fraction in milestones]
        boundaries = boundaries or [total]  # Reached after the last step.
        factor = getattr(schedule, "factor", 1.0)
        values = [rate * factor**power for power in range(len(boundaries) + 1)]
        decay = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
    return WarmUp(decay, warmup, rate) if warmup else decay
