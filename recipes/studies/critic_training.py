from dreal_tf.experiments.studies import Study


def study(smoke=False):
    """The method in joint training from scratch, critics obeyed ten times as much as by default, against the baseline.

    Command: dreal-tf study critic_training --out DIR --data-dir FOLDER
    """
    full = Study(
        what="train",
        recipe="cifar10_resnet8_se",
        changes={"data.image_size": 16, "augment.crop_padding": 2, "dreal.reward_fraction": 0.5},
        arms={
            "baseline": {"dreal.enabled": False},
            "paper": {"dreal.critic": "paper", "dreal.actor_weight": 1.0},
            "comparative": {"dreal.critic": "comparative", "dreal.actor_weight": 1.0},
            # The true direction: the most there is.
            "direct": {"dreal.critic": "direct", "dreal.actor_weight": 1.0},
            # Taught by other images: nothing to know.
            "shuffled": {"dreal.critic": "shuffled", "dreal.actor_weight": 1.0},
        },
        seeds=(0, 1, 2),
    )
    if not smoke:
        return full
    small = {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "backbone.width": 0.25}
    return full.model_copy(update={"recipe": "digits_resnet8_se", "changes": small, "seeds": (0, 1)})
