"""Critics: what predicts the quality of actions. Gone at inference."""

from dreal_tf.critics.critic import Critic
from dreal_tf.critics.meta_critic import MetaCritic
from dreal_tf.critics.paper import PaperCritic

# The one list of critics; the key is what a recipe calls `dreal.critic`.
CRITICS = {"paper": PaperCritic}

__all__ = ["CRITICS", "Critic", "MetaCritic", "PaperCritic"]
