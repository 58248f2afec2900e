"""Critics: predictors of the quality of actions. Gone at inference."""

from dreal_tf.method.critics.comparative import ComparativeCritic, DirectCritic, ShuffledCritic
from dreal_tf.method.critics.critic import Critic
from dreal_tf.method.critics.meta_critic import MetaCritic, PaperCritic

# The one list of critics; the key is what a recipe calls `dreal.critic`.
CRITICS = {
    "paper": PaperCritic,
    "comparative": ComparativeCritic,
    "direct": DirectCritic,
    "shuffled": ShuffledCritic,
}

__all__ = [
    "CRITICS",
    "ComparativeCritic",
    "Critic",
    "DirectCritic",
    "MetaCritic",
    "PaperCritic",
    "ShuffledCritic",
]
