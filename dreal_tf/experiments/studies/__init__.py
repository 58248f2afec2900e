"""Studies: experiments that anyone can repeat by one command. Light; TensorFlow is for workers."""

from dreal_tf.experiments.studies.arms import CORE_ARMS, comparison_arms, gain_study, headroom_study
from dreal_tf.experiments.studies.study import Climb, Directions, Study

__all__ = [
    "CORE_ARMS",
    "Climb",
    "Directions",
    "Study",
    "comparison_arms",
    "gain_study",
    "headroom_study",
]
