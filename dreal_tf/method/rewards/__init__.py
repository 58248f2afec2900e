"""Rewards: how much an action raised the score, measured on the network itself."""

from dreal_tf.method.rewards.ablation import (
    ABLATIONS,
    MEAN,
    OWN,
    STATIC,
    Ablation,
    AblationPass,
    ModuleNames,
    calibrated_modules,
    static_actions,
)
from dreal_tf.method.rewards.counterfactual_pass import (
    KINDS,
    REFERENCE_ACTIONS,
    ActionReplacer,
    CounterfactualActions,
    CounterfactualPass,
    Replaced,
    RowsOfModules,
    check_exploration,
)
from dreal_tf.method.rewards.deferred_updates import DeferredUpdates, normalizers_of
from dreal_tf.method.rewards.reward_estimator import ESTIMATORS, RewardEstimator
from dreal_tf.method.rewards.sampling_plan import (
    SamplingPlan,
    count_of_fraction,
    full_plan,
    sample_images,
    sample_plan,
)

__all__ = [
    "ABLATIONS",
    "ESTIMATORS",
    "KINDS",
    "MEAN",
    "OWN",
    "REFERENCE_ACTIONS",
    "STATIC",
    "Ablation",
    "AblationPass",
    "ActionReplacer",
    "CounterfactualActions",
    "CounterfactualPass",
    "DeferredUpdates",
    "ModuleNames",
    "Replaced",
    "RewardEstimator",
    "RowsOfModules",
    "SamplingPlan",
    "calibrated_modules",
    "check_exploration",
    "count_of_fraction",
    "full_plan",
    "normalizers_of",
    "sample_images",
    "sample_plan",
    "static_actions",
]
