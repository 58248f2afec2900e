"""Learning rates over training."""

import keras
from keras import ops

Schedule = keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable("dreal_tf")
class WarmUp(Schedule):
    """A rate that rises linearly from 0 to the start of another schedule, which then begins.

    At step t, counted from 0: schedule(0) · t / steps before `steps`, then schedule(t - steps).

    Args:
        schedule: `keras.optimizers.schedules.LearningRateSchedule` to warm up to.
        steps: int >= 1. Steps of the rise.
    Example:
        >>> rate = WarmUp(keras.optimizers.schedules.CosineDecay(0.1, 6), steps=4)
        >>> [round(float(rate(step)), 3) for step in (0, 1, 2, 4, 7)]
        [0.0, 0.025, 0.05, 0.1, 0.05]
    Source: Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv 1706.02677, section 2.2.
    """

    def __init__(self, schedule, steps):
        self.schedule = schedule
        self.steps = steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        factor = ops.minimum(step / self.steps, 1.0)
        return factor * self.schedule(ops.maximum(step - self.steps, 0.0))

    def get_config(self):
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "steps": self.steps}

    @classmethod
    def from_config(cls, config):
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["steps"])
