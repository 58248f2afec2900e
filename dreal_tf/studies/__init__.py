"""Studies: experiments that anyone can repeat by one command. Light; TensorFlow is for workers."""

from dreal_tf.studies.arms import comparison_arms, gain_study, headroom_study
from dreal_tf.studies.study import Climb, Directions, Study

__all__ = ["Climb", "Directions", "Study", "comparison_arms", "gain_study", "headroom_study"]
