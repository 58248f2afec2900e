"""Learning rates over training."""

import keras
from keras import ops

Schedule = keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable("dreal_tf")
class WarmUp(Schedule):
    """Another schedule, multiplied by a factor that rises linearly from 0 to 1.

    Args:
        schedule: `keras.optimizers.schedules.LearningRateSchedule` to warm up to.
        steps: int >= 1. Steps until the factor is 1.
    Example:
        >>> rate = WarmUp(keras.optimizers.schedules.CosineDecay(0.1, 1000), steps=4)
        >>> [round(float(rate(step)), 3) for step in (0, 1, 2, 4)]
        [0.0, 0.025, 0.05, 0.1]
    Source: Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv 1706.02677, section 2.2.
    """

    def __init__(self, schedule, steps):
        self.schedule = schedule
        self.steps = steps

    def __call__(self, step):
        factor = ops.minimum(ops.cast(step, "float32") / self.steps, 1.0)
        return factor * self.schedule(step)

    def get_config(self):
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "steps": self.steps}

    @classmethod
    def from_config(cls, config):
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["steps"])
