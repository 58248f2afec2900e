"""Rewards: what actions turn out to be worth, measured on the network itself."""

from dreal_tf.rewards.ablation import BASELINES, Ablation
from dreal_tf.rewards.assignment import draw_assignment, draw_images, every_assignment
from dreal_tf.rewards.held_updates import HeldUpdates, normalizers_of
from dreal_tf.rewards.meter import ESTIMATORS, Measurement, RewardMeter, Targets
from dreal_tf.rewards.restarts import Restarts
from dreal_tf.rewards.reward import log_probabilities, relative_gain, reward, true_labels

__all__ = [
    "BASELINES",
    "ESTIMATORS",
    "Ablation",
    "HeldUpdates",
    "Measurement",
    "Restarts",
    "RewardMeter",
    "Targets",
    "draw_assignment",
    "draw_images",
    "every_assignment",
    "log_probabilities",
    "normalizers_of",
    "relative_gain",
    "reward",
    "true_labels",
]
