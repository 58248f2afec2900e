from dreal_tf import gain_study

WEIGHT = "dreal.actor_weight"
EXACT, ALL = {"dreal.estimator": "exact"}, {"dreal.reward_fraction": 1.0}
# The defaults of the method; L_q of a perfect, fully trusted critic has the gradient of L_c.
COMPARATIVE = {"dreal.critic": "comparative", WEIGHT: 3.0}
# Each further arm: `comparative` with a setting or two changed.
SETTINGS = {
    "weight_third": {WEIGHT: 1.0},
    "weight_threefold": {WEIGHT: 9.0},
    "weight_tenfold": {WEIGHT: 30.0},
    "weight_thirtyfold": {WEIGHT: 90.0},
    "no_trust": {"dreal.trust": False},
    "no_warmup": {"dreal.actor_warmup": 0},
    "baseline_action_static": {"dreal.reference_action": "static"},
    "baseline_action_identity": {"dreal.reference_action": "identity"},
    "exact": EXACT,
    "exact_threefold": EXACT | {WEIGHT: 9.0},
    "exact_tenfold": EXACT | {WEIGHT: 30.0},
    "all_measured": ALL,
    "all_tenfold": ALL | {WEIGHT: 30.0},
    "narrow_critic": {"dreal.critic_units": 16},
    "wide_critic": {"dreal.critic_units": 256},
    "wide_exploration": {"dreal.noise": 2.0},
}


def study(smoke=False):
    """Which settings of the method train best, on validation images and on seeds of their own.

    Command: dreal-tf study settings_cifar10_se --out DIR --data-dir FOLDER
    """
    changes = {"data.image_size": 16, "augment.crop_padding": 2}
    full = gain_study("cifar10_resnet8_se", changes, modules=3, smoke=smoke)
    plain, paper = full.arms["baseline"], full.arms["paper"]
    # The penalty is part of the target of the paper's critic; comparisons have none.
    arms = {"baseline": plain, "paper": paper, "paper_no_penalty": paper | {"dreal.penalty": 0.0}}
    for rate in (4.0, 10.0, 30.0):
        arms[f"attention_rate_{rate:.0f}"] = plain | {"optim.attention_lr_multiplier": rate}
    arms["comparative"] = COMPARATIVE
    arms |= {name: COMPARATIVE | changed for name, changed in SETTINGS.items()}
    seeds = (100,) if smoke else (100, 101)
    return full.replace(arms=arms, seeds=seeds, evaluated_on="validation")
