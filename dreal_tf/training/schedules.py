"""Learning rates over training."""

import keras
from keras import ops

Schedule = keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable("dreal_tf")
class WarmUp(Schedule):
    """A rate that rises linearly from 0 to a peak; then another schedule begins.

    At step t, counted from 0: peak · t / steps before `steps`, then schedule(t - steps).

    Args:
        schedule: `keras.optimizers.schedules.LearningRateSchedule` that follows.
        steps: int >= 1. Steps of the rise.
        peak: float > 0. Rate at its end; a schedule that has fallen by then starts below it.
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
