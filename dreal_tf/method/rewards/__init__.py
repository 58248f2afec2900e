"""Rewards: what actions turn out to be worth, measured on the network itself."""

from dreal_tf.method.rewards.ablation import ABLATIONS, OWN, Ablation
from dreal_tf.method.rewards.alternatives import (
    ALTERNATIVES,
    BASELINES,
    Alternatives,
    check_exploration,
)
from dreal_tf.method.rewards.assignment import (
    Assignment,
    draw_assignment,
    draw_images,
    every_assignment,
    share_of,
)
from dreal_tf.method.rewards.changes import Alternative, Candidates, Changes
from dreal_tf.method.rewards.directions import true_directions
from dreal_tf.method.rewards.extra_pass import ExtraPass
from dreal_tf.method.rewards.held_updates import HeldUpdates, normalizers_of
from dreal_tf.method.rewards.meter import ESTIMATORS, Measurement, RewardMeter
from dreal_tf.method.rewards.reward import (
    label_log_probability,
    log_probabilities,
    relative_gain,
    reward,
    true_labels,
)
from dreal_tf.method.rewards.static_actions import StepNames, calibrated_steps, static_actions
from dreal_tf.method.rewards.targets import Targets, targets_of

__all__ = [
    "ABLATIONS",
    "ALTERNATIVES",
    "BASELINES",
    "ESTIMATORS",
    "OWN",
    "Ablation",
    "Alternative",
    "Alternatives",
    "Assignment",
    "Candidates",
    "Changes",
    "ExtraPass",
    "HeldUpdates",
    "Measurement",
    "RewardMeter",
    "StepNames",
    "Targets",
    "calibrated_steps",
    "check_exploration",
    "draw_assignment",
    "draw_images",
    "every_assignment",
    "label_log_probability",
    "log_probabilities",
    "normalizers_of",
    "relative_gain",
    "reward",
    "share_of",
    "static_actions",
    "targets_of",
    "true_directions",
    "true_labels",
]
