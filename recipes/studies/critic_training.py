from dreal_tf import Study


def study(smoke=False):
    """Joint training from scratch, with an actor loss of absolute weight 1, against the baseline.

    Command: dreal-tf study critic_training --out DIR --data-dir FOLDER
    """
    full = Study(
        what="train",
        recipe="cifar10_resnet8_se",
        changes={
            "data.image_size": 16,
            "augment.crop_padding": 2,
            "dreal.reward_fraction": 0.5,
            "dreal.actor_weight_mode": "absolute",
        },
        arms={
            "baseline": {"dreal.enabled": False},
            "paper": {"dreal.critic": "paper", "dreal.actor_weight": 1.0},
            "comparative": {"dreal.critic": "comparative", "dreal.actor_weight": 1.0},
            # The true direction: the upper limit.
            "direct": {"dreal.critic": "direct", "dreal.actor_weight": 1.0},
            # Trained on other images: there is nothing to learn.
            "shuffled": {"dreal.critic": "shuffled", "dreal.actor_weight": 1.0},
        },
        seeds=(0, 1, 2),
    )
    if not smoke:
        return full
    small = {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "backbone.width": 0.25}
    small |= {"dreal.actor_weight_mode": "absolute"}
    return full.model_copy(update={"recipe": "digits_resnet8_se", "changes": small, "seeds": (0, 1)})
