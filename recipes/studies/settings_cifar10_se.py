from dreal_tf.studies import gain_study

# Each arm: the arm `comparative` of gain_cifar10_se with one setting changed.
SETTINGS = {
    "weight_tenth": {"dreal.actor_weight": 3.0},
    "weight_third": {"dreal.actor_weight": 10.0},
    "weight_threefold": {"dreal.actor_weight": 90.0},
    "no_trust": {"dreal.trust": False},
    "warmup_300": {"dreal.actor_warmup": 300},
    "baseline_action_static": {"dreal.baseline": "static"},
    "baseline_action_identity": {"dreal.baseline": "identity"},
    "exact": {"dreal.estimator": "exact"},
    "all_measured": {"dreal.reward_fraction": 1.0},
    "narrow_critic": {"dreal.critic_units": 16},
    "wide_critic": {"dreal.critic_units": 256},
    "wide_exploration": {"dreal.noise": 2.0},
}


def study(smoke=False):
    """Which settings of the method train best: judged by validation images, on seeds of their own.

    Command: dreal-tf study settings_cifar10_se --out DIR --data-dir FOLDER
    """
    # As many validation images as there are test images: 10,000 are left to train on all the same.
    changes = {
        "data.image_size": 16,
        "augment.crop_padding": 2,
        "data.validation_fraction": 0.2,
    }
    full = gain_study("cifar10_resnet8_se", changes, steps=3, smoke=smoke)
    kept = ("baseline", "attention_rate_10", "comparative", "paper")
    arms = {arm: full.arms[arm] for arm in kept}
    arms |= {name: full.arms["comparative"] | changed for name, changed in SETTINGS.items()}
    # The penalty is part of what the paper's critic regresses; comparisons know none.
    arms["paper_no_penalty"] = arms["paper"] | {"dreal.penalty": 0.0}
    return full.replace(arms=arms, seeds=(100, 101) if smoke else (100, 101, 102))
